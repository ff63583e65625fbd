#include "mariadb/connection_private.h"

#include <errmsg.h>
#include <stdio.h>

struct connection_resolve {
    uv_getaddrinfo_t request;
    struct mariadb_connection *connection;
    unsigned attempt;
    bool started;
};

static int connect_start(struct mariadb_connection *c) {
    const struct mariadb_options *o = c->options;
    bool local = o->socket != NULL;
    return mysql_real_connect_start(&c->answer_mysql, c->mysql, local ? NULL : c->address, o->user,
                                    o->password, o->database, local ? 0 : o->port, o->socket, 0);
}
static int connect_resume(struct mariadb_connection *c, int ready) {
    return mysql_real_connect_cont(&c->answer_mysql, c->mysql, ready);
}

/// One statement a round trip: what every statement of the site may rely on.
static int setup_start(struct mariadb_connection *c) {
    // Waiting for a row lock ends before the statement's own limit does, so that the error says so.
    unsigned seconds = c->options->query_ms / 1000;
    unsigned lock_wait = seconds == 0 || seconds > 30 ? 30 : seconds > 1 ? seconds - 1 : 1;
    char sql[600];
    int size = snprintf(
        sql, sizeof(sql),
        "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_520_ci, SESSION time_zone = '+00:00', "
        "sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
        "NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY', innodb_lock_wait_timeout = %u, "
        "max_statement_time = %u.%03u",
        lock_wait, seconds, c->options->query_ms % 1000);
    return mysql_real_query_start(&c->answer, c->mysql, sql, (unsigned long)size);
}
static const struct connection_call *setup_ended(struct mariadb_connection *c) {
    if (c->answer) return connection_lost(c);
    loop_timer_stop(c->loop, &c->limit);
    c->state = CONNECTION_IDLE;
    if (!connection_watch(c, MYSQL_WAIT_READ)) return connection_lost(c);
    c->owner->on_up(c);
    return NULL;
}
static int setup_resume(struct mariadb_connection *c, int ready) {
    return mysql_real_query_cont(&c->answer, c->mysql, ready);
}
static const struct connection_call call_setup = {setup_start, setup_resume, setup_ended};

static const struct connection_call *connect_ended(struct mariadb_connection *c) {
    if (!c->answer_mysql) {
        connection_drop_poll(c); // the library has closed the socket
        return connection_lost(c);
    }
    c->thread = mysql_thread_id(c->mysql);
    return &call_setup;
}
static const struct connection_call call_connect = {connect_start, connect_resume, connect_ended};

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list) {
    struct connection_resolve *resolve = container_of(request, struct connection_resolve, request);
    struct mariadb_connection *c = resolve->connection;
    if (c) {
        c->resolve = NULL;
        unsigned count = 0;
        for (struct addrinfo *a = list; a; a = a->ai_next) count++;
        // Each attempt takes the next address: a name may have one that nobody listens on.
        struct addrinfo *chosen = list;
        for (unsigned i = count ? resolve->attempt % count : 0; i > 0; i--) chosen = chosen->ai_next;
        if (status == 0 && chosen &&
            getnameinfo(chosen->ai_addr, chosen->ai_addrlen, c->address, sizeof(c->address), NULL, 0,
                        NI_NUMERICHOST) == 0) {
            c->call = &call_connect;
            connection_advance(c, 0);
        } else {
            connection_report_lost(c, CR_UNKNOWN_HOST, "the name of the host was not found");
        }
    }
    uv_freeaddrinfo(list);
    memory_free(resolve);
}

static bool is_address(const char *host) {
    unsigned char ignored[16];
    return uv_inet_pton(AF_INET, host, ignored) == 0 || uv_inet_pton(AF_INET6, host, ignored) == 0;
}

void connection_connect(struct mariadb_connection *c) {
    if (c->options->socket || is_address(c->options->host)) {
        if (!c->options->socket) snprintf(c->address, sizeof(c->address), "%s", c->options->host);
        c->call = &call_connect;
        connection_advance(c, 0);
        return;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int status = uv_getaddrinfo(&c->loop->uv, &c->resolve->request, on_resolved, c->options->host,
                                NULL, &hints);
    if (status < 0) {
        memory_free(c->resolve);
        c->resolve = NULL;
        connection_report_lost(c, CR_UNKNOWN_HOST, uv_strerror(status));
        return;
    }
    c->resolve->started = true;
}

void connection_forget_resolve(struct mariadb_connection *c) {
    struct connection_resolve *resolve = c->resolve;
    if (!resolve) return;
    c->resolve = NULL;
    resolve->connection = NULL;
    if (resolve->started) uv_cancel((uv_req_t *)&resolve->request); // on_resolved comes in any case
    else memory_free(resolve);
}

void connection_prepare(struct mariadb_connection *c, unsigned attempt) {
    const struct mariadb_options *options = c->options;
    unsigned protocol = options->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    my_bool off = 0;
    mysql_options(c->mysql, MYSQL_OPT_NONBLOCK, 0);
    mysql_options(c->mysql, MYSQL_OPT_PROTOCOL, &protocol);
    // With reconnection by the library the descriptor's number would stay while the socket under
    // it changes, and epoll would watch a socket that is gone.
    mysql_options(c->mysql, MYSQL_OPT_RECONNECT, &off);
    mysql_options(c->mysql, MYSQL_OPT_LOCAL_INFILE, &(unsigned){0});
    mysql_options(c->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options4(c->mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "footlight");
    if (options->socket || is_address(options->host)) return;
    c->resolve = memory_zero(1, sizeof(*c->resolve));
    c->resolve->connection = c;
    c->resolve->attempt = attempt;
}
