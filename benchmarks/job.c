// The same job in C, the obvious way: one epoll loop, one `read` per message, a JSON scan, base64, G.711, one `write` per
// message to a WAV file per track. No timeline, no journal, no metrics, no crash safety: that is what makes it obvious.
//
//     cc -O2 -o job job.c && ./job 0 TOKEN FOLDER
#include "epoll.h"

enum { TRACKS = 2, NAME = 64 };

struct text {
    const char *at;
    size_t size;
};

struct message { // what a scan finds of it
    struct text event, track, payload, stream_id;
};

struct file {
    char track[NAME];
    int fd;
    uint32_t bytes;
};

struct stream {
    char id[NAME];
    struct file files[TRACKS];
    int count;
};

static const char *folder;
static int16_t linear[256];
static int8_t sextet[256];

static void fill_tables(void) {
    for (int i = 0; i < 256; i++) {
        int code = ~i & 255, exponent = code >> 4 & 7, mantissa = code & 15;
        int magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84; // G.711
        linear[i] = (int16_t)(code & 0x80 ? -magnitude : magnitude);
        sextet[i] = -1;
    }
    for (int i = 0; i < 64; i++) sextet[(uint8_t)BASE64[i]] = (int8_t)i;
}

static int is(struct text text, const char *word) {
    return text.size == strlen(word) && !memcmp(text.at, word, text.size);
}

static void skip_space(struct text *in) {
    while (in->size && (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r')) in->at++, in->size--;
}

// A string, quotes taken off; 0 if there is none. Escapes are stepped over, and left as they are.
static int scan_string(struct text *in, struct text *found) {
    if (!in->size || *in->at != '"') return 0;
    for (size_t i = 1; i < in->size; i++) {
        if (in->at[i] == '\\') {
            i++;
        } else if (in->at[i] == '"') {
            *found = (struct text){in->at + 1, i - 1};
            in->at += i + 1, in->size -= i + 1;
            return 1;
        }
    }
    return 0;
}

static int scan_value(struct text *in, struct text key, struct message *message, int depth);

static int scan_inside(struct text *in, char closing, struct message *message, int depth) {
    in->at++, in->size--;
    for (;;) {
        struct text key = {"", 0};
        skip_space(in);
        if (in->size && *in->at == closing) break;
        if (closing == '}') {
            if (!scan_string(in, &key)) return 0;
            skip_space(in);
            if (!in->size || *in->at != ':') return 0;
            in->at++, in->size--;
        }
        if (!scan_value(in, key, message, depth)) return 0;
        skip_space(in);
        if (in->size && *in->at == ',') in->at++, in->size--;
    }
    in->at++, in->size--;
    return 1;
}

static int scan_value(struct text *in, struct text key, struct message *message, int depth) {
    struct text value;
    skip_space(in);
    if (!in->size || depth > 8) return 0;
    if (*in->at == '{') return scan_inside(in, '}', message, depth + 1);
    if (*in->at == '[') return scan_inside(in, ']', message, depth + 1);
    if (*in->at != '"') { // a number or a word
        while (in->size && !strchr(",}] \n\t\r", *in->at)) in->at++, in->size--;
        return 1;
    }
    if (!scan_string(in, &value)) return 0;
    if (is(key, "event")) message->event = value;
    else if (is(key, "track")) message->track = value;
    else if (is(key, "payload")) message->payload = value;
    else if (is(key, "streamSid")) message->stream_id = value;
    return 1;
}

static void put_header(uint8_t *out, uint32_t bytes) {
    static const uint8_t HEADER[44] = "RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data";
    uint32_t riff = bytes + 36;
    memcpy(out, HEADER, 44);
    memcpy(out + 4, &riff, 4);
    memcpy(out + 40, &bytes, 4);
}

static void copy_name(char out[NAME], struct text text) {
    size_t size = text.size < NAME - 1 ? text.size : NAME - 1;
    for (size_t i = 0; i < size; i++) out[i] = text.at[i] == '/' || text.at[i] == '.' ? '_' : text.at[i];
    out[size] = 0;
}

static struct file *file_of(struct stream *stream, struct text track) {
    for (int i = 0; i < stream->count; i++)
        if (is(track, stream->files[i].track)) return &stream->files[i];
    if (stream->count == TRACKS) return NULL;
    struct file *file = &stream->files[stream->count];
    char path[512];
    uint8_t head[44];
    copy_name(file->track, track);
    snprintf(path, sizeof path, "%s/%s-%s.wav", folder, stream->id, file->track);
    file->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->fd < 0) return NULL;
    put_header(head, 0);
    if (write(file->fd, head, 44) != 44) return NULL;
    stream->count++;
    return file;
}

static void keep(struct stream *stream, struct message *message) {
    int16_t samples[ROOM * 3 / 4];
    struct file *file = file_of(stream, message->track);
    if (!file) return;
    size_t count = 0;
    const char *at = message->payload.at;
    for (size_t left = message->payload.size; left >= 4; left -= 4, at += 4) {
        int a = sextet[(uint8_t)at[0]], b = sextet[(uint8_t)at[1]];
        int c = sextet[(uint8_t)at[2]], d = sextet[(uint8_t)at[3]];
        if (a < 0 || b < 0) return;
        samples[count++] = linear[(a << 2 | b >> 4) & 255];
        if (c >= 0) samples[count++] = linear[(b << 4 | c >> 2) & 255];
        if (c >= 0 && d >= 0) samples[count++] = linear[(c << 6 | d) & 255];
    }
    ssize_t written = write(file->fd, samples, count * 2);
    if (written > 0) file->bytes += (uint32_t)written;
}

static void on_text(struct peer *peer, char *text, size_t size) {
    struct message message = {0};
    struct text in = {text, size};
    if (!scan_value(&in, (struct text){"", 0}, &message, 0)) return;
    if (is(message.event, "media")) {
        if (peer->own) keep(peer->own, &message);
    } else if (is(message.event, "start") && !peer->own) {
        struct stream *stream = peer->own = calloc(1, sizeof *stream);
        copy_name(stream->id, message.stream_id);
    } else if (is(message.event, "stop")) {
        on_end(peer);
    }
}

static void on_end(struct peer *peer) {
    struct stream *stream = peer->own;
    if (!stream) return;
    for (int i = 0; i < stream->count; i++) {
        uint8_t head[44];
        put_header(head, stream->files[i].bytes);
        if (pwrite(stream->files[i].fd, head, 44, 0) != 44) perror("header");
        close(stream->files[i].fd);
    }
    free(stream);
    peer->own = NULL;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: job PORT TOKEN FOLDER\n");
        return 2;
    }
    fill_tables();
    required_token = argv[2];
    folder = argv[3];
    return serve(atoi(argv[1]));
}
