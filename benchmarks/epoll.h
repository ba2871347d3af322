// The obvious server in C: one epoll loop, one `read` per wake-up of a socket, messages unmasked where they lie.
// A program includes it, defines what happens to a message, and calls serve().
#ifndef EPOLL_H
#define EPOLL_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "websocket.h"

enum { ROOM = 65536 + 16, REQUEST = 8192 };

struct peer {
    int fd;
    int upgraded;
    size_t have;
    size_t room;
    uint8_t *data; // what is not handled yet; as large as a request, until a message needs more
    void *own;     // the program's
};

static void on_text(struct peer *peer, char *text, size_t size); // text is writable, not terminated
static void on_end(struct peer *peer);

static const char *required_token; // NULL: everybody may connect

static void hang_up(struct peer *peer) {
    on_end(peer);
    close(peer->fd);
    free(peer->data);
    free(peer);
}

static int answer(struct peer *peer, const char *text) {
    size_t size = strlen(text);
    return send(peer->fd, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

// A header's value, without the spaces before it, or NULL.
static const char *header(const char *request, const char *name, size_t *size) {
    size_t length = strlen(name);
    for (const char *line = strstr(request, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) || line[2 + length] != ':') continue;
        const char *value = line + 3 + length;
        while (*value == ' ') value++;
        *size = strcspn(value, "\r");
        return value;
    }
    return NULL;
}

static int same(const char *a, const char *b, size_t size) { // in constant time
    uint8_t differs = 0;
    for (size_t i = 0; i < size; i++) differs |= (uint8_t)(a[i] ^ b[i]);
    return !differs;
}

// How many bytes of the buffer the handshake took, 0 if it is not complete, -1 if the connection is over.
static long handshake(struct peer *peer) {
    char request[REQUEST + 1], key[29], text[256];
    size_t size, have = peer->have < REQUEST ? peer->have : REQUEST;
    memcpy(request, peer->data, have);
    request[have] = 0;
    const char *end = strstr(request, "\r\n\r\n");
    if (!end) return peer->have >= REQUEST ? -1 : 0;
    const char *value = header(request, "Authorization", &size);
    if (required_token && (!value || size != 7 + strlen(required_token) || strncmp(value, "Bearer ", 7) ||
                           !same(value + 7, required_token, size - 7))) {
        answer(peer, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return -1;
    }
    value = header(request, "Sec-WebSocket-Key", &size);
    if (!value || size != 24) {
        answer(peer, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return -1;
    }
    accept_key(key, value);
    snprintf(text, sizeof text,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n", key);
    peer->upgraded = 1;
    return answer(peer, text) ? end + 4 - request : -1;
}

// 0 if the connection is over.
static int read_once(struct peer *peer) {
    ssize_t got = recv(peer->fd, peer->data + peer->have, peer->room - peer->have, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
    if (got <= 0) return 0;
    peer->have += (size_t)got;
    size_t at = 0;
    if (!peer->upgraded) {
        long taken = handshake(peer);
        if (taken <= 0) return taken == 0;
        at = (size_t)taken;
    }
    struct frame frame;
    while (frame_head(&frame, peer->data + at, peer->have - at)) {
        if (!frame.masked || frame.size > ROOM - 16) return 0;
        if (frame.head + frame.size > peer->have - at) break;
        uint8_t *text = peer->data + at + frame.head;
        apply_mask(text, frame.size, frame.mask);
        at += frame.head + frame.size;
        if (frame.opcode == TEXT) {
            on_text(peer, (char *)text, frame.size);
        } else if (frame.opcode == CLOSE) {
            uint8_t bye[4] = {0x88, 2, 1000 >> 8, 1000 & 255};
            send(peer->fd, bye, 4, MSG_NOSIGNAL);
            return 0;
        }
    }
    memmove(peer->data, peer->data + at, peer->have - at);
    peer->have -= at;
    if (peer->room < ROOM && peer->have > peer->room / 2) peer->data = realloc(peer->data, peer->room = ROOM);
    return 1;
}

// Serves until it is killed. Prints the port once it listens.
static int serve(int port) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 2048)) {
        perror("listen");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            struct peer *peer = events[i].data.ptr;
            if (peer) {
                if (!read_once(peer)) hang_up(peer);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            peer = calloc(1, sizeof *peer);
            peer->fd = fd;
            peer->data = malloc(peer->room = REQUEST);
            event.events = EPOLLIN, event.data.ptr = peer;
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}

#endif
