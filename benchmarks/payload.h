// The audio that is sent, as base64: frames that say which one they are, or packets from a file.
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "websocket.h"

enum { FRAME_BYTES = 160, MARK_BYTES = 12 };

static char marks[4096][4];               // base64 of three marked bytes, by the 12 bits they carry
static char filler[256];                  // base64 of what follows the mark, the same in every frame
static size_t filler_size;
static char (*packets)[2048];             // base64 of recorded packets, where there is a file of some
static size_t *packet_sizes, packet_count;

// A nibble as a u-law code: sixteen that are far apart, and all decode to different samples.
static uint8_t mark_code(unsigned nibble) { return (uint8_t)(0x80 + nibble * 8); }

// `recorded` is a file of packets to send in their place, or NULL.
static void prepare_audio(const char *recorded) {
    for (unsigned bits = 0; bits < 4096; bits++) {
        uint8_t bytes[3] = {mark_code(bits >> 8), mark_code(bits >> 4 & 15), mark_code(bits & 15)};
        char text[5];
        base64_encode(text, bytes, 3);
        memcpy(marks[bits], text, 4);
    }
    uint8_t rest[FRAME_BYTES - MARK_BYTES];
    for (size_t i = 0; i < sizeof rest; i++) rest[i] = (uint8_t)(i * 37 + 11) | 0x40; // any fixed pattern would do
    filler_size = base64_encode(filler, rest, sizeof rest);
    if (!recorded) return;
    FILE *file = fopen(recorded, "rb"); // packets, each behind its length as two bytes, little-endian
    if (!file) { perror(recorded); exit(2); }
    uint8_t size[2], packet[1500];
    while (fread(size, 1, 2, file) == 2) {
        size_t bytes = size[0] | (size_t)size[1] << 8;
        if (bytes > sizeof packet || fread(packet, 1, bytes, file) != bytes) break;
        packets = realloc(packets, (packet_count + 1) * sizeof *packets);
        packet_sizes = realloc(packet_sizes, (packet_count + 1) * sizeof *packet_sizes);
        packet_sizes[packet_count] = base64_encode(packets[packet_count], packet, bytes);
        packet_count++;
    }
    fclose(file);
    if (!packet_count) { fprintf(stderr, "%s: no packets\n", recorded); exit(2); }
}

static uint8_t *put(uint8_t *at, const char *text, size_t size) { memcpy(at, text, size); return at + size; }
#define PUT(at, text) put(at, text, sizeof(text) - 1)

static uint8_t *put_number(uint8_t *at, uint32_t number) {
    char digits[10];
    int length = 0;
    do digits[length++] = (char)('0' + number % 10); while (number /= 10);
    while (length) *at++ = (uint8_t)digits[--length];
    return at;
}

// The frame's number (24 bits) and its unit's (20 bits) as samples: a checker finds in the recording what is missing.
static uint8_t *put_payload(uint8_t *at, uint32_t unit, uint32_t frame) {
    if (packet_count) {
        size_t packet = (unit * 7 + frame) % packet_count;
        return put(at, packets[packet], packet_sizes[packet]);
    }
    at = put(at, marks[frame >> 12 & 4095], 4);
    at = put(at, marks[frame & 4095], 4);
    at = put(at, marks[unit >> 8 & 4095], 4);
    at = put(at, marks[(unit & 255) << 4 | 10], 4);
    return put(at, filler, filler_size);
}

#endif
