// The floor: a naive C server. epoll, one `read` per message, unmasked, and nothing done with it.
//
//     cc -O2 -o floor floor.c && ./floor 0
#include "epoll.h"

static void on_text(struct peer *peer, char *text, size_t size) { (void)peer, (void)text, (void)size; }
static void on_end(struct peer *peer) { (void)peer; }

int main(int argc, char **argv) { return serve(argc > 1 ? atoi(argv[1]) : 0); }
