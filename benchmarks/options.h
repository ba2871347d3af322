// The load generator's options.
#ifndef OPTIONS_H
#define OPTIONS_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TRACKS = 2, MAX_WATCHED = 16 };

static struct {
    const char *host, *path, *token, *encoding, *payloads;
    int port, streams, tracks, idle, say_start, clock_rate, storm, storm_inflight, storm_keep, storm_start, abrupt;
    double seconds, warm, ramp;
    int period_ms, nap_us;
    int watched[MAX_WATCHED], watching;
    const char *prefix;
} options = {.host = "127.0.0.1", .path = "/stream", .token = "", .encoding = "audio/x-mulaw", .port = 8080,
             .streams = 100, .tracks = 1, .clock_rate = 8000, .storm_inflight = 256, .seconds = 10, .warm = 2,
             .ramp = 500, .period_ms = 20, .prefix = "bench"};

static void usage(const char *problem) {
    fprintf(stderr, "load: %s\n"
        "usage: load --port N [--host A] [--path P] [--token T] [--streams N] [--tracks 1|2] [--seconds S] [--warm S]\n"
        "            [--ramp PER_S] [--idle N] [--say-start] [--storm PER_S] [--storm-inflight N]\n"
        "            [--storm-keep] [--storm-start] [--abrupt] [--encoding E --rate HZ --payloads FILE] [--prefix P]\n"
        "            [--nap-us US] [--watch PID]...\n", problem);
    exit(2);
}

static void read_options(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
#define FLAG(text, field) if (!strcmp(name, text)) { options.field = 1; continue; }
        FLAG("--say-start", say_start)
        FLAG("--storm-keep", storm_keep)
        FLAG("--storm-start", storm_start)
        FLAG("--abrupt", abrupt)
        if (i + 1 == argc) usage(name);
        char *value = argv[++i];
#define TAKE(text, field, read) if (!strcmp(name, text)) { options.field = read(value); continue; }
#define SAME(value) (value)
        TAKE("--host", host, SAME)
        TAKE("--path", path, SAME)
        TAKE("--token", token, SAME)
        TAKE("--prefix", prefix, SAME)
        TAKE("--encoding", encoding, SAME)
        TAKE("--payloads", payloads, SAME)
        TAKE("--port", port, atoi)
        TAKE("--rate", clock_rate, atoi)
        TAKE("--streams", streams, atoi)
        TAKE("--tracks", tracks, atoi)
        TAKE("--idle", idle, atoi)
        TAKE("--nap-us", nap_us, atoi)
        TAKE("--storm", storm, atoi)
        TAKE("--storm-inflight", storm_inflight, atoi)
        TAKE("--seconds", seconds, atof)
        TAKE("--warm", warm, atof)
        TAKE("--ramp", ramp, atof)
        if (!strcmp(name, "--watch") && options.watching < MAX_WATCHED) {
            options.watched[options.watching++] = atoi(value);
            continue;
        }
        usage(name);
    }
    struct in_addr address;
    if (!inet_pton(AF_INET, options.host, &address)) usage("--host takes an IPv4 address");
    if (options.tracks < 1 || options.tracks > MAX_TRACKS) usage("--tracks is 1 or 2");
    if (options.streams < 0 || options.seconds <= 0 || options.ramp <= 0 || options.storm < 0) usage("out of range");
}

#endif
