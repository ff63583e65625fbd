#include "http/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "http/address.h"
#include "http/parser.h"
#include "http/smtp.h"

enum { MOST_RUNNING = 1000, HEADERS_LIMIT = 64 * 1024 };

struct engine {
    struct http_client *client;
    CURLM *multi;
    struct timer timer;
    size_t watches;
};

struct http_client {
    struct loop *loop;
    struct engine plain, guarded;
    struct smtp_pool *mails;
    struct list running;
    size_t count, references;
    uint64_t next;
    bool closing;
    struct metric *requests, *failures, *refused, *under_way;
};

struct watch {
    uv_poll_t poll;
    struct engine *engine;
    curl_socket_t fd;
};

struct transfer {
    struct list link;
    struct http_client *client;
    struct engine *engine;
    http_client_handle handle;
    CURL *easy;
    struct curl_slist *headers;
    struct buffer body, answer, answer_headers;
    size_t max;
    bool too_large, guard, refused;
    char message[CURL_ERROR_SIZE];
    void (*done)(void *context, const struct http_client_response *response);
    void *context;
};

static void client_unref(struct http_client *client) {
    if (--client->references == 0) memory_free(client);
}

static void transfer_free(struct transfer *transfer) {
    list_remove(&transfer->link);
    transfer->client->count--;
    if (transfer->engine->multi) curl_multi_remove_handle(transfer->engine->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    buffer_free(&transfer->body);
    buffer_free(&transfer->answer);
    buffer_free(&transfer->answer_headers);
    memory_free(transfer);
}

static const char *failure(struct transfer *transfer, CURLcode code, char *text, size_t size) {
    const char *kind = "failed";
    if (transfer->refused) kind = "refused";
    else if (transfer->too_large) kind = "too large";
    else if (code == CURLE_OPERATION_TIMEDOUT) kind = "timeout";
    else if (code == CURLE_COULDNT_RESOLVE_HOST) kind = "unresolved";
    else if (code == CURLE_COULDNT_CONNECT) kind = "unreachable";
    else if (code == CURLE_TOO_MANY_REDIRECTS) kind = "redirects";
    const char *detail = transfer->refused ? "the address is not public"
                         : transfer->too_large ? "the answer is larger than allowed"
                         : transfer->message[0] ? transfer->message
                                                : curl_easy_strerror(code);
    snprintf(text, size, "%s: %s", kind, detail);
    return text;
}

/// Hands over what has finished. Callbacks may start and cancel requests.
static void engine_reap(struct engine *engine) {
    struct http_client *client = engine->client;
    CURLMsg *message;
    int left;
    client->references++;
    while (!client->closing && (message = curl_multi_info_read(engine->multi, &left))) {
        if (message->msg != CURLMSG_DONE) continue;
        struct transfer *transfer;
        CURLcode code = message->data.result;
        char text[CURL_ERROR_SIZE + 32];
        long status = 0;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        struct http_client_response response = {
            .status = (int)status,
            .headers = buffer_slice(&transfer->answer_headers),
            .body = buffer_slice(&transfer->answer),
        };
        if (code != CURLE_OK) {
            response.error = failure(transfer, code, text, sizeof text);
            metric_add(client->failures, 1);
        }
        // Out of the list first: done may cancel what it thinks is still under way.
        list_remove(&transfer->link);
        transfer->done(transfer->context, &response);
        transfer_free(transfer);
    }
    client_unref(client);
}

static void on_watch(uv_poll_t *poll, int status, int events) {
    struct watch *watch = poll->data;
    struct engine *engine = watch->engine;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;
    if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(engine->multi, watch->fd, flags, &running);
    engine_reap(engine);
}

static void on_watch_closed(uv_handle_t *handle) {
    struct watch *watch = handle->data;
    client_unref(watch->engine->client);
    memory_free(watch);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *data) {
    struct engine *engine = context;
    struct watch *watch = data;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (!watch) return 0;
        if (engine->multi) curl_multi_assign(engine->multi, fd, NULL);
        uv_poll_stop(&watch->poll);
        uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
        return 0;
    }
    if (!watch) {
        watch = memory_zero(1, sizeof *watch);
        watch->engine = engine;
        watch->fd = fd;
        if (uv_poll_init(&engine->client->loop->uv, &watch->poll, fd) != 0) {
            memory_free(watch);
            return -1;
        }
        watch->poll.data = watch;
        engine->client->references++;
        curl_multi_assign(engine->multi, fd, watch);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watch->poll, events, on_watch);
    return 0;
}

static void on_timer(struct timer *timer) {
    struct engine *engine = container_of(timer, struct engine, timer);
    int running;
    curl_multi_socket_action(engine->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    engine_reap(engine);
}

static int on_timeout(CURLM *multi, long after_ms, void *context) {
    struct engine *engine = context;
    (void)multi;
    // 0 means at once, but never inside curl's own call.
    if (after_ms < 0) loop_timer_stop(engine->client->loop, &engine->timer);
    else loop_timer_start(engine->client->loop, &engine->timer, (uint64_t)after_ms);
    return 0;
}

static void engine_init(struct http_client *client, struct engine *engine) {
    engine->client = client;
    engine->multi = curl_multi_init();
    timer_init(&engine->timer, on_timer);
    curl_multi_setopt(engine->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(engine->multi, CURLMOPT_SOCKETDATA, engine);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERDATA, engine);
    curl_multi_setopt(engine->multi, CURLMOPT_MAXCONNECTS, 64L);
    curl_multi_setopt(engine->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 32L);
}

static void collect_metrics(void *context) {
    struct http_client *client = context;
    metric_set(client->under_way, (int64_t)http_client_running(client));
}

struct http_client *http_client_new(struct loop *loop) {
    static bool initialised;
    if (!initialised) curl_global_init(CURL_GLOBAL_DEFAULT);
    initialised = true;
    struct http_client *client = memory_zero(1, sizeof *client);
    client->loop = loop;
    client->references = 1;
    list_init(&client->running);
    client->mails = smtp_pool_new(loop);
    engine_init(client, &client->plain);
    engine_init(client, &client->guarded);
    client->requests = metrics_counter("footlight_http_client_requests_total",
                                       "Outgoing requests and mails begun.", NULL);
    client->failures = metrics_counter("footlight_http_client_failures_total",
                                       "Outgoing requests and mails without an answer.", NULL);
    client->refused = metrics_counter("footlight_http_client_refused_total",
                                      "Not begun: too many were under way.", NULL);
    client->under_way = metrics_gauge("footlight_http_client_running",
                                      "Outgoing requests and mails under way.", NULL);
    metrics_on_export(collect_metrics, client);
    return client;
}

void http_client_free(struct http_client *client) {
    if (!client) return;
    client->closing = true;
    metrics_off_export(collect_metrics, client);
    list_each(&client->running, node) transfer_free(container_of(node, struct transfer, link));
    smtp_pool_free(client->mails);
    CURLM *plain = client->plain.multi, *guarded = client->guarded.multi;
    client->plain.multi = client->guarded.multi = NULL;
    curl_multi_cleanup(plain);
    curl_multi_cleanup(guarded);
    loop_timer_stop(client->loop, &client->plain.timer);
    loop_timer_stop(client->loop, &client->guarded.timer);
    client_unref(client);
}

static size_t on_answer(char *data, size_t size, size_t count, void *context) {
    struct transfer *transfer = context;
    size *= count;
    if (transfer->answer.size + size > transfer->max) {
        transfer->too_large = true;
        return 0;
    }
    buffer_append(&transfer->answer, data, size);
    return size;
}

static size_t on_header(char *data, size_t size, size_t count, void *context) {
    struct transfer *transfer = context;
    size *= count;
    // A new status line begins a new answer (after a redirect or a 100).
    if (size >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        buffer_clear(&transfer->answer_headers, SIZE_MAX);
        return size;
    }
    if (transfer->answer_headers.size + size > HEADERS_LIMIT) {
        transfer->too_large = true;
        return 0;
    }
    buffer_append(&transfer->answer_headers, data, size);
    return size;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    struct transfer *transfer = context;
    (void)purpose;
    if (transfer->guard && !address_public(&address->addr)) {
        transfer->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool header_good(struct slice value) {
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == 0) return false;
    return true;
}

static void set_web(struct transfer *transfer, const struct http_client_request *request) {
    CURL *easy = transfer->easy;
    const char *method = request->method ? request->method : request->body.data ? "POST" : "GET";
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->redirects ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)request->redirects);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    if (request->body.data) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body.size);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->body.size ? transfer->body.data : "");
    }
    if (strcmp(method, "HEAD") == 0) curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (strcmp(method, request->body.data ? "POST" : "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
}

static const char *request_wrong(const struct http_client_request *request) {
    struct slice url = slice_of(request->url), scheme = slice_sub(url, 0, slice_find(url, ':', 0));
    bool mail = request->from != NULL;
    const char *const *wanted = mail ? (const char *const[]){"smtp", "smtps"}
                                     : (const char *const[]){"http", "https"};
    if (!slice_equal_fold(scheme, slice_of(wanted[0])) && !slice_equal_fold(scheme, slice_of(wanted[1])))
        return mail ? "the URL must begin with smtp:// or smtps://"
                    : "the URL must begin with http:// or https://";
    for (size_t i = 0; i < url.size; i++)
        if ((unsigned char)url.data[i] <= ' ' || url.data[i] == 127) return "the URL holds a space or control byte";
    if (request->method && !http_is_token(slice_of(request->method))) return "the method is no token";
    for (size_t i = 0; i < request->header_count; i++)
        if (!http_is_token(request->headers[i].name) || !header_good(request->headers[i].value))
            return "a header would break the request";
    if (mail && (!header_good(slice_of(request->from)) || request->to_count == 0))
        return "mail needs a sender and recipients";
    for (size_t i = 0; i < request->to_count; i++)
        if (!header_good(slice_of(request->to[i])) || strpbrk(request->to[i], "<> "))
            return "a recipient's address is malformed";
    return NULL;
}

http_client_handle http_client_send(struct http_client *client,
                                    const struct http_client_request *request,
                                    void (*done)(void *, const struct http_client_response *),
                                    void *context, const char **error) {
    bool full = http_client_running(client) >= MOST_RUNNING;
    if (full) metric_add(client->refused, 1);
    *error = full ? "too many requests are under way" : request_wrong(request);
    if (*error) return 0;
    if (request->from) {
        metric_add(client->requests, 1);
        smtp_send(client->mails, ++client->next, request, done, context);
        return client->next;
    }
    struct transfer *transfer = memory_zero(1, sizeof *transfer);
    transfer->client = client;
    transfer->engine = request->guard ? &client->guarded : &client->plain;
    transfer->handle = ++client->next;
    transfer->guard = request->guard;
    transfer->max = request->max ? request->max : 1024 * 1024;
    transfer->done = done;
    transfer->context = context;
    buffer_append_slice(&transfer->body, request->body);
    struct buffer line = {0};
    for (size_t i = 0; i < request->header_count; i++) {
        struct http_client_header header = request->headers[i];
        buffer_clear(&line, SIZE_MAX);
        // "Name;" is curl's way to send a header without a value.
        buffer_printf(&line, header.value.size ? "%.*s: %.*s" : "%.*s;%.*s", SLICE_FORMAT(header.name),
                      SLICE_FORMAT(header.value));
        transfer->headers = curl_slist_append(transfer->headers, buffer_text(&line));
    }
    buffer_free(&line);
    // No "Expect: 100-continue": it costs a round trip, and some servers never answer it.
    transfer->headers = curl_slist_append(transfer->headers, "Expect:");

    CURL *easy = transfer->easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); // a proxy from the environment would undo the guard
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "Footlight/" FOOTLIGHT_VERSION);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->message);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    unsigned timeout = request->timeout_ms ? request->timeout_ms : 10000;
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(timeout < 5000 ? timeout : 5000));
    set_web(transfer, request);
    list_push_back(&client->running, &transfer->link);
    client->count++;
    metric_add(client->requests, 1);
    curl_multi_add_handle(transfer->engine->multi, easy);
    return transfer->handle;
}

void http_client_cancel(struct http_client *client, http_client_handle handle) {
    list_each(&client->running, node) {
        struct transfer *transfer = container_of(node, struct transfer, link);
        if (transfer->handle != handle) continue;
        transfer_free(transfer);
        return;
    }
    smtp_cancel(client->mails, handle);
}

size_t http_client_running(const struct http_client *client) {
    return client->count + smtp_pool_running(client->mails);
}
