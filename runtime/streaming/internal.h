#ifndef FOOTLIGHT_STREAMING_INTERNAL_H
#define FOOTLIGHT_STREAMING_INTERNAL_H
#include <errno.h>
#include "base/hash.h"
#include "base/metrics.h"
#include "http/response.h"
#include "streaming/hook_request.h"
#include "streaming/streaming.h"

// What the files of streaming/ share. Nothing outside includes this.

enum {
    SESSION_ID_SIZE = 64,
    UPDATE_MS = 5000,         ///< notify_update_timeout in conf/nginx-rtmp.conf
    LOCK_MS = 4 * UPDATE_MS,  ///< p:pub: survives two lost updates and a restart of ours
    TOMBSTONE_MS = 60 * 1000, ///< an ended session is remembered: its callbacks come in any order
    STAT_MS = 2000,           ///< how often /stat is compared with what we believe
    STAT_FAST_MS = 250,       ///< while a stream waits for its first picture
    STILL_MS = 3000,          ///< without a packet for so long, the picture stands
    USED_SECONDS = 90000,     ///< a used ticket is remembered for longer than any session
};

/// A host with an nginx-rtmp. Its boot word, and so each of its sessions' ids, begins with its name
/// and a dot; the host of rtmp.address has no name there.
struct media_host {
    struct streaming *streaming;
    char name[STREAMING_HOST_NAME_SIZE];
    const char *address, *control_url, *stat_url; ///< as in the options
    char boot[STREAMING_BOOT_SIZE]; ///< of the nginx that runs there; "" as long as none was heard of
    bool stat_running;
    uint64_t stat_round, stat_worker; ///< … and the worker that answered last
    uint64_t stat_due, stat_asked; ///< loop times: of the next page, and of the one under way
    bool stat_late;                ///< this process stood still meanwhile
    struct list samples;           ///< who waits for the next page of /stat
    struct timer stat_timer;
};

enum session_kind {
    SESSION_PUBLISHER, ///< a model's encoder, in application publish
    SESSION_RELAY,     ///< nginx's own push of it into application live
    SESSION_PULL,      ///< nginx's pull of a stream from the host that it is sent to
    SESSION_PLAYER,    ///< an RTMP player
    SESSION_WEB,       ///< a web viewer
};
enum session_state { SESSION_DECIDING, SESSION_OPEN, SESSION_ENDED };

struct session {
    struct streaming *streaming;
    struct list link;
    char id[SESSION_ID_SIZE]; ///< "<boot>:<client>" or "w:<nonce>"
    enum session_kind kind;
    enum session_state state;
    bool gone;  ///< its end was told before the decision
    bool cut;   ///< refused from now on, whatever it asks
    bool ours;  ///< our own pull: not metered
    bool still; ///< its picture has stopped, and so its meter
    char reason[64];
    char slug[SLUG_LIMIT + 1];
    char boot[STREAMING_BOOT_SIZE];
    struct media_host *host; ///< NULL for a web viewer
    char address[SOCKET_ADDRESS_SIZE];
    uint64_t client;
    int64_t model, account; ///< of the stream; who watches or broadcasts
    int64_t started_ms;     ///< wall clock
    uint64_t seen;          ///< loop time of the last sign of life
    uint64_t opened;        ///< loop time
    uint64_t timestamp, progress; ///< media time; the loop time when it last went on
    uint64_t updated;       ///< media time in the last update
    uint64_t update_time;   ///< its own number: seconds since the publish or play
    unsigned stalls;        ///< updates without progress, one after another
    uint64_t listed;        ///< the round of /stat that showed it last
    unsigned missing;       ///< polls of /stat, one after another, that did not show it
    uint64_t worker;        ///< process id of the nginx worker that showed it last; 0: none yet
    unsigned drops;         ///< attempts to drop it by the control interface
    unsigned holds;         ///< work in flight that will look at it again
    bool dead;              ///< free it at the last release
    bool resume;            ///< its ticket is past its time: it may go on, not begin
    bool away;              ///< web viewer: the stream's publisher is at another host
    bool once;              ///< publisher: came by a one-time name, from a browser
    char key[65];           ///< publisher: SHA-256 of its stream key, "" when adopted
    struct ticket ticket;
    int64_t show_at;        ///< ms: since when the stream has belonged to the ticket's show, or to all
    int64_t ended_ms;       ///< wall clock
    int64_t price;          ///< that its meter came to, -1: not known
    struct meter *meter;
    struct admission *admission;  ///< under way
    struct publish *publish;      ///< under way
    struct http_request *request; ///< the hook that waits for the decision
    struct timer timer;           ///< tombstone, or the next attempt to drop
    /// What a cut does beside refusing: drops the client, closes sockets.
    void (*end)(struct session *session);
    void (*freed)(struct session *session); ///< frees what embeds it; NULL: the session alone
};

enum show_state { SHOW_STARTING, SHOW_LIVE, SHOW_GRACE };

struct show {
    struct streaming *streaming;
    char slug[SLUG_LIMIT + 1];
    int64_t model;
    struct media_host *host; ///< where its publisher is, or was last
    enum show_state state;
    int64_t since_ms; ///< of the state
    int64_t began_ms; ///< of the broadcast: the first picture
    char broadcast[SESSION_ID_SIZE]; ///< the session that began it: names it in MariaDB
    bool started;                    ///< its event was written
    bool still;                      ///< the picture stands: its players' meters are paused
    bool moving;                     ///< while a page of /stat is read
    char publisher[SESSION_ID_SIZE]; ///< "" in grace
    char relay[SESSION_ID_SIZE];
    struct timer timer; ///< end of the grace
    struct timer push;  ///< nginx's push must be there by then
};

struct streaming {
    struct loop *loop;
    struct streaming_options options;
    struct streaming_policy policy;
    struct media_host hosts[1 + STREAMING_HOSTS];
    size_t host_count;
    struct hash sessions; ///< id → session
    struct list list;     ///< all of them
    struct hash shows;    ///< slug → show (hooks)
    struct hash relays;   ///< slug → relay (media)
    struct hash playlists;///< slug → cached playlist (media)
    struct list waiting;  ///< hooks that came before the adoption was done
    bool adopted, closing;
    unsigned starting;    ///< shows that wait for their first picture
    size_t open;          ///< sessions in state open
    struct adoption *adoption; ///< under way
    struct arena texts;   ///< of the options
    struct metric *gauge;
    struct timer visibility; ///< the next look at shows
    struct list calls;    ///< control requests under way
    struct list ingests;  ///< broadcasts from browsers (media)
    size_t ingest_count;
    struct metric *ingest_gauge, *ingest_bytes, *ingest_slow;
    struct metric *refused, *accepted, *cuts, *lost, *malformed;
    unsigned holds;       ///< asynchronous work that still needs this struct
    void (*freed)(void *context);
    void *freed_context;
};

/// Work in flight holds the struct; the last release after streaming_free frees it.
void streaming_hold(struct streaming *streaming);
void streaming_release(struct streaming *streaming);

// hosts.c
void hosts_init(struct streaming *streaming);
/// By the name before the dot; NULL: there is none of that name.
struct media_host *host_of_boot(struct streaming *streaming, struct slice boot);
struct media_host *host_of_id(struct streaming *streaming, struct slice id); ///< of a session
const char *host_name(const struct media_host *host);                        ///< "main" for the first
/// Whether an address without a port is this machine's or another host's.
bool host_is_ours(const struct streaming *streaming, const char *address);
/// "<a host's address>/live/<slug>", behind which a ticket may follow: the slug. Otherwise empty.
struct slice host_target(const struct media_host *host, struct slice address);
/// nginx was started anew there, or is heard for the first time.
void host_boots(struct media_host *host, const char *boot);

// session.c
void session_hold(struct session *session);
void session_release(struct session *session);
struct session *session_new(struct streaming *streaming, enum session_kind kind, struct slice id);
/// For one that is embedded in something larger (all zero before).
void session_init(struct session *session, struct streaming *streaming, enum session_kind kind,
                  struct slice id);
struct session *session_find(struct streaming *streaming, struct slice id);
void session_opened(struct session *session);
/// Refuses it from now on and makes it end: ticket dead, meter closed, `end` called.
void session_cut(struct session *session, const char *reason);
/// It has ended (a callback, a socket, a sweep). end_ms 0: now. First call wins.
void session_ended(struct session *session, int64_t end_ms, const char *reason);
void session_seen(struct session *session);  ///< it is there; that is no evidence of watching
void session_alive(struct session *session); ///< … and something was shown to it: evidence
/// Its picture stopped at `since` (loop time), or goes on: no time passes for its meter between.
void session_picture(struct session *session, bool moves, uint64_t since);
/// Answers and remembers a refusal; nothing else on that connection is accepted.
void session_refuse(struct session *session, int status, const char *reason);
void session_forget(struct session *session); ///< an ended one, at once: it may begin again
void session_answer(struct session *session, int status); ///< answers the waiting hook, if any
void sessions_free(struct streaming *streaming);

// admission.c
/// Whether the holder of session->ticket may watch session->slug; opens the meter. `done` is called
/// once, never inside this call (not at all if the service ends). status is 200, or 0 (the session
/// was gone or cut by then, and is refused and closed already), or 402 (no credit), 403, 404 (not
/// live), 409 (the ticket was used), 503 (Redis is away).
void admission_ask(struct session *session,
                   void (*done)(struct session *session, int status, const char *reason));
/// What a meter of this session (opened or adopted) calls.
void admission_callbacks(struct session *session, struct meter_callbacks *callbacks);
void admission_adopt(struct session *session); ///< the meter of a session of a former process
void admission_abandon(struct session *session); ///< it will be freed: no callback comes
/// Asks the policy; `done` may come inside the call. Allowed if there is no policy.
/// Asks the policy once more about one who watches (the rules, or his address, are others now), and cuts
/// him if it says no.
void session_ask_again(struct session *session);
void policy_ask(struct session *session, bool publish,
                void (*done)(struct session *session, void *context, bool allow,
                             const char *reason),
                void *context);

// hooks.c
void hooks_adopted(struct streaming *streaming);
void hooks_free(struct streaming *streaming);

// publishers.c
void publisher_ask(struct session *session, const struct hook_request *hook);
void publisher_abandon(struct session *session);
void publisher_key(char out[65], struct slice key); ///< its SHA-256 in hex
void relay_ask(struct session *session);
void pull_ask(struct session *session, const struct hook_request *hook);
/// Keeps the lock; calls session_cut if another has taken it.
void publisher_refresh(struct session *session);
void publisher_unlock(struct session *session);

// adopt.c
void adopt_save(struct session *session);   ///< so that the next process knows it
void adopt_forget(struct session *session);
void adopt_abandon(struct streaming *streaming);
void adopt_all(struct streaming *streaming, void (*done)(struct streaming *streaming));

// live.c
struct show *show_find(struct streaming *streaming, struct slice slug);
void show_starting(struct session *publisher);
void show_first_picture(struct show *show);
void show_relay(struct show *show, const char *id); ///< the push has come (id), or gone (NULL)
void show_publisher_gone(struct show *show, const char *reason);
/// What live:<slug> says, for a process that comes up.
struct show_record {
    struct slice slug, state, boot, client, broadcast;
    int64_t since, began, model;
    bool started;
};
void show_restore(struct streaming *streaming, const struct show_record *record);
void shows_free(struct streaming *streaming);

// control.c
/// GET on nginx's control server. body is valid inside the call; status 0: no answer came.
void control_get(struct streaming *streaming, const char *url,
                 void (*done)(struct streaming *streaming, int status, struct slice body,
                              void *context),
                 void *context);
void control_drop(struct session *session);
/// The address that drops a client; for who must know when that is done.
void control_drop_url(const struct media_host *host, uint64_t client, char out[256]);
void control_free(struct streaming *streaming);

// sweep.c
void sweep_start(struct streaming *streaming);
void sweep_free(struct streaming *streaming);
void sweep_soon(struct media_host *host); ///< a stream is starting: look often
/// Asks a host's /stat once for one client. timestamp is its media time; found false: nginx does not
/// know it (or did not answer: answered is false then).
void sweep_sample(struct session *asker, struct media_host *host, uint64_t client,
                  void (*done)(struct session *asker, bool answered, bool found,
                               uint64_t timestamp));

// visibility.c
void visibility_start(struct streaming *streaming);
void visibility_stop(struct streaming *streaming);
/// Writes down that a show's session is watching, or that it has ended.
void visibility_note(struct session *session);
/// Cuts the viewers of a stream whose tickets are for another show than `show` (0: for everybody).
unsigned visibility_apply(struct streaming *streaming, struct slice slug, uint64_t show,
                          const char *reason);

// viewers.c, relay.c
void viewers_free(struct streaming *streaming);
void relays_free(struct streaming *streaming);

// small things
/// The answer of a redis call is an array of `n` elements.
bool reply_array(const redisReply *reply, const char *error, size_t n);
struct slice reply_text(const redisReply *reply); ///< "" for nil
int64_t reply_integer(const redisReply *reply);   ///< of an integer or a decimal text; 0 otherwise
#endif
