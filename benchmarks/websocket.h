// What the C programs here share of WebSocket: the accept key, base64, frames' heads, and one clock.
// Linux and a C compiler are all it takes; nothing is linked but libc.
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static inline int64_t clock_ns(clockid_t clock) {
    struct timespec at;
    if (clock_gettime(clock, &at)) return -1;
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static inline int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Writes 4 * ceil(size / 3) characters and returns how many.
static inline size_t base64_encode(char *out, const uint8_t *in, size_t size) {
    char *at = out;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16;
        if (i + 1 < size) bits |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < size) bits |= in[i + 2];
        *at++ = BASE64[bits >> 18];
        *at++ = BASE64[bits >> 12 & 63];
        *at++ = i + 1 < size ? BASE64[bits >> 6 & 63] : '=';
        *at++ = i + 2 < size ? BASE64[bits & 63] : '=';
    }
    return (size_t)(at - out);
}

static inline uint32_t rotated(uint32_t word, int by) { return word << by | word >> (32 - by); }

// SHA-1 of at most 119 bytes: two blocks hold a key and its suffix.
static inline void sha1(uint8_t out[20], const char *text, size_t size) {
    uint8_t data[128] = {0};
    uint32_t hash[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    size_t blocks = size < 56 ? 1 : 2;
    memcpy(data, text, size);
    data[size] = 0x80;
    for (int i = 0; i < 4; i++) data[blocks * 64 - 1 - i] = (uint8_t)(size * 8 >> 8 * i);
    for (size_t block = 0; block < blocks; block++) {
        uint32_t w[80], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
        for (int i = 0; i < 16; i++) {
            const uint8_t *at = data + block * 64 + i * 4;
            w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t mix = i < 20   ? (b & c) | (~b & d)
                           : i < 40 ? b ^ c ^ d
                           : i < 60 ? (b & c) | (b & d) | (c & d)
                                    : b ^ c ^ d;
            static const uint32_t ADDED[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
            uint32_t next = rotated(a, 5) + mix + e + ADDED[i / 20] + w[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = next;
        }
        hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e;
    }
    for (int i = 0; i < 20; i++) out[i] = (uint8_t)(hash[i / 4] >> (24 - i % 4 * 8));
}

// The 28 characters that answer a Sec-WebSocket-Key of 24.
static inline void accept_key(char out[29], const char key[24]) {
    char text[60];
    uint8_t digest[20];
    memcpy(text, key, 24);
    memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sha1(digest, text, 60);
    out[base64_encode(out, digest, 20)] = 0;
}

// Exclusive-or with a mask that begins at data's first byte.
static inline void apply_mask(uint8_t *data, size_t size, uint32_t mask) {
    uint64_t wide = (uint64_t)mask << 32 | mask, word;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < size; i++) data[i] ^= (uint8_t)(mask >> 8 * (i % 4)); // little-endian
}

struct frame {
    int opcode;
    int masked;
    uint32_t mask;
    size_t head; // bytes before the payload
    size_t size; // of the payload
};

// Whether a frame's head is complete in `size` bytes; then `frame` describes it.
static inline int frame_head(struct frame *frame, const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    frame->opcode = data[0] & 15;
    frame->masked = data[1] >> 7;
    frame->size = data[1] & 127;
    frame->head = 2;
    int wide = frame->size == 126 ? 2 : frame->size == 127 ? 8 : 0;
    if (size < 2u + (size_t)wide + (frame->masked ? 4 : 0)) return 0;
    if (wide) {
        frame->size = 0;
        for (int i = 0; i < wide; i++) frame->size = frame->size << 8 | data[2 + i];
        frame->head += (size_t)wide;
    }
    if (frame->masked) {
        memcpy(&frame->mask, data + frame->head, 4);
        frame->head += 4;
    }
    return 1;
}

#endif
