#ifndef FOOTLIGHT_STREAMING_FLV_H
#define FOOTLIGHT_STREAMING_FLV_H
#include "base/chunk.h"

/// FLV, as far as a relay needs it: tags are wrapped, never taken apart.
enum { FLV_AUDIO = 8, FLV_VIDEO = 9, FLV_DATA = 18, FLV_HEADER_SIZE = 13, FLV_TAG_EXTRA = 15 };

/// The file header and the first, empty previous-tag size. Players wait for ever for a track that
/// the header promises and that never comes.
void flv_header(char out[FLV_HEADER_SIZE], bool audio, bool video);

/// A whole tag with its trailing size, as the payload of a WebSocket frame that is ready to send:
/// one copy in memory serves WebSocket viewers as it is and HTTP viewers from byte *head on. The
/// body must be below 16 MiB.
struct chunk *flv_frame(int type, uint32_t timestamp, struct slice body, unsigned *head);

enum flv_kind {
    FLV_OTHER,
    FLV_VIDEO_CONFIG, ///< AVC sequence header
    FLV_VIDEO_KEY,
    FLV_VIDEO_INTER,
    FLV_AUDIO_CONFIG, ///< AAC sequence header
    FLV_AUDIO_FRAME,
};
enum flv_kind flv_kind(int type, struct slice body);
#endif
