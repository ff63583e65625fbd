#ifndef FOOTLIGHT_HTTP_SMTP_H
#define FOOTLIGHT_HTTP_SMTP_H
#include "http/client.h"

/// Mail, by libcurl on threads of its own: observed with 7.88, the multi interface blocks in SMTP
/// until the server has taken the message, which would stop the loop for as long as a relay likes
/// to think. A few threads at most; what is more waits in line.
struct smtp_pool;
struct smtp_pool *smtp_pool_new(struct loop *loop);
/// Waits until the threads have seen that they are not wanted (a second at most).
void smtp_pool_free(struct smtp_pool *pool);
void smtp_send(struct smtp_pool *pool, http_client_handle handle,
               const struct http_client_request *request,
               void (*done)(void *context, const struct http_client_response *response),
               void *context);
bool smtp_cancel(struct smtp_pool *pool, http_client_handle handle);
size_t smtp_pool_running(const struct smtp_pool *pool);
#endif
