#include "mariadb/statements.h"

#include <stdio.h>

#include "base/utf8.h"

enum { FIRST_TEXT_CAPACITY = 64, LARGEST_TEXT_CAPACITY = 4096 };

/// How one column is read. Text goes to a buffer first; a value that does not fit is fetched again,
/// whole, and the next execution starts with a larger buffer, up to a size worth keeping.
struct mariadb_column {
    enum enum_field_types type;
    unsigned flags;
    enum { READ_INTEGER, READ_REAL, READ_TIME, READ_TEXT } reading;
    long long integer;
    double real;
    MYSQL_TIME time;
    char *text;
    size_t capacity, longest;
    unsigned long length;
    my_bool is_null, truncated;
};

void mariadb_statements_init(struct mariadb_statements *cache, size_t limit) {
    memset(cache, 0, sizeof(*cache));
    list_init(&cache->recent);
    cache->limit = limit ? limit : 1;
}

struct mariadb_statement *mariadb_statements_get(struct mariadb_statements *cache,
                                                 struct slice sql) {
    struct mariadb_statement *statement = hash_get(&cache->table, sql);
    if (statement) {
        list_remove(&statement->link);
        list_push_front(&cache->recent, &statement->link);
    }
    return statement;
}

struct mariadb_statement *mariadb_statements_evict(struct mariadb_statements *cache) {
    if (hash_count(&cache->table) < cache->limit) return NULL;
    struct mariadb_statement *oldest =
        container_of(cache->recent.previous, struct mariadb_statement, link);
    mariadb_statements_remove(cache, oldest);
    return oldest;
}

struct mariadb_statement *mariadb_statement_new(MYSQL *mysql, struct slice sql) {
    struct mariadb_statement *statement = memory_zero(1, sizeof(*statement));
    list_init(&statement->link);
    char *copy = memory_alloc(sql.size + 1);
    memcpy(copy, sql.data, sql.size);
    copy[sql.size] = '\0';
    statement->sql = slice_make(copy, sql.size);
    statement->handle = mysql_stmt_init(mysql);
    return statement;
}

void mariadb_statements_put(struct mariadb_statements *cache, struct mariadb_statement *statement) {
    hash_put(&cache->table, statement->sql, statement);
    list_push_front(&cache->recent, &statement->link);
}

void mariadb_statements_remove(struct mariadb_statements *cache,
                               struct mariadb_statement *statement) {
    if (hash_get(&cache->table, statement->sql) == statement)
        hash_remove(&cache->table, statement->sql);
    list_remove(&statement->link);
}

static void free_plan(struct mariadb_statement *statement) {
    for (size_t i = 0; i < statement->columns; i++) memory_free(statement->plan[i].text);
    memory_free(statement->plan);
    memory_free(statement->output);
    statement->plan = NULL;
    statement->output = NULL;
    statement->columns = 0;
}

void mariadb_statement_free(struct mariadb_statement *statement) {
    free_plan(statement);
    memory_free(statement->input);
    memory_free((char *)statement->sql.data);
    memory_free(statement);
}

void mariadb_statements_free(struct mariadb_statements *cache) {
    list_each(&cache->recent, node) {
        struct mariadb_statement *statement = container_of(node, struct mariadb_statement, link);
        list_remove(&statement->link);
        mysql_stmt_close(statement->handle);
        mariadb_statement_free(statement);
    }
    hash_free(&cache->table);
}

bool mariadb_statement_bind(struct mariadb_statement *statement, struct mariadb_job *job) {
    size_t wanted = mysql_stmt_param_count(statement->handle);
    if (wanted != job->count) {
        mariadb_error_set(&job->error, MARIADB_SQL, 2031, "HY000",
                          "the statement has %zu parameters but %zu values were given", wanted,
                          job->count);
        return false;
    }
    if (wanted == 0) return true;
    if (statement->parameters != wanted) {
        memory_free(statement->input);
        statement->input = memory_zero(wanted, sizeof(*statement->input));
        statement->parameters = wanted;
    }
    for (size_t i = 0; i < wanted; i++) {
        struct mariadb_cell *value = &job->values[i];
        MYSQL_BIND *bind = &statement->input[i];
        memset(bind, 0, sizeof(*bind));
        switch (value->type) {
        case MARIADB_NULL: bind->buffer_type = MYSQL_TYPE_NULL; break;
        case MARIADB_INTEGER:
            bind->buffer_type = MYSQL_TYPE_LONGLONG;
            bind->buffer = &value->integer;
            break;
        case MARIADB_REAL:
            bind->buffer_type = MYSQL_TYPE_DOUBLE;
            bind->buffer = &value->real;
            break;
        case MARIADB_TEXT:
            // As text it takes part in the collation of the column it is compared with, and so in
            // its index. Bytes that are no text go as what they are.
            bind->buffer_type = utf8_valid(value->text) ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
            bind->buffer = (char *)value->text.data;
            bind->buffer_length = value->text.size;
            break;
        }
    }
    return !mysql_stmt_bind_param(statement->handle, statement->input);
}

static void plan_column(struct mariadb_column *column, MYSQL_BIND *bind, const MYSQL_FIELD *field) {
    column->type = field->type;
    column->flags = field->flags;
    bind->is_null = &column->is_null;
    bind->error = &column->truncated;
    bind->length = &column->length;
    switch (field->type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
        column->reading = READ_INTEGER;
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->is_unsigned = (field->flags & UNSIGNED_FLAG) != 0;
        bind->buffer = &column->integer;
        break;
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DOUBLE:
        column->reading = READ_REAL;
        bind->buffer_type = MYSQL_TYPE_DOUBLE;
        bind->buffer = &column->real;
        break;
    case MYSQL_TYPE_DATE:
    case MYSQL_TYPE_NEWDATE:
    case MYSQL_TYPE_TIME:
    case MYSQL_TYPE_TIME2:
    case MYSQL_TYPE_DATETIME:
    case MYSQL_TYPE_DATETIME2:
    case MYSQL_TYPE_TIMESTAMP:
    case MYSQL_TYPE_TIMESTAMP2:
        column->reading = READ_TIME;
        bind->buffer_type = field->type;
        bind->buffer = &column->time;
        break;
    default: // text, blobs, JSON, ENUM, SET, DECIMAL, BIT
        column->reading = READ_TEXT;
        column->capacity = FIRST_TEXT_CAPACITY;
        column->text = memory_alloc(column->capacity);
        bind->buffer_type = MYSQL_TYPE_STRING;
        bind->buffer = column->text;
        bind->buffer_length = column->capacity;
        break;
    }
}

void mariadb_statement_names(struct mariadb_statement *statement, struct mariadb_job *job) {
    const MYSQL_FIELD *fields = statement->handle->fields;
    struct slice *names = arena_zero(&job->memory, statement->columns * sizeof(*names));
    for (size_t i = 0; i < statement->columns; i++)
        names[i] = arena_slice(&job->memory, slice_make(fields[i].name, fields[i].name_length));
    job->result.columns = statement->columns;
    job->result.names = names;
}

bool mariadb_statement_expect(struct mariadb_statement *statement, struct mariadb_job *job) {
    size_t columns = mysql_stmt_field_count(statement->handle);
    const MYSQL_FIELD *fields = statement->handle->fields;
    // A migration may have changed the table under a prepared statement: the server prepares it
    // again by itself and answers with other columns, so the plan is checked at each execution.
    bool same = columns == statement->columns;
    for (size_t i = 0; same && i < columns; i++)
        same = statement->plan[i].type == fields[i].type &&
               statement->plan[i].flags == fields[i].flags;
    if (!same) {
        free_plan(statement);
        statement->columns = columns;
        statement->plan = memory_zero(columns, sizeof(*statement->plan));
        statement->output = memory_zero(columns, sizeof(*statement->output));
        for (size_t i = 0; i < columns; i++)
            plan_column(&statement->plan[i], &statement->output[i], &fields[i]);
    }
    for (size_t i = 0; i < columns; i++) {
        struct mariadb_column *column = &statement->plan[i];
        if (column->longest <= column->capacity || column->capacity >= LARGEST_TEXT_CAPACITY)
            continue;
        column->capacity = column->longest < LARGEST_TEXT_CAPACITY ? column->longest
                                                                  : LARGEST_TEXT_CAPACITY;
        column->text = memory_resize(column->text, column->capacity);
        statement->output[i].buffer = column->text;
        statement->output[i].buffer_length = column->capacity;
    }
    mariadb_statement_names(statement, job);
    return !mysql_stmt_bind_result(statement->handle, statement->output);
}

static struct slice format_time(struct mariadb_job *job, const struct mariadb_column *column) {
    const MYSQL_TIME *t = &column->time;
    char text[64];
    int size;
    switch (column->type) {
    case MYSQL_TYPE_DATE:
    case MYSQL_TYPE_NEWDATE:
        size = snprintf(text, sizeof(text), "%04u-%02u-%02u", t->year, t->month, t->day);
        break;
    case MYSQL_TYPE_TIME:
    case MYSQL_TYPE_TIME2:
        size = snprintf(text, sizeof(text), "%s%02u:%02u:%02u.%06lu", t->neg ? "-" : "",
                        t->hour + t->day * 24, t->minute, t->second, t->second_part);
        break;
    default:
        size = snprintf(text, sizeof(text), "%04u-%02u-%02u %02u:%02u:%02u.%06lu", t->year,
                        t->month, t->day, t->hour, t->minute, t->second, t->second_part);
        break;
    }
    char *copy = mariadb_job_bytes(job, (size_t)size);
    if (!copy) return (struct slice){0};
    memcpy(copy, text, (size_t)size);
    return slice_make(copy, (size_t)size);
}

static bool read_text(struct mariadb_statement *statement, size_t index, struct mariadb_job *job,
                      struct mariadb_cell *value) {
    struct mariadb_column *column = &statement->plan[index];
    size_t length = column->length;
    char *copy = mariadb_job_bytes(job, length);
    if (!copy) return false;
    value->type = MARIADB_TEXT;
    value->text = slice_make(copy, length);
    if (length <= column->capacity) {
        memcpy(copy, column->text, length);
        return true;
    }
    // Longer than the buffer: once more from the row, straight to where it belongs.
    if (length > column->longest) column->longest = length;
    MYSQL_BIND again = {0};
    unsigned long got = 0;
    my_bool truncated = 0;
    again.buffer_type = MYSQL_TYPE_STRING;
    again.buffer = copy;
    again.buffer_length = length;
    again.length = &got;
    again.error = &truncated;
    return !mysql_stmt_fetch_column(statement->handle, &again, (unsigned)index, 0);
}

bool mariadb_statement_row(struct mariadb_statement *statement, struct mariadb_job *job) {
    struct mariadb_cell *row = mariadb_job_row(job);
    if (!row) return false;
    for (size_t i = 0; i < statement->columns; i++) {
        struct mariadb_column *column = &statement->plan[i];
        struct mariadb_cell *value = &row[i];
        *value = (struct mariadb_cell){.type = MARIADB_NULL};
        if (column->is_null) continue;
        switch (column->reading) {
        case READ_INTEGER:
            value->type = MARIADB_INTEGER;
            value->integer = column->integer;
            if (column->integer < 0 && (column->flags & UNSIGNED_FLAG)) {
                char text[24];
                int size = snprintf(text, sizeof(text), "%llu", (unsigned long long)column->integer);
                char *copy = mariadb_job_bytes(job, (size_t)size);
                if (!copy) return false;
                memcpy(copy, text, (size_t)size);
                value->type = MARIADB_TEXT;
                value->text = slice_make(copy, (size_t)size);
            }
            break;
        case READ_REAL:
            value->type = MARIADB_REAL;
            value->real = column->real;
            break;
        case READ_TIME:
            value->type = MARIADB_TEXT;
            value->text = format_time(job, column);
            if (!value->text.data) return false;
            break;
        case READ_TEXT:
            if (!read_text(statement, i, job, value)) {
                if (!job->error.kind)
                    mariadb_error_set(&job->error, MARIADB_LOST,
                                      mysql_stmt_errno(statement->handle), NULL,
                                      "a value could not be read: %s",
                                      mysql_stmt_error(statement->handle));
                return false;
            }
            break;
        }
    }
    return true;
}
