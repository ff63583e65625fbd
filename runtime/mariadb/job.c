#include "mariadb/job.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

static const char *const kind_names[] = {"",     "SQL",     "UNAVAILABLE", "BUSY",
                                         "TIMEOUT", "LOST", "LIMIT"};

void mariadb_error_set(struct mariadb_error *error, enum mariadb_kind kind, unsigned code,
                       const char *sqlstate, const char *format, ...) {
    error->kind = kind;
    error->code = code;
    snprintf(error->sqlstate, sizeof(error->sqlstate), "%s",
             sqlstate && *sqlstate ? sqlstate : "HY000");
    int prefix = 0;
    if (kind != MARIADB_SQL)
        prefix = snprintf(error->message, sizeof(error->message), "%s ", kind_names[kind]);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message + prefix, sizeof(error->message) - (size_t)prefix, format, arguments);
    va_end(arguments);
}

struct mariadb_job *mariadb_job_new(struct mariadb_pool *pool, unsigned *telling, struct slice sql,
                                    const struct mariadb_cell *values, size_t count) {
    struct mariadb_job *job = memory_zero(1, sizeof(*job));
    list_init(&job->link);
    job->pool = pool;
    job->telling = telling;
    job->asked_ns = clock_monotonic_ns();
    job->sql = slice_make(arena_copy(&job->memory, sql), sql.size);
    job->count = count;
    if (count > 0) {
        job->values = arena_zero(&job->memory, count * sizeof(*values));
        for (size_t i = 0; i < count; i++) {
            job->values[i] = values[i];
            if (values[i].type == MARIADB_TEXT)
                job->values[i].text = slice_make(arena_copy(&job->memory, values[i].text),
                                                 values[i].text.size);
        }
    }
    return job;
}

void mariadb_job_free(struct mariadb_job *job) {
    list_remove(&job->link);
    memory_free(job->rows);
    arena_free(&job->memory);
    memory_free(job);
}

void mariadb_job_tell(struct mariadb_job *job) {
    if (job->told) return;
    job->told = true;
    const struct mariadb_error *error = job->error.kind ? &job->error : NULL;
    unsigned *telling = job->telling;
    (*telling)++;
    if (job->acquire) {
        job->session_done(job->context, job->session, error);
    } else if (job->done) {
        job->result.values = job->rows;
        job->done(job->context, error ? NULL : &job->result, error);
    }
    (*telling)--;
}

void mariadb_job_hand_out(struct mariadb_job *job) {
    job->result.values = job->rows;
    unsigned *telling = job->telling;
    (*telling)++;
    job->on_rows(job->context, &job->result);
    (*telling)--;
    memory_free(job->rows); // NULL if it was taken
    arena_free(&job->memory);
    job->rows = NULL;
    job->capacity = job->bytes = 0;
    job->sql = (struct slice){0};
    job->values = NULL;
    job->count = 0;
    job->result = (struct mariadb_result){0};
}

struct mariadb_cell *mariadb_job_row(struct mariadb_job *job) {
    size_t columns = job->result.columns;
    if (job->result.rows >= job->limits.rows) {
        mariadb_error_set(&job->error, MARIADB_LIMIT, 0, NULL, "more than %u rows",
                          job->limits.rows);
        return NULL;
    }
    size_t used = job->result.rows * columns;
    if (used + columns > job->capacity) {
        size_t capacity = job->capacity ? job->capacity * 2 : 64;
        while (capacity < used + columns) capacity *= 2;
        job->rows = memory_resize(job->rows, capacity * sizeof(*job->rows));
        job->capacity = capacity;
    }
    job->bytes += columns * sizeof(*job->rows);
    if (job->bytes > job->limits.bytes) {
        mariadb_error_set(&job->error, MARIADB_LIMIT, 0, NULL, "a result of more than %zu bytes",
                          job->limits.bytes);
        return NULL;
    }
    job->result.rows++;
    return job->rows + used;
}

char *mariadb_job_bytes(struct mariadb_job *job, size_t size) {
    job->bytes += size;
    if (job->bytes > job->limits.bytes) {
        mariadb_error_set(&job->error, MARIADB_LIMIT, 0, NULL, "a result of more than %zu bytes",
                          job->limits.bytes);
        return NULL;
    }
    return arena_alloc(&job->memory, size ? size : 1);
}

/// A result that outlives its job, with the memory that it stands in.
struct taken {
    struct mariadb_result result;
    struct mariadb_cell *rows;
    struct arena memory;
};

struct mariadb_result *mariadb_result_take(const struct mariadb_result *result) {
    const struct mariadb_job *from = container_of(result, struct mariadb_job, result);
    struct mariadb_job *job = (struct mariadb_job *)from;
    struct taken *taken = memory_zero(1, sizeof(*taken));
    taken->result = job->result;
    taken->rows = job->rows;
    taken->memory = job->memory;
    taken->result.values = taken->rows;
    job->rows = NULL;
    job->memory = (struct arena){0};
    return &taken->result;
}

void mariadb_result_free(struct mariadb_result *result) {
    if (!result) return;
    struct taken *taken = container_of(result, struct taken, result);
    memory_free(taken->rows);
    arena_free(&taken->memory);
    memory_free(taken);
}
