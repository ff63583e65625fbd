#include "base/metrics.h"

#include <assert.h>
#include "base/hash.h"
#include "base/list.h"
#include "base/memory.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

// 100 µs … 10 s in 1-2-5 steps.
static const uint32_t bounds_us[] = {100,    200,    500,     1000,    2000,    5000,    10000,   20000,
                                     50000,  100000, 200000,  500000,  1000000, 2000000, 5000000, 10000000};
static const char *const bounds_text[] = {"0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005",
                                          "0.01",   "0.02",   "0.05",   "0.1",   "0.2",   "0.5",
                                          "1",      "2",      "5",      "10"};
enum { BOUNDS = sizeof bounds_us / sizeof *bounds_us };

struct metric {
    struct list link;   ///< in its family
    const char *labels; ///< "" if none
    int64_t value;      ///< a histogram's count
    uint64_t sum_us;
    uint64_t buckets[]; ///< BOUNDS of them for a histogram
};

struct family {
    struct list link;
    struct list members;
    char *name, *help;
    enum metric_kind kind;
};

struct collector {
    struct list link;
    void (*collect)(void *context);
    void *context;
};

static struct list families = {&families, &families};
static struct list collectors = {&collectors, &collectors};
static struct hash by_name;

static struct metric *metrics_find(enum metric_kind kind, const char *name, const char *help,
                                   const char *labels) {
    struct family *family = hash_get(&by_name, slice_of(name));
    if (!family) {
        family = memory_zero(1, sizeof *family);
        family->name = memory_copy_string(name);
        family->help = memory_copy_string(help);
        family->kind = kind;
        list_init(&family->members);
        list_push_back(&families, &family->link);
        hash_put(&by_name, slice_of(name), family);
    }
    assert(family->kind == kind);
    if (!labels) labels = "";
    list_each(&family->members, node) {
        struct metric *metric = container_of(node, struct metric, link);
        if (strcmp(metric->labels, labels) == 0) return metric;
    }
    size_t buckets = kind == METRIC_HISTOGRAM ? BOUNDS : 0;
    struct metric *metric = memory_zero(1, sizeof *metric + buckets * sizeof *metric->buckets);
    metric->labels = memory_copy_string(labels);
    list_push_back(&family->members, &metric->link);
    return metric;
}

struct metric *metrics_counter(const char *name, const char *help, const char *labels) {
    return metrics_find(METRIC_COUNTER, name, help, labels);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels) {
    return metrics_find(METRIC_GAUGE, name, help, labels);
}

struct metric *metrics_histogram(const char *name, const char *help, const char *labels) {
    return metrics_find(METRIC_HISTOGRAM, name, help, labels);
}

void metric_add(struct metric *metric, int64_t amount) { metric->value += amount; }
void metric_set(struct metric *metric, int64_t value) { metric->value = value; }
int64_t metric_value(const struct metric *metric) { return metric->value; }

void metric_observe_us(struct metric *histogram, uint64_t microseconds) {
    histogram->value++;
    histogram->sum_us += microseconds;
    for (size_t i = 0; i < BOUNDS; i++)
        if (microseconds <= bounds_us[i]) {
            histogram->buckets[i]++;
            return;
        }
}

void metrics_on_export(void (*collect)(void *context), void *context) {
    struct collector *collector = memory_alloc(sizeof *collector);
    collector->collect = collect;
    collector->context = context;
    list_push_back(&collectors, &collector->link);
}

void metrics_off_export(void (*collect)(void *context), void *context) {
    list_each(&collectors, node) {
        struct collector *collector = container_of(node, struct collector, link);
        if (collector->collect != collect || collector->context != context) continue;
        list_remove(node);
        memory_free(collector);
    }
}

static void export_histogram(struct buffer *out, const struct family *family,
                             const struct metric *metric) {
    const char *comma = *metric->labels ? "," : "";
    uint64_t below = 0;
    for (size_t i = 0; i < BOUNDS; i++) {
        below += metric->buckets[i];
        buffer_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", family->name, metric->labels, comma,
                      bounds_text[i], (unsigned long long)below);
    }
    buffer_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", family->name, metric->labels, comma,
                  (long long)metric->value);
    const char *open = *metric->labels ? "{" : "", *close = *metric->labels ? "}" : "";
    buffer_printf(out, "%s_sum%s%s%s %llu.%06llu\n", family->name, open, metric->labels, close,
                  (unsigned long long)(metric->sum_us / 1000000),
                  (unsigned long long)(metric->sum_us % 1000000));
    buffer_printf(out, "%s_count%s%s%s %lld\n", family->name, open, metric->labels, close,
                  (long long)metric->value);
}

void metrics_export(struct buffer *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    list_each(&collectors, node) {
        struct collector *collector = container_of(node, struct collector, link);
        collector->collect(collector->context);
    }
    list_each(&families, node) {
        const struct family *family = container_of(node, struct family, link);
        buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help,
                      family->name, kinds[family->kind]);
        list_each(&family->members, member) {
            const struct metric *metric = container_of(member, struct metric, link);
            if (family->kind == METRIC_HISTOGRAM)
                export_histogram(out, family, metric);
            else if (*metric->labels)
                buffer_printf(out, "%s{%s} %lld\n", family->name, metric->labels,
                              (long long)metric->value);
            else
                buffer_printf(out, "%s %lld\n", family->name, (long long)metric->value);
        }
    }
}
