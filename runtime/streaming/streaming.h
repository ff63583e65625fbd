#ifndef FOOTLIGHT_STREAMING_STREAMING_H
#define FOOTLIGHT_STREAMING_STREAMING_H
#include "base/settings.h"
#include "billing/meter.h"
#include "http/request.h"
#include "redis/client.h"
#include "streaming/ticket.h"

/// Who may broadcast, who may watch, what it costs, and when it ends. One library for two services:
/// *hooks* answers nginx-rtmp, keeps the list of what is live and meters RTMP players; *media*
/// serves web viewers (playlists, keys, FLV) and meters those. Both work with Redis alone.
struct streaming;

enum streaming_service { STREAMING_HOOKS, STREAMING_MEDIA };

/// Why a request of the policy was refused goes to the log and, where possible, to the player.
struct streaming_question {
    struct slice slug;
    int64_t model;
    struct slice address; ///< the broadcaster's or viewer's
    const struct ticket *ticket; ///< NULL for on_publish
};
/// Answers a question, once; from inside the call that asked or later.
struct streaming_answer;
void streaming_answer(struct streaming_answer *answer, bool allow, const char *reason);

/// Policy that a site writes in Lua; runtime/lua/lua_streaming.c fills it. NULL members: allowed.
struct streaming_policy {
    void (*on_publish)(void *context, const struct streaming_question *question,
                       struct streaming_answer *answer);
    void (*on_play)(void *context, const struct streaming_question *question,
                    struct streaming_answer *answer);
    void *context;
};

/// A further host with an nginx-rtmp of its own. Its hook URLs have "<name>.<word>" as the boot word.
enum { STREAMING_HOSTS = 15, STREAMING_HOST_NAME_SIZE = 16 };
struct streaming_host {
    char name[STREAMING_HOST_NAME_SIZE]; ///< 1 to 15 of [a-z0-9]
    const char *address; ///< an IP address and a port, for nginx, too: it resolves no names
    const char *control_url, *stat_url;
};

struct streaming_options {
    enum streaming_service service;
    struct redis_client *redis;           ///< the main instance
    struct redis_subscriber *subscriber;  ///< for orders; NULL: none are heard
    struct billing *billing;
    unsigned char ticket_key[TICKET_KEY_SIZE];
    const char *hooks_secret;   ///< as it stands in the hook URLs
    const char *segment_secret; ///< as it stands in nginx.conf
    const char *boot;           ///< of the running nginx (<var>/run/rtmp.boot)
    const char *rtmp_address;   ///< "127.0.0.1:1935"
    const char *control_url, *stat_url;
    struct streaming_host hosts[STREAMING_HOSTS]; ///< beside the one of the three lines above
    size_t host_count;
    const char *host;           ///< media: the name of the host that it is at; NULL: "main"
    const char *hls, *keys;     ///< nginx-rtmp's folders
    unsigned grace_ms;          ///< a model who lost the line is waited for (30000)
    unsigned ingest_kbit;       ///< most that a browser may send (12000)
    unsigned ingest_hours;      ///< longest broadcast from a browser (12)
    unsigned linger_ms;         ///< a web viewer without a sign of life is closed after it (8000)
    /// hooks: a stream's state changed ("starting", "live", "grace", "offline"). For `status:<slug>`.
    void (*on_status)(void *context, const char *slug, const char *state, int64_t at_ms);
    /// media: how a stream that its model looks at is doing, a JSON message for `user:<account>`.
    void (*on_health)(void *context, int64_t account, struct slice json);
    void *context;
};
/// Fills everything that the settings know (secrets, rtmp.*, media.*, and the boot word from its
/// file), with the defaults in brackets. Texts point into the settings, but the boot word is copied
/// into `boot`, which must outlive the call of streaming_new.
enum { STREAMING_BOOT_SIZE = 33 };
/// NULL, or the key of the setting that is missing or malformed.
const char *streaming_options_configure(struct streaming_options *options,
                                        const struct settings *settings,
                                        char boot[STREAMING_BOOT_SIZE]);

/// secrets.ticket as bytes, for those who only make or read tickets.
bool streaming_ticket_key(const struct settings *settings, unsigned char key[TICKET_KEY_SIZE]);

/// Copies the options (their texts too). Subscribes to ctl:<service> and, as hooks, takes over the
/// sessions that a former process left.
struct streaming *streaming_new(struct loop *loop, const struct streaming_options *options);
void streaming_set_policy(struct streaming *streaming, const struct streaming_policy *policy);
/// Lets go of every session (open meters stay open in Redis; the next process adopts them) and
/// closes web viewers' sockets. Call while the loop still runs; freed when `done` is called.
void streaming_free(struct streaming *streaming, void (*done)(void *context), void *context);

/// Handlers for http_server's on_request; `streaming` is the context.
void hooks_on_request(void *streaming, struct http_request *request); ///< /hooks/<secret>/<boot>/<call>
void media_on_request(void *streaming, struct http_request *request); ///< /media/…

/// An order, as it would come by ctl:<service> (order.h). Whatever it does, it starts at once.
void streaming_order(struct streaming *streaming, struct slice json);

size_t streaming_sessions(const struct streaming *streaming); ///< open ones
#endif
