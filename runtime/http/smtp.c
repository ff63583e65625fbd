#include "http/smtp.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/memory.h"
#include "http/address.h"

enum { THREADS = 4 };

struct mail {
    struct list link;
    struct smtp_pool *pool;
    http_client_handle handle;
    uv_thread_t thread;
    uv_async_t finished;
    atomic_bool cancelled; ///< the one thing that both threads touch while the mail is sent
    CURL *easy;
    struct curl_slist *recipients;
    struct buffer message;
    size_t sent;
    bool guard, refused, threaded;
    CURLcode code;
    long status;
    char error[CURL_ERROR_SIZE];
    void (*done)(void *context, const struct http_client_response *response); ///< NULL: cancelled
    void *context;
};

struct smtp_pool {
    struct loop *loop;
    struct list waiting, running;
    size_t threads, count;
};

static size_t on_upload(char *to, size_t size, size_t count, void *context) {
    struct mail *mail = context;
    size_t left = mail->message.size - mail->sent;
    size *= count;
    if (size > left) size = left;
    memcpy(to, mail->message.data + mail->sent, size);
    mail->sent += size;
    return size;
}

static size_t on_answer(char *data, size_t size, size_t count, void *context) {
    (void)data;
    (void)context;
    return size * count;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    struct mail *mail = context;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&mail->cancelled);
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    struct mail *mail = context;
    (void)purpose;
    if (mail->guard && !address_public(&address->addr)) {
        mail->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void mail_run(void *context) { // on its thread
    struct mail *mail = context;
    mail->code = curl_easy_perform(mail->easy);
    curl_easy_getinfo(mail->easy, CURLINFO_RESPONSE_CODE, &mail->status);
    curl_easy_cleanup(mail->easy); // here, since it says QUIT and waits for the answer
    mail->easy = NULL;
    uv_async_send(&mail->finished);
}

static void mail_free(struct mail *mail) {
    list_remove(&mail->link);
    curl_easy_cleanup(mail->easy);
    curl_slist_free_all(mail->recipients);
    buffer_free(&mail->message);
    memory_free(mail);
}

static void on_async_closed(uv_handle_t *handle) { mail_free(handle->data); }

static void pool_next(struct smtp_pool *pool);

static void on_finished(uv_async_t *async) {
    struct mail *mail = async->data;
    struct smtp_pool *pool = mail->pool;
    if (mail->threaded) uv_thread_join(&mail->thread);
    list_remove(&mail->link);
    pool->threads--;
    pool->count--;
    uv_close((uv_handle_t *)async, on_async_closed);
    pool_next(pool);
    if (!mail->done) return;
    struct http_client_response response = {.status = (int)mail->status};
    char text[CURL_ERROR_SIZE + 32];
    if (mail->code != CURLE_OK) {
        const char *kind = mail->refused ? "refused"
                           : mail->code == CURLE_OPERATION_TIMEDOUT ? "timeout"
                           : mail->code == CURLE_COULDNT_RESOLVE_HOST ? "unresolved"
                           : mail->code == CURLE_COULDNT_CONNECT ? "unreachable"
                                                                 : "failed";
        const char *detail = mail->refused ? "the address is not public"
                             : mail->error[0] ? mail->error
                                              : curl_easy_strerror(mail->code);
        snprintf(text, sizeof text, "%s: %s", kind, detail);
        response.error = text;
    }
    mail->done(mail->context, &response);
}

static void pool_next(struct smtp_pool *pool) {
    while (pool->threads < THREADS && !list_empty(&pool->waiting)) {
        struct mail *mail = list_first(&pool->waiting, struct mail, link);
        list_remove(&mail->link);
        list_push_back(&pool->running, &mail->link);
        pool->threads++;
        uv_async_init(&pool->loop->uv, &mail->finished, on_finished);
        mail->finished.data = mail;
        mail->threaded = uv_thread_create(&mail->thread, mail_run, mail) == 0;
        if (!mail->threaded) { // no thread to be had: a failure like any other
            mail->code = CURLE_OUT_OF_MEMORY;
            uv_async_send(&mail->finished);
        }
    }
}

struct smtp_pool *smtp_pool_new(struct loop *loop) {
    struct smtp_pool *pool = memory_zero(1, sizeof *pool);
    pool->loop = loop;
    list_init(&pool->waiting);
    list_init(&pool->running);
    return pool;
}

void smtp_pool_free(struct smtp_pool *pool) {
    list_each(&pool->waiting, node) mail_free(container_of(node, struct mail, link));
    list_each(&pool->running, node) {
        atomic_store(&container_of(node, struct mail, link)->cancelled, true);
    }
    list_each(&pool->running, node) {
        struct mail *mail = container_of(node, struct mail, link);
        if (mail->threaded) uv_thread_join(&mail->thread);
        list_remove(&mail->link);
        uv_close((uv_handle_t *)&mail->finished, on_async_closed);
    }
    memory_free(pool);
}

void smtp_send(struct smtp_pool *pool, http_client_handle handle,
               const struct http_client_request *request,
               void (*done)(void *, const struct http_client_response *), void *context) {
    struct mail *mail = memory_zero(1, sizeof *mail);
    mail->pool = pool;
    mail->handle = handle;
    mail->guard = request->guard;
    mail->done = done;
    mail->context = context;
    buffer_append_slice(&mail->message, request->body);
    CURL *easy = mail->easy = curl_easy_init();
    for (size_t i = 0; i < request->to_count; i++)
        mail->recipients = curl_slist_append(mail->recipients, request->to[i]);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, mail->error);
    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, request->from);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, mail->recipients);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(easy, CURLOPT_READDATA, mail);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)mail->message.size);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, mail);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, mail);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(request->timeout_ms ? request->timeout_ms : 10000));
    if (request->username) {
        curl_easy_setopt(easy, CURLOPT_USERNAME, request->username);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, request->password ? request->password : "");
    }
    // With a password (in the URL, too): encrypted or not at all.
    bool secret = request->username || strchr(request->url, '@');
    curl_easy_setopt(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, 5L);
    curl_easy_setopt(easy, CURLOPT_USE_SSL, (long)(secret ? CURLUSESSL_ALL : CURLUSESSL_TRY));
    pool->count++;
    list_push_back(&pool->waiting, &mail->link);
    pool_next(pool);
}

bool smtp_cancel(struct smtp_pool *pool, http_client_handle handle) {
    list_each(&pool->waiting, node) {
        struct mail *mail = container_of(node, struct mail, link);
        if (mail->handle != handle) continue;
        pool->count--;
        mail_free(mail);
        return true;
    }
    list_each(&pool->running, node) {
        struct mail *mail = container_of(node, struct mail, link);
        if (mail->handle != handle) continue;
        mail->done = NULL; // it may arrive all the same: a mail under way cannot be called back
        atomic_store(&mail->cancelled, true);
        return true;
    }
    return false;
}

size_t smtp_pool_running(const struct smtp_pool *pool) { return pool->count; }
