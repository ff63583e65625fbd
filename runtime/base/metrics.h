#ifndef FOOTLIGHT_BASE_METRICS_H
#define FOOTLIGHT_BASE_METRICS_H
#include "base/buffer.h"

/// Counters, gauges and histograms in Prometheus' text format, one registry a process.
/// A metric is found or made by name and labels; keep the pointer, the lookup is not for hot paths.
/// Names: footlight_<folder>_<what>_<unit>[_total]. Labels are written ready-made:
/// `service="web",code="200"`, or NULL. Label values must come from a small fixed set.
struct metric;

struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
/// Buckets of 1-2-5 steps from 100 µs to 10 s; observe in seconds.
struct metric *metrics_histogram(const char *name, const char *help, const char *labels);
void metric_add(struct metric *metric, int64_t amount);
void metric_set(struct metric *metric, int64_t value);
void metric_observe_us(struct metric *histogram, uint64_t microseconds);
int64_t metric_value(const struct metric *metric); ///< counters and gauges; a histogram's count
/// A function that is called before each export, to set gauges that are costly to keep current.
void metrics_on_export(void (*collect)(void *context), void *context);
void metrics_off_export(void (*collect)(void *context), void *context);
void metrics_export(struct buffer *out);
#endif
