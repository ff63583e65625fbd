#ifndef FOOTLIGHT_BILLING_METER_H
#define FOOTLIGHT_BILLING_METER_H
#include "billing/wallet.h"

/// A meter charges one viewing session by the second. Redis holds it; this process keeps it going:
/// it reserves ahead while there is evidence that somebody watches, orders the cut at the exact end
/// of the last affordable second, and leaves a silent session to be closed at its last evidence.
/// Rate 0 opens no wallet and needs no Redis: only the time limit applies.
struct meter;

struct meter_opened {
    bool ok;
    /// Without ok: "NOFUNDS", "FROZEN", "CLOSED" (this sid was used before), "UNAVAILABLE", "LIMIT" …
    const char *reason;
    int64_t deadline_ms; ///< wall clock; the picture must stop then unless the meter goes on. 0: none
    bool final;          ///< no more will be granted: the deadline is the end
    int64_t price;       ///< what was charged so far (minimum charge, an adopted session)
};

/// None of these is called inside meter_open, meter_tick or meter_close. A NULL one is left out.
struct meter_callbacks {
    void (*on_opened)(void *context, const struct meter_opened *opened);
    /// The deadline is here (reason "funds", "limit", "daily", "frozen", "paused", "closed",
    /// "unavailable"): stop the
    /// picture now, then call meter_close. Comes at most once.
    void (*on_cut)(void *context, struct slice sid, const char *reason);
    /// The last call: the meter is freed after it. `price` is the total, -1 when it is not known
    /// (Redis could not be reached; the sweeper will close it at the last evidence).
    void (*on_closed)(void *context, struct slice sid, int64_t price);
    void *context;
};

struct meter_terms {
    struct slice sid;    ///< 1 to 100 bytes of [A-Za-z0-9:._-]
    int64_t account;     ///< the wallet; ignored when rate is 0
    int64_t rate;        ///< micro-credits a minute
    int64_t limit_s;     ///< the session's time limit, 0: none
    int64_t payee;       ///< model id that earns, 0: the house
    int64_t free_s;      ///< free seconds at the start
    int64_t increment_s; ///< 0 or 1: by the second; 60: by the started minute
    int64_t minimum;     ///< minimum charge
    int64_t off_bp;      ///< off the rate, in basis points (0 … 9999), for the whole session
};

/// Opens or, when the same sid is already open with the same terms (a repeated hook, a restarted
/// process), takes the running meter over. on_opened tells; without ok the meter is gone after it
/// (on_closed does not come). A refused meter charged nothing.
struct meter *meter_open(struct billing *billing, const struct meter_terms *terms,
                         const struct meter_callbacks *callbacks);

/// Somebody is watching at this moment (bytes were taken, an update hook came, a key was fetched).
/// Cheap; call it as often as you like. A meter without evidence for longer than its quantum is not
/// extended: at the end of its lease it is closed at the last evidence, and on_cut("silent") comes.
void meter_evidence(struct meter *meter);

/// The picture stopped (now): nothing is charged and no limit runs until meter_resume. What is reserved
/// stays reserved. A pause of more than ten minutes ends in on_cut("paused"). Repeats are harmless.
void meter_pause(struct meter *meter);
/// As meter_pause, noticed late: it stopped at that loop time. What was charged already stays charged.
void meter_pause_since(struct meter *meter, uint64_t since);
void meter_resume(struct meter *meter);

/// For an update hook that must be answered: true while the session may go on. That a hook came is no
/// evidence by itself.
bool meter_allows(const struct meter *meter);

/// The meter that this process keeps for `sid`, or NULL.
struct meter *meter_find(struct billing *billing, struct slice sid);

/// After a restart: takes over a session that a former process opened, from what Redis knows of it.
/// on_opened with ok, or with "UNKNOWN", "CLOSED", "UNAVAILABLE".
struct meter *meter_adopt(struct billing *billing, struct slice sid, int64_t account,
                          const struct meter_callbacks *callbacks);

/// Ends the session at end_ms (wall clock; 0: now; never later than now). Repeats are harmless.
/// on_closed follows; the pointer may be used until then. `reason` is kept in the ledger's extra.
void meter_close(struct meter *meter, int64_t end_ms, const char *reason);

/// The owner goes away: no callback comes any more. The session itself stays open in Redis (another
/// process may adopt it, else the sweeper closes it).
void meter_forget(struct meter *meter);

struct slice meter_sid(const struct meter *meter);
int64_t meter_deadline_ms(const struct meter *meter); ///< wall clock, 0: none
size_t meter_count(const struct billing *billing);    ///< meters that this process keeps
#endif
