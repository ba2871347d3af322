// The load: live streams in SignalWire's words, paced in real time, from one thread.
//
// Every stream sends one masked PCMU message of 20 ms per track and period, evenly spread over the period, one `send` a
// message as a platform does. Phases are told on stdout as JSON lines; the last one is the report. Times in it are
// seconds of CLOCK_MONOTONIC. What a server costs is read from its processor clock (--watch PID), at both ends
// of the window.
//
//     cc -O2 -o load load.c && ./load --port 8080 --token TOKEN --streams 200 --seconds 10
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "options.h"
#include "payload.h"
#include "websocket.h"

static const int64_t GIVE_UP_NS = 10000000000; // so late, and nothing is measured any more

enum { BUCKET_NS = 10000, ANSWER_BUCKET_NS = 100000, BUCKETS = 50000, CLOSING_S = 3, AT_ONCE = 8 };
enum state { UNUSED, CONNECTING, SHAKING, LIVE, IDLE, STOPPING, GONE };
enum role { STREAM, QUIET, STORM };

static const char *const TRACKS[MAX_TRACKS] = {"inbound", "outbound"};

struct connection {
    int fd;
    enum state state;
    enum role role;
    int index;
    int64_t began;     // of the connect
    int64_t answered;  // of the 101
    uint32_t sequence;
    char key[25];
    size_t have;       // bytes of the answer so far, in `answer`
    char *answer;      // while shaking hands
};

static struct {
    long media, all, bytes, pings, stalls, refused, failed, cut, storm_opened, storm_accepted, storm_ended;
    int last_status;
    char first_error[160];
} count;

static struct connection *connections;
static int total, shaking, open_streams, open_idle, epoll;
static long late[BUCKETS], answer_times[BUCKETS]; // histograms: lateness by 10 us, handshakes by 100 us
static int64_t worst_late, worst_answer;
static long late_counted, answers_counted;
static volatile sig_atomic_t interrupted;

static void on_signal(int number) { (void)number; interrupted = 1; }

static void note_error(const char *format, ...) {
    if (count.first_error[0]) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(count.first_error, sizeof count.first_error, format, arguments);
    va_end(arguments);
    for (char *at = count.first_error; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ') *at = ' ';
}

static uint32_t random_word(void) { // xorshift: masks need to be there, not to be secret
    static uint32_t word = 2463534242u;
    word ^= word << 13, word ^= word >> 17, word ^= word << 5;
    return word;
}

// ---- messages ------------------------------------------------------------------------------------------------------

static uint8_t buffer[8192];
enum { HEAD = 14 }; // room for the longest frame head before the text

// Masks what was written from buffer + HEAD to `end`, puts the head before it, and returns the frame's first byte.
static uint8_t *framed(int opcode, uint8_t *end, size_t *size) {
    uint8_t *text = buffer + HEAD;
    size_t bytes = (size_t)(end - text);
    uint32_t mask = random_word();
    apply_mask(text, bytes, mask);
    uint8_t *at = text - 4;
    memcpy(at, &mask, 4);
    if (bytes < 126) {
        *--at = (uint8_t)(0x80 | bytes);
    } else {
        *--at = (uint8_t)bytes;
        *--at = (uint8_t)(bytes >> 8);
        *--at = 0x80 | 126;
    }
    *--at = (uint8_t)(0x80 | opcode);
    *size = (size_t)(end - at);
    return at;
}

// ---- connections ---------------------------------------------------------------------------------------------------

static void drop(struct connection *this) {
    if (this->fd < 0) return;
    close(this->fd);
    this->fd = -1;
    free(this->answer);
    this->answer = NULL;
    if (this->state == CONNECTING || this->state == SHAKING) shaking--;
    if (this->role == STREAM && this->state == LIVE) open_streams--;
    if (this->role == QUIET && this->state == IDLE) open_idle--;
    if (this->role == STORM) count.storm_ended++;
    this->state = GONE;
}

static void lost(struct connection *this, const char *doing, int error) {
    if (this->role != STORM && (this->state == LIVE || this->state == IDLE)) count.cut++;
    else if (this->state != STOPPING) count.failed++;
    if (this->state != STOPPING) note_error("%s: %s", doing, error ? strerror(error) : "closed by the server");
    drop(this);
}

// One `send`. A full socket is waited for: then the run is late, and says so.
static int transmit(struct connection *this, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t sent = send(this->fd, data, size, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent, size -= (size_t)sent, count.bytes += sent;
            continue;
        }
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd waiting = {.fd = this->fd, .events = POLLOUT};
            count.stalls++;
            if (poll(&waiting, 1, 1000) > 0 || interrupted) continue;
            errno = ETIMEDOUT;
        }
        lost(this, "send", errno);
        return 0;
    }
    return 1;
}

static int say(struct connection *this, int opcode, uint8_t *end) {
    size_t size;
    uint8_t *frame = framed(opcode, end, &size);
    if (!transmit(this, frame, size)) return 0;
    if (opcode == TEXT) count.all++;
    return 1;
}

static void say_connected(struct connection *this) {
    say(this, TEXT, PUT(buffer + HEAD, "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"0.2.0\"}"));
}

static void say_start(struct connection *this) {
    static const char *const ROLES[] = {"stream", "idle", "storm"};
    int written = snprintf((char *)buffer + HEAD, sizeof buffer - HEAD,
        "{\"event\":\"start\",\"sequenceNumber\":\"1\",\"start\":{\"streamSid\":\"%s-%s-%d\","
        "\"accountSid\":\"b08dacad-2f6c-4de1-93d6-cc732e0c69c5\",\"callSid\":\"%s-call-%s-%d\",\"tracks\":[%s],"
        "\"customParameters\":{\"number\":\"%d\",\"role\":\"%s\"},"
        "\"mediaFormat\":{\"encoding\":\"%s\",\"sampleRate\":%d,\"channels\":1}}}",
        options.prefix, ROLES[this->role], this->index, options.prefix, ROLES[this->role], this->index,
        options.tracks == 2 ? "\"inbound\",\"outbound\"" : "\"inbound\"", this->index, ROLES[this->role],
        options.encoding, options.clock_rate);
    this->sequence = 1;
    say(this, TEXT, buffer + HEAD + written);
}

static void say_media(struct connection *this, int track, uint32_t frame) {
    uint8_t *at = PUT(buffer + HEAD, "{\"event\":\"media\",\"sequenceNumber\":\"");
    at = put_number(at, ++this->sequence);
    at = PUT(at, "\",\"media\":{\"track\":\"");
    at = put(at, TRACKS[track], track ? 8 : 7);
    at = PUT(at, "\",\"chunk\":\"");
    at = put_number(at, frame + 1);
    at = PUT(at, "\",\"timestamp\":\"");
    at = put_number(at, frame * (uint32_t)options.period_ms);
    at = PUT(at, "\",\"payload\":\"");
    at = put_payload(at, (uint32_t)(this->index * options.tracks + track), frame);
    at = PUT(at, "\"}}");
    if (say(this, TEXT, at)) count.media++;
}

static void say_stop(struct connection *this) {
    if (this->sequence) {
        uint8_t *at = PUT(buffer + HEAD, "{\"event\":\"stop\",\"sequenceNumber\":\"");
        at = put_number(at, ++this->sequence);
        if (!say(this, TEXT, PUT(at, "\"}"))) return;
    }
    buffer[HEAD] = 1000 >> 8;
    buffer[HEAD + 1] = 1000 & 255;
    say(this, CLOSE, buffer + HEAD + 2);
}

static void dial(struct connection *this, enum role role, int index) {
    int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    inet_pton(AF_INET, options.host, &address.sin_addr);
    memset(this, 0, sizeof *this);
    this->role = role;
    this->index = index;
    this->began = now_ns();
    this->state = CONNECTING;
    shaking++;
    this->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (this->fd < 0) {
        shaking--, count.failed++, this->state = GONE;
        note_error("socket: %s", strerror(errno));
        if (role == STORM) count.storm_ended++;
        return;
    }
    setsockopt(this->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(this->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        lost(this, "connect", errno);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = this};
    epoll_ctl(epoll, EPOLL_CTL_ADD, this->fd, &event);
}

static void request(struct connection *this) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(this->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) { lost(this, "connect", error); return; }
    uint8_t nonce[16];
    for (int i = 0; i < 4; i++) { uint32_t word = random_word(); memcpy(nonce + i * 4, &word, 4); }
    this->key[base64_encode(this->key, nonce, 16)] = 0;
    char text[2048];
    int length = snprintf(text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nAuthorization: Bearer %s\r\n\r\n",
        options.path, options.host, options.port, this->key, options.token);
    this->answer = malloc(2048);
    this->state = SHAKING;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = this};
    epoll_ctl(epoll, EPOLL_CTL_MOD, this->fd, &event);
    transmit(this, (uint8_t *)text, (size_t)length);
}

static void accepted(struct connection *this) {
    int64_t took = now_ns() - this->began;
    answer_times[took / ANSWER_BUCKET_NS < BUCKETS ? took / ANSWER_BUCKET_NS : BUCKETS - 1]++;
    answers_counted++;
    if (took > worst_answer) worst_answer = took;
    shaking--;
    free(this->answer);
    this->answer = NULL;
    this->answered = now_ns();
    if (this->role == STREAM) {
        this->state = LIVE;
        open_streams++;
        say_connected(this);
        if (this->fd >= 0) say_start(this);
    } else if (this->role == QUIET) {
        this->state = IDLE;
        open_idle++;
        if (options.say_start) {
            say_connected(this);
            if (this->fd >= 0) say_start(this);
        }
    } else {
        count.storm_accepted++;
        this->state = STOPPING;
        if (options.storm_start) {
            say_connected(this);
            if (this->fd >= 0) say_start(this);
        }
        if (options.abrupt) drop(this);
        else if (this->fd >= 0 && !options.storm_keep) say_stop(this);
    }
}

// An answer, or what came after it: pings get pongs, everything else is passed over.
static void hear(struct connection *this) {
    uint8_t data[4096];
    ssize_t got = recv(this->fd, data, sizeof data, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) { lost(this, "recv", got < 0 ? errno : 0); return; }
    size_t at = 0, size = (size_t)got;
    if (this->state == SHAKING) {
        size_t taken = size < 2047 - this->have ? size : 2047 - this->have;
        memcpy(this->answer + this->have, data, taken);
        this->have += taken;
        this->answer[this->have] = 0;
        char *end = strstr(this->answer, "\r\n\r\n");
        if (!end) {
            if (this->have == 2047) lost(this, "handshake", EMSGSIZE);
            return;
        }
        at = taken - (this->have - (size_t)(end + 4 - this->answer));
        count.last_status = this->have > 12 ? atoi(this->answer + 9) : 0;
        char expected[29];
        accept_key(expected, this->key);
        if (count.last_status != 101 || !strstr(this->answer, expected)) {
            count.refused++;
            note_error("handshake: status %d", count.last_status);
            drop(this);
            return;
        }
        accepted(this);
    }
    struct frame frame; // the server's frames are short, and come whole
    while (this->fd >= 0 && at < size && frame_head(&frame, data + at, size - at)) {
        if (frame.opcode == PING && frame.size <= 125 && at + frame.head + frame.size <= size) {
            count.pings++;
            memcpy(buffer + HEAD, data + at + frame.head, frame.size);
            say(this, PONG, buffer + HEAD + frame.size);
        } else if (frame.opcode == CLOSE && this->state != STOPPING) {
            unsigned code = frame.size >= 2 && at + frame.head + 2 <= size
                                ? (unsigned)data[at + frame.head] << 8 | data[at + frame.head + 1] : 0;
            count.cut++;
            note_error("closed by the server with %u", code);
            drop(this);
        }
        at += frame.head + frame.size;
    }
}

// Few at a time, so that no message is late for them.
static void look(int wait_ms) {
    struct epoll_event events[AT_ONCE];
    int ready = epoll_wait(epoll, events, AT_ONCE, wait_ms);
    for (int i = 0; i < ready; i++) {
        struct connection *this = events[i].data.ptr;
        if (this->fd < 0) continue;
        if (this->state == CONNECTING) request(this);
        else hear(this);
    }
}

// ---- the run -------------------------------------------------------------------------------------------------------

static double seconds_of(int64_t ns) { return (double)ns / 1e9; }

static void sleep_until(int64_t due) {
    struct timespec at = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

// User and system time of all watched processes, threads that have ended included.
static double watched_cpu(void) {
    double sum = 0;
    for (int i = 0; i < options.watching; i++) {
        clockid_t clock;
        if (clock_getcpuclockid(options.watched[i], &clock) == 0) sum += seconds_of(clock_ns(clock));
    }
    return sum;
}

static double quantile(const long *histogram, long counted, double share, double bucket_s) {
    long seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) >= share * (double)counted && counted) return (i + 1) * bucket_s;
    return 0;
}

static void dial_all(int first, int number, enum role role) {
    int64_t began = now_ns(), limit = began + (int64_t)((number / options.ramp + 30) * 1e9);
    for (int dialled = 0; (dialled < number || shaking) && !interrupted && now_ns() < limit;) {
        while (dialled < number && shaking < 128 && now_ns() - began >= (int64_t)(dialled / options.ramp * 1e9)) {
            dial(&connections[first + dialled], role, dialled);
            dialled++;
        }
        look(1);
    }
}

static int64_t storm_due;
static int storm_free; // where to look for an unused connection next

// A connection of the storm that nobody uses, or NULL.
static struct connection *unused(int first) {
    int room = total - first;
    for (int tried = 0; tried < room; tried++) {
        struct connection *this = &connections[first + storm_free++ % room];
        if (this->state == UNUSED || this->state == GONE) return this;
    }
    return NULL;
}

// Opens what is due; returns when the next one is. What could not be opened is not made up for: the figure shows it.
static int64_t storm(int64_t now, int first) {
    int64_t gap = 1000000000 / options.storm;
    for (int dialled = 0; storm_due <= now && dialled < AT_ONCE; dialled++, storm_due += gap) {
        struct connection *this = shaking < options.storm_inflight ? unused(first) : NULL;
        if (!this) {
            storm_due = now + gap;
            break;
        }
        dial(this, STORM, (int)count.storm_opened++);
    }
    return storm_due;
}

static struct {
    int64_t t0, period, frames, window_from, until; // of the schedule; times in ns
    int64_t began, ended, sending;                  // of the window, as it was
    double cpu, own;                                // in the window, of the watched processes and of this one
    long sent, stormed;                             // in the window
    int connected, live_at_end;
} run;

static void phase(const char *name) {
    printf("{\"phase\":\"%s\",\"at\":%.6f,\"t0\":%.6f,", name, seconds_of(now_ns()), seconds_of(run.t0));
    printf("\"streams\":%d,\"idle\":%d,\"cpu\":%.6f}\n", open_streams, open_idle, watched_cpu());
    fflush(stdout);
}

static void open_window(int64_t now) {
    if (options.storm) { // then it is the storm's handshakes that are told of
        memset(answer_times, 0, sizeof answer_times);
        answers_counted = worst_answer = 0;
    }
    run.began = now, run.sent = count.media, run.stormed = count.storm_accepted;
    run.own = seconds_of(clock_ns(CLOCK_PROCESS_CPUTIME_ID)), run.cpu = watched_cpu();
}

static void close_window(void) {
    run.cpu = watched_cpu() - run.cpu, run.own = seconds_of(clock_ns(CLOCK_PROCESS_CPUTIME_ID)) - run.own;
    run.ended = now_ns(), run.sent = count.media - run.sent, run.stormed = count.storm_accepted - run.stormed;
    run.live_at_end = open_streams;
}

static void note_lateness(int64_t behind) {
    late[behind / BUCKET_NS < BUCKETS ? behind / BUCKET_NS : BUCKETS - 1]++, late_counted++;
    if (behind > worst_late) worst_late = behind;
}

// Message number u of a period is due u / units of it behind its beginning; a stream's tracks lie half a period apart.
static void pace(void) {
    int units = options.streams * options.tracks, unit = 0;
    int64_t frame = units ? 0 : run.frames, next_look = run.t0;
    storm_due = run.window_from;
    while (!interrupted) {
        int64_t now = now_ns(), began_sending = now;
        if (!run.began && now >= run.window_from) open_window(now);
        int64_t due = run.t0 + frame * run.period + (units ? run.period * unit / units : 0);
        while (due <= now && frame < run.frames && now < next_look) {
            struct connection *this = &connections[unit % options.streams];
            note_lateness(now - due);
            if (this->state == LIVE) say_media(this, unit / options.streams, (uint32_t)frame);
            if (++unit == units) unit = 0, frame++;
            due = run.t0 + frame * run.period + run.period * unit / units;
            now = now_ns();
        }
        if (run.began) run.sending += now - began_sending;
        if (now - due > GIVE_UP_NS) {
            note_error("more than 10 s late");
            break;
        }
        if (now >= run.until && frame >= run.frames) break;
        if (options.storm && now >= run.window_from) {
            int64_t next = storm(now, options.streams + options.idle);
            if (next < due) due = next;
        }
        if (shaking || now >= next_look) {
            look(0);
            next_look = now + (options.storm ? 200000 : 5000000);
        }
        if (due > next_look) due = next_look;
        // Waking up costs more than sending where the machine is virtual, and comes late: by default it waits awake.
        int64_t nap = now + (int64_t)options.nap_us * 1000;
        if (options.nap_us && due > now) sleep_until(due > nap ? due : nap);
    }
    close_window();
}

// Ends every call as a platform does, one after the other. Returns how many the server has not closed.
static int end_calls(void) {
    int64_t began = now_ns(), told = 0;
    for (int i = 0; i < total; i++) {
        struct connection *this = &connections[i];
        while (now_ns() - began < (int64_t)((double)told / options.ramp * 1e9)) look(1);
        if (this->state != LIVE && this->state != IDLE && !(this->state == STOPPING && options.storm_keep)) continue;
        if (this->state == LIVE) open_streams--;
        if (this->state == IDLE) open_idle--;
        this->state = STOPPING;
        told++;
        say_stop(this);
    }
    int waiting = 1;
    for (int64_t end = now_ns() + 30000000000; waiting && now_ns() < end && !interrupted;) {
        look(10);
        waiting = 0;
        for (int i = 0; i < total; i++) waiting += connections[i].state == STOPPING;
    }
    return waiting;
}

static void report(int waiting) {
    double window = seconds_of(run.ended - run.began);
    printf("{\"phase\":\"report\",\"streams\":%d,\"tracks\":%d,", options.streams, options.tracks);
    printf("\"connected\":%d,\"live_at_end\":%d,\"never_closed\":%d,", run.connected, run.live_at_end, waiting);
    printf("\"frames\":%lld,\"t0\":%.6f,", (long long)run.frames, seconds_of(run.t0));
    printf("\"period_s\":%.3f,\"window_s\":%.6f,", seconds_of(run.period), window);
    printf("\"messages\":%ld,\"messages_in_window\":%ld,", count.media, run.sent);
    printf("\"texts\":%ld,\"bytes\":%ld,\"stalls\":%ld,\"pings\":%ld,", count.all, count.bytes, count.stalls, count.pings);
    printf("\"late_p99_s\":%.6f,", quantile(late, late_counted, 0.99, BUCKET_NS / 1e9));
    printf("\"late_worst_s\":%.6f,", seconds_of(worst_late));
    printf("\"server_cpu_s\":%.6f,\"own_cpu_s\":%.6f,\"sending_s\":%.6f,", run.cpu, run.own, seconds_of(run.sending));
    printf("\"refused\":%ld,\"failed\":%ld,\"cut\":%ld,", count.refused, count.failed, count.cut);
    printf("\"handshakes\":%ld,", answers_counted);
    printf("\"handshake_p50_s\":%.4f,", quantile(answer_times, answers_counted, 0.5, ANSWER_BUCKET_NS / 1e9));
    printf("\"handshake_p99_s\":%.4f,", quantile(answer_times, answers_counted, 0.99, ANSWER_BUCKET_NS / 1e9));
    printf("\"handshake_worst_s\":%.4f,", seconds_of(worst_answer));
    printf("\"storm_opened\":%ld,\"storm_accepted\":%ld,", count.storm_opened, count.storm_accepted);
    printf("\"storm_per_s\":%.1f,", window > 0 ? (double)run.stormed / window : 0);
    printf("\"interrupted\":%s,\"error\":\"%s\"}\n", interrupted ? "true" : "false", count.first_error);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    prepare_audio(options.payloads);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    total = options.streams + options.idle;
    if (options.storm_keep) total += (int)(options.storm * (options.seconds + options.warm)) + 1;
    else if (options.storm) total += options.storm_inflight + options.storm * CLOSING_S;
    connections = calloc((size_t)total, sizeof *connections);
    for (int i = 0; i < total; i++) connections[i].fd = -1;

    dial_all(options.streams, options.idle, QUIET);
    phase("idle");
    dial_all(0, options.streams, STREAM);
    run.connected = open_streams;
    phase("connected");
    run.period = (int64_t)options.period_ms * 1000000;
    run.frames = (int64_t)((options.warm + options.seconds) * 1e9) / run.period;
    run.t0 = now_ns() + 100000000;
    run.window_from = run.t0 + (int64_t)(options.warm * 1e9) / run.period * run.period;
    run.until = run.t0 + run.frames * run.period;
    phase("pacing");
    pace();
    phase("paced");
    int waiting = end_calls();
    phase("closed");
    report(waiting);
    return interrupted || run.connected < options.streams;
}
