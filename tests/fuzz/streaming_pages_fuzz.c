#include <stdlib.h>
#include "streaming/playlist.h"
#include "streaming/stat.h"

static void on_client(void *context, const struct stat_client *client) {
    (void)context;
    if (client->id == 0) abort();
}

static void on_stream(void *context, const struct stat_stream *stream) {
    (void)context;
    (void)stream;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct stat_events events = {on_client, on_stream, NULL};
    struct playlist_options options = {SLICE("luna"), "secret", 1700000000};
    struct buffer out = {0};
    uint64_t pid;
    unsigned target = 0;
    struct slice text = slice_make(data, size);
    stat_read(text, &events, &pid);
    if (!playlist_rewrite(&out, text, &options, &target) && out.size > 0) abort();
    buffer_free(&out);
    return 0;
}
