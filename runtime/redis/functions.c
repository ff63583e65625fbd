#include <stdio.h>
#include "base/log.h"
#include "redis/private.h"

/// One library that the server must have before the client counts as ready.
struct redis_functions {
    struct redis_functions *next;
    struct redis_client *client;
    const char *library, *code;
    bool done;
};

static void functions_next(struct redis_client *client);

/// The number behind "-- version " in the library's text, 0 if there is none.
static uint64_t code_version(struct slice code) {
    static const struct slice mark = {"\n-- version ", 12};
    size_t at = slice_search(code, mark);
    if (at == code.size) return 0;
    uint64_t version = 0;
    for (at += mark.size; at < code.size && code.data[at] >= '0' && code.data[at] <= '9'; at++) {
        version = version * 10 + (uint64_t)(code.data[at] - '0');
    }
    return version;
}

/// The value that follows `name` in a flat reply of names and values.
static const redisReply *reply_field(const redisReply *reply, const char *name) {
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *key = reply->element[i];
        if (key->str && strcmp(key->str, name) == 0) return reply->element[i + 1];
    }
    return NULL;
}

static void functions_loaded(void *context, const redisReply *reply, const char *error) {
    struct redis_functions *functions = context;
    if (error) return; // the connection is gone, or it will be: the next one starts again
    if (reply->type == REDIS_REPLY_ERROR) {
        log_error("redis.functions_refused",
                  LOG_TEXT("name", redis_client_name(functions->client)),
                  LOG_TEXT("library", functions->library), LOG_TEXT("reason", reply->str));
        redis_client_refuse(functions->client, reply->str);
        return;
    }
    log_info("redis.functions_loaded", LOG_TEXT("name", redis_client_name(functions->client)),
             LOG_TEXT("library", functions->library),
             LOG_INT("version", code_version(slice_of(functions->code))));
    functions->done = true;
    functions_next(functions->client);
}

static void functions_listed(void *context, const redisReply *reply, const char *error) {
    struct redis_functions *functions = context;
    if (error) {
        if (slice_starts(slice_of(error), SLICE("TIMEOUT"))) {
            redis_client_refuse(functions->client, "FUNCTION LIST was not answered");
        }
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY) {
        redis_client_refuse(functions->client, reply->str ? reply->str : "FUNCTION LIST failed");
        return;
    }
    struct slice ours = slice_of(functions->code), theirs = {0};
    if (reply->elements > 0) {
        const redisReply *code = reply_field(reply->element[0], "library_code");
        if (code && code->str) theirs = slice_make(code->str, code->len);
    }
    if (theirs.size && code_version(theirs) > code_version(ours)) {
        // A newer binary has been here: releases are compatible forwards, so its library stays
        // while the last old processes drain.
        log_warn("redis.functions_newer", LOG_TEXT("library", functions->library),
                 LOG_INT("server", code_version(theirs)), LOG_INT("ours", code_version(ours)));
    } else if (!slice_equal(ours, theirs)) {
        redis_client_send(functions->client,
                          (struct slice[]){SLICE("FUNCTION"), SLICE("LOAD"), SLICE("REPLACE"),
                                           ours},
                          4, functions_loaded, functions);
        return;
    }
    functions->done = true;
    functions_next(functions->client);
}

static void functions_next(struct redis_client *client) {
    struct redis_functions *functions = *redis_client_functions(client);
    while (functions && functions->done) functions = functions->next;
    if (!functions) {
        redis_client_prepared(client);
        return;
    }
    redis_client_send(client,
                      (struct slice[]){SLICE("FUNCTION"), SLICE("LIST"), SLICE("LIBRARYNAME"),
                                       slice_of(functions->library), SLICE("WITHCODE")},
                      5, functions_listed, functions);
}

void redis_functions_load(struct redis_client *client) {
    for (struct redis_functions *f = *redis_client_functions(client); f; f = f->next) {
        f->done = false;
    }
    functions_next(client);
}

void redis_functions_keep(struct redis_client *client, const char *library, const char *code) {
    struct redis_functions *functions = memory_zero(1, sizeof *functions);
    *functions = (struct redis_functions){*redis_client_functions(client), client, library, code,
                                          false};
    *redis_client_functions(client) = functions;
}

void redis_functions_copy(struct redis_client *from, struct redis_client *to) {
    for (struct redis_functions *f = *redis_client_functions(from); f; f = f->next)
        redis_functions_keep(to, f->library, f->code);
}

void redis_functions_free(struct redis_functions *functions) {
    while (functions) {
        struct redis_functions *next = functions->next;
        memory_free(functions);
        functions = next;
    }
}
