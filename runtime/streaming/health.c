#include "streaming/health.h"
#include "streaming/flv.h"

enum {
    H264 = 7,
    AAC = 10,
    GAP_MOST_MS = 4000,    ///< what a first viewer waits for a picture
    KBIT_MOST = 8000,
    FPS_LEAST = 14,
    DROPPED_PERCENT = 5,
    LATE_MS = 1500,
    BITS_PER_THOUSAND_PIXELS = 15, ///< below it H.264 is a blur, whatever the encoder
};

static const char *const names[] = {"keyframe_gap", "codec",     "no_video", "no_audio", "low_kbit",
                                    "high_kbit",    "low_fps",   "dropped",  "late"};

void health_init(struct health *health) {
    *health = (struct health){.video_codec = -1, .audio_codec = -1};
}

static void note_interval(struct health *health, uint32_t timestamp) {
    uint32_t step = timestamp - health->last_frame;
    if (step == 0 || step > 60000) return; // the same time twice, or a new beginning
    uint32_t scaled = step * 16;
    if (!health->interval) health->interval = scaled;
    if (scaled > health->interval * 5 / 2) {
        health->dropped += scaled / health->interval - 1;
        // A camera that slows down in the dark is no loss: the typical time follows it.
        health->interval += (scaled - health->interval) / 32;
    } else {
        health->interval = health->interval - health->interval / 8 + scaled / 8;
    }
    if (!health->interval) health->interval = 1;
}

void health_note(struct health *health, int type, uint32_t timestamp, struct slice body, uint64_t now) {
    if (body.size < 2) return;
    unsigned char first = (unsigned char)body.data[0];
    if (!health->window) health->window = now;
    int64_t delay = (int64_t)now - (int64_t)timestamp;
    if (health->frames + health->sounds == 0) health->earliest = health->latest = delay;
    if (delay < health->earliest) health->earliest = delay;
    if (delay > health->latest) health->latest = delay;
    if (type == FLV_AUDIO) {
        health->audio_codec = first >> 4;
        health->sounds++;
        health->audio_bytes += body.size;
        return;
    }
    // The highest bit announces the four-letter codecs of enhanced RTMP.
    health->video_codec = first & 0x80 ? 0x80 : first & 0x0f;
    if (health->video_codec == H264 && body.data[1] != 1) return; // configuration, not a frame
    bool key = ((first & 0x70) >> 4) == 1;
    health->frames++;
    health->video_bytes += body.size;
    if (health->framed) note_interval(health, timestamp);
    health->last_frame = timestamp;
    health->framed = true;
    if (!key) return;
    if (health->keyed && timestamp - health->last_key < 600000) health->gap = timestamp - health->last_key;
    health->last_key = timestamp;
    health->keyed = true;
}

static unsigned find_number(struct slice body, const char *name, size_t size) {
    // An AMF member: its name, a type of 0 (number), eight bytes of a double, the highest first.
    for (size_t i = 0; i + size + 9 <= body.size; i++) {
        const unsigned char *at = (const unsigned char *)body.data + i + size;
        if (memcmp(body.data + i, name, size) != 0 || at[0] != 0) continue;
        uint64_t bits = 0;
        double value;
        for (int k = 1; k <= 8; k++) bits = bits << 8 | at[k];
        memcpy(&value, &bits, sizeof value);
        return value >= 1 && value <= 16384 ? (unsigned)value : 0;
    }
    return 0;
}

void health_meta(struct health *health, struct slice body) {
    unsigned width = find_number(body, "\0\5width", 7), height = find_number(body, "\0\6height", 8);
    if (width && height) {
        health->width = width;
        health->height = height;
    }
}

static const char *codec_name(int codec, bool video) {
    if (codec < 0) return "";
    if (video) return codec == H264 ? "H.264" : "other";
    return codec == AAC ? "AAC" : "other";
}

static unsigned judge(const struct health *health, uint32_t gap, unsigned fps10, uint64_t kbit) {
    unsigned advice = 0;
    bool video = health->frames > 0;
    if ((video && health->video_codec != H264) || (health->sounds && health->audio_codec != AAC)) {
        advice |= HEALTH_CODEC;
    }
    // nginx sends the configuration at once and the picture from a key frame on: with the one but
    // never the other, viewers are waiting for a key frame.
    bool waiting = !health->framed && health->video_codec == H264;
    if (!video) advice |= waiting ? HEALTH_KEYFRAME_GAP : HEALTH_NO_VIDEO;
    if (!health->sounds) advice |= HEALTH_NO_AUDIO;
    if (!video) return advice;
    uint64_t pixels = (uint64_t)health->width * health->height * fps10 / 10;
    if (gap > GAP_MOST_MS) advice |= HEALTH_KEYFRAME_GAP;
    if (pixels && kbit * 1000 < pixels * BITS_PER_THOUSAND_PIXELS / 1000) advice |= HEALTH_LOW_KBIT;
    if (kbit > KBIT_MOST) advice |= HEALTH_HIGH_KBIT;
    if (fps10 < FPS_LEAST * 10) advice |= HEALTH_LOW_FPS;
    if (health->dropped > 1 && health->dropped * 100 > health->frames * DROPPED_PERCENT) {
        advice |= HEALTH_DROPPED;
    }
    if (health->latest - health->earliest > LATE_MS) advice |= HEALTH_LATE;
    return advice;
}

bool health_report(struct health *health, struct buffer *out, const char *slug, uint64_t now,
                   unsigned *advice) {
    if (!health->window) health->window = now;
    uint64_t elapsed = now - health->window;
    if (elapsed < HEALTH_WINDOW_MS) return false;
    unsigned fps10 = (unsigned)(health->frames * 10000ULL / elapsed);
    uint64_t kbit = health->video_bytes * 8 / elapsed;
    // A key frame that is overdue counts before it comes.
    uint32_t open = health->keyed ? health->last_frame - health->last_key : 0;
    uint32_t gap = open > health->gap && open < 600000 ? open : health->gap;
    unsigned found = judge(health, gap, fps10, kbit);
    buffer_printf(out,
                  "{\"type\":\"health\",\"slug\":\"%s\",\"width\":%u,\"height\":%u,\"fps\":%u.%u,"
                  "\"kbit\":%llu,\"audio_kbit\":%llu,\"gap_ms\":%u,\"dropped\":%u,\"video\":\"%s\","
                  "\"audio\":\"%s\",\"advice\":[",
                  slug, health->width, health->height, fps10 / 10, fps10 % 10,
                  (unsigned long long)kbit,
                  (unsigned long long)(health->audio_bytes * 8 / elapsed), gap, health->dropped,
                  codec_name(health->frames ? health->video_codec : -1, true),
                  codec_name(health->sounds ? health->audio_codec : -1, false));
    bool first = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(found & 1u << i)) continue;
        buffer_printf(out, "%s\"%s\"", first ? "" : ",", names[i]);
        first = false;
    }
    buffer_append_text(out, "]}");
    if (advice) *advice = found;
    health->window = now;
    health->frames = health->sounds = health->dropped = 0;
    health->video_bytes = health->audio_bytes = 0;
    return true;
}
