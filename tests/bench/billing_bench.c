// tools/bench billing: ticks a second through the C core, and how late they are with many open meters.
//
//   billing_bench flat  ADDRESS METERS PIPELINE SECONDS   as many ticks as Redis takes: ticks a second
//   billing_bench load  ADDRESS METERS RATE SECONDS       RATE ticks a second; single debits are timed
//   billing_bench clock ADDRESS METERS SECONDS            METERS meters that run by themselves
//
// The peer, redis-benchmark with the same function and the same pipelining on the sessions that `flat`
// leaves open, is run by tools/bench billing.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "billing/meter_private.h"

static struct loop loop;
static struct redis_client *client;
static struct billing *billing;
static struct meter **meters;
static size_t meter_total, opened, refused, cuts, closed;
static bool all;

static void on_opened(void *context, const struct meter_opened *result) {
    (void)context;
    opened += result->ok;
    refused += !result->ok;
    all = opened + refused == meter_total;
}
static void on_cut(void *context, struct slice sid, const char *reason) {
    (void)context;
    (void)sid;
    (void)reason;
    cuts++;
}
static void on_closed(void *context, struct slice sid, int64_t price) {
    uint64_t index = 0;
    (void)context;
    // One that was cut (the machine stood still) closes by itself.
    if (slice_to_u64(slice_sub(sid, 1, sid.size), &index) && index < meter_total) meters[index] = NULL;
    (void)price;
    all = ++closed == meter_total;
}

static bool done_flag;
static void on_done(void *context, const struct billing_result *result) {
    (void)context;
    if (result->error) {
        fprintf(stderr, "billing_bench: %s\n", result->error);
        exit(1);
    }
    done_flag = true;
}

static double now(void) { return (double)clock_monotonic_ns() / 1e9; }

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static void open_all(void) {
    struct meter_callbacks callbacks = {on_opened, on_cut, on_closed, NULL};
    char sid[40];
    done_flag = false;
    wallet_credit(billing,
                  &(struct billing_operation){.op = SLICE("bench"), .account = 1,
                                              .amount = 9000000000000000, .bucket = SLICE("paid"),
                                              .type = SLICE("purchase")},
                  on_done, NULL);
    if (!loop_run_until(&loop, &done_flag, 10000)) exit(1);
    for (size_t i = 0; i < meter_total; i++) {
        while (i - opened - refused >= 200) uv_run(&loop.uv, UV_RUN_ONCE);
        // redis-benchmark's __rand_int__ has twelve digits.
        int size = snprintf(sid, sizeof sid, "s%012zu", i);
        struct meter_terms terms = {.sid = slice_make(sid, (size_t)size), .account = 1,
                                    .rate = 60000000, .payee = 3};
        meters[i] = meter_open(billing, &terms, &callbacks);
    }
    if (!loop_run_until(&loop, &all, 60000) || refused) {
        fprintf(stderr, "billing_bench: %zu meters were refused\n", refused);
        exit(1);
    }
}

/// As fast as it goes: PIPELINE ticks are sent in one tick of the loop, then their answers awaited.
static void flat_out(size_t pipeline, double seconds) {
    double began = now(), cpu_began = cpu();
    size_t sent = 0, at = 0;
    while (now() - began < seconds) {
        size_t last = meter_total;
        for (size_t i = 0; i < pipeline; i++, at = (at + 1) % meter_total) {
            if (!meters[at] || meters[at]->ticking) continue;
            last = at;
            meter_evidence(meters[at]);
            meter_send_tick(meters[at]);
            sent++;
        }
        if (last == meter_total) uv_run(&loop.uv, UV_RUN_ONCE);
        while (last < meter_total && meters[last] && meters[last]->ticking) uv_run(&loop.uv, UV_RUN_ONCE);
    }
    double took = now() - began;
    printf("%.0f %.0f\n", (double)sent / took, (cpu() - cpu_began) / took * 100);
}

/// Single operations, each timed from the call to its answer, the disk included.
static struct {
    double sent;
    double *figures;
    size_t count;
    bool waiting;
} single;
static size_t failures;
enum { SINGLES = 100000 };

static void on_timed(void *context, const struct billing_result *result) {
    (void)context;
    failures += result->error != NULL; // the time that it took counts all the same
    single.figures[single.count++] = now() - single.sent;
    single.waiting = false;
}

static void time_one(void) {
    static unsigned long number;
    char op[40];
    if (single.waiting || single.count == SINGLES) return;
    int size = snprintf(op, sizeof op, "t%d:%lu", (int)getpid(), number++);
    single.waiting = true;
    single.sent = now();
    wallet_debit(billing,
                 &(struct billing_operation){.op = slice_make(op, (size_t)size), .account = 1, .amount = 1,
                                             .payee = 3, .type = SLICE("tip")},
                 on_timed, NULL);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double percentile(size_t percent) {
    qsort(single.figures, single.count, sizeof(double), compare);
    return single.figures[single.count * percent / 100] * 1e3;
}

/// `rate` ticks a second, each millisecond its share, as the timers of many meters would bring them.
static struct timer beat;
static double beat_began, beat_rate, beat_seconds;
static size_t beat_sent;
static bool beat_over;
static void on_beat(struct timer *timer) {
    double passed = now() - beat_began;
    beat_over = passed >= beat_seconds;
    if (beat_over) return;
    loop_timer_start(&loop, timer, 1);
    for (; (double)beat_sent < passed * beat_rate; beat_sent++) {
        struct meter *meter = meters[beat_sent % meter_total];
        if (!meter || meter->ticking) continue;
        meter_evidence(meter);
        meter_send_tick(meter);
    }
    time_one();
}

static void under_load(double rate, double seconds) {
    beat_rate = rate;
    beat_seconds = seconds;
    beat_began = now();
    timer_init(&beat, on_beat);
    int64_t ticks = metric_value(billing->ticks);
    loop_timer_start(&loop, &beat, 1);
    if (!loop_run_until(&loop, &beat_over, (uint64_t)(seconds * 1000) + 10000)) exit(1);
    if (failures) fprintf(stderr, "billing_bench: %zu operations had no answer\n", failures);
    printf("%.0f %.3f %.3f %zu\n", (double)(metric_value(billing->ticks) - ticks) / seconds, percentile(50),
           percentile(99), single.count);
}

/// The meters run by themselves; meanwhile single operations are timed.
static void by_the_clock(double seconds) {
    double began = now(), cpu_began = cpu();
    int64_t ticks = metric_value(billing->ticks);
    while (now() - began < seconds) {
        for (size_t i = 0; i < meter_total; i++) {
            if (meters[i]) meter_evidence(meters[i]);
        }
        for (int i = 0; i < 20; i++) {
            bool never = false;
            time_one();
            loop_run_until(&loop, &never, 20);
        }
    }
    double took = now() - began;
    printf("meters: %zu open, %.0f ticks/s, %zu cut by mistake, %.0f%% of one core here\n", meter_total,
           (double)(metric_value(billing->ticks) - ticks) / took, cuts, (cpu() - cpu_began) / took * 100);
    printf("one operation meanwhile: p50 %.2f ms, p99 %.2f ms (%zu)\n", percentile(50), percentile(99),
           single.count);
    struct buffer out = {0};
    metrics_export(&out);
    for (const char *line = buffer_text(&out); line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, "footlight_billing_tick_lateness_seconds_bucket", 46) == 0) {
            printf("  %.*s\n", (int)strcspn(line, "\n"), line);
        }
    }
    buffer_free(&out);
}

int main(int count, char **arguments) {
    bool flat = count == 6 && strcmp(arguments[1], "flat") == 0;
    bool load = count == 6 && strcmp(arguments[1], "load") == 0;
    if (!flat && !load && (count != 5 || strcmp(arguments[1], "clock") != 0)) {
        fputs("usage: billing_bench flat|load ADDRESS METERS PIPELINE|RATE SECONDS | clock ADDRESS METERS SECONDS\n",
              stderr);
        return 2;
    }
    meter_total = strtoul(arguments[3], NULL, 10);
    double seconds = atof(arguments[count - 1]);
    log_configure(LOG_WARN_LEVEL, "bench");
    loop_init(&loop);
    client = redis_client_new(&loop, &(struct redis_options){.name = "money", .address = arguments[2]});
    struct billing_options options;
    billing_options_default(&options);
    options.sweep_ms = 0;
    billing = billing_new(&loop, client, &options);
    meters = memory_zero(meter_total, sizeof *meters);
    single.figures = memory_zero(SINGLES, sizeof *single.figures);
    open_all();
    if (flat) {
        flat_out(strtoul(arguments[4], NULL, 10), seconds);
    } else if (load) {
        under_load(atof(arguments[4]), seconds);
    } else {
        by_the_clock(seconds);
        all = false;
        for (size_t i = 0; i < meter_total; i++) {
            if (meters[i]) meter_close(meters[i], 0, "done");
        }
        loop_run_until(&loop, &all, 60000);
    }
    billing_free(billing);
    redis_client_free(client); // the last answers are told here
    memory_free(single.figures);
    memory_free(meters);
    return loop_close(&loop);
}
