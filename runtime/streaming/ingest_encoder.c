#include <stdio.h>
#include "streaming/ingest.h"

// ffmpeg, as the child of an ingest: its arguments and what it tells of its progress.

void ingest_arguments(const char *out[INGEST_ARGUMENTS], const struct ingest_input *input,
                      const char *address, char kbit[2][16]) {
    int n = 0;
#define ADD(...)                                                                                   \
    do {                                                                                           \
        const char *const list[] = {__VA_ARGS__};                                                  \
        for (size_t i = 0; i < sizeof list / sizeof *list; i++) out[n++] = list[i];                \
    } while (0)
    unsigned rate = input->kbit ? input->kbit : 1500;
    snprintf(kbit[0], sizeof kbit[0], "%uk", rate);
    snprintf(kbit[1], sizeof kbit[1], "%uk", 2 * rate);
    ADD("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-nostats", "-progress", "pipe:1",
        "-stats_period", "1");
    // Small probes: the picture starts with the first cluster, not with the fifth second.
    ADD("-fflags", "+nobuffer", "-probesize", "65536", "-analyzeduration", "200000", "-f", "matroska",
        "-i", "pipe:0", "-map", "0:v:0?", "-map", "0:a:0?");
    if (input->h264) {
        ADD("-c:v", "copy");
    } else {
        // One key frame each two seconds, whatever the browser's frame rate is.
        ADD("-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
            "-force_key_frames", "expr:gte(t,n_forced*2)", "-b:v", kbit[0], "-maxrate", kbit[0], "-bufsize", kbit[1]);
    }
    if (input->audio) {
        ADD("-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2");
    } else {
        ADD("-an");
    }
    ADD("-flush_packets", "1", "-f", "flv", address);
#undef ADD
    out[n] = NULL;
}

/// "29.97" → 2997, "1503.2kbits/s" → 150320 hundredths; 0 for "N/A".
static int64_t hundredths(struct slice text) {
    int64_t value = 0;
    int decimals = -1;
    for (size_t i = 0; i < text.size && decimals < 2 && value < INT64_MAX / 1000; i++) {
        char c = text.data[i];
        if (c == '.' && decimals < 0) {
            decimals = 0;
        } else if (c >= '0' && c <= '9') {
            value = value * 10 + (c - '0');
            if (decimals >= 0) decimals++;
        } else if (c != ' ') {
            break;
        }
    }
    for (int i = decimals < 0 ? 0 : decimals; i < 2; i++) value *= 10;
    return value;
}

static void read_line(struct ingest_progress *progress) {
    struct slice line = slice_make(progress->line, progress->size);
    size_t equals = slice_find(line, '=', 0);
    if (equals >= line.size) return;
    struct slice name = slice_sub(line, 0, equals), value = slice_sub(line, equals + 1, line.size);
    if (slice_equal(name, SLICE("frame"))) progress->frames = hundredths(value) / 100;
    if (slice_equal(name, SLICE("fps"))) progress->fps_hundredths = hundredths(value);
    if (slice_equal(name, SLICE("bitrate"))) progress->kbit = hundredths(value) / 100;
    if (slice_equal(name, SLICE("drop_frames"))) progress->dropped = hundredths(value) / 100;
    if (slice_equal(name, SLICE("progress"))) progress->whole = true;
}

void ingest_progress_feed(struct ingest_progress *progress, struct slice data) {
    for (size_t i = 0; i < data.size; i++) {
        if (data.data[i] == '\n') {
            read_line(progress);
            progress->size = 0;
        } else if (progress->size < sizeof progress->line) {
            progress->line[progress->size++] = data.data[i];
        }
    }
}
