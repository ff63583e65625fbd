#include "server/service.h"

#include "base/escape.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/signals.h"
#include "lua/generation.h"
#include "lua/lua_http.h"
#include "realtime/hub.h"
#include "server/assembly.h"
#include "server/console.h"
#include "server/health.h"
#include "server/process.h"
#include "streaming/streaming.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

struct service {
    struct loop loop;
    struct config *config;
    struct assembly assembly;
    unsigned instance;
    struct http_server *http;
    void (*on_request)(void *context, struct http_request *request);
    void *context;
    struct link *link;
    struct console *console;
    struct signal_watch hup, term;
    struct timer deadline;
    unsigned draining_parts;
    bool draining;
};

// --- reports to the supervisor -------------------------------------------------------------------

static void service_report(struct service *service) {
    if (!service->link) return;
    struct lua_generations *generations = service->assembly.runtime.generations;
    const char *error = lua_generations_error(generations);
    struct buffer out = {0};
    buffer_printf(&out,
                  "{\"generation\":%llu,\"old_generations\":%zu,\"lua_bytes\":%zu,\"running\":%zu,"
                  "\"connections\":%zu,\"draining\":%s,\"error\":",
                  (unsigned long long)lua_generations_number(generations),
                  lua_generations_old(generations), lua_generations_memory(generations),
                  lua_generations_running(generations),
                  service->http ? http_server_connections(service->http) : 0,
                  service->draining ? "true" : "false");
    if (error) {
        buffer_append_char(&out, '"');
        escape_json(&out, slice_sub(slice_of(error), 0, 16 * 1024));
        buffer_append_char(&out, '"');
    } else {
        buffer_append_text(&out, "null");
    }
    buffer_append_char(&out, '}');
    link_send(service->link, buffer_slice(&out));
    buffer_free(&out);
}

// What a service does by itself (jobs): each generation begins it anew, and the old one's is
// cancelled when it does not come to rest by itself (generation.c).
static void service_start_done(void *context, lua_State *co, int results, const char *error) {
    (void)context;
    (void)co;
    (void)results;
    if (error) log_error("service.start_failed", LOG_TEXT("error", error));
}

static void service_start_export(struct service *service) {
    struct lua_generations *generations = service->assembly.runtime.generations;
    static const struct lua_limits none = {0};
    if (lua_generations_has(generations, "start"))
        lua_generations_call(generations, "start", &none, NULL, service_start_done, service);
}

static void service_on_reload(void *context, bool ok) {
    if (ok) service_start_export(context);
    service_report(context);
}

static void service_reload(struct service *service) {
    char error[1024];
    struct settings *settings = config_reload(service->config, error, sizeof error);
    if (settings) {
        // The old table stays: parts of the process hold texts of it. A reload is rare.
        service->config->settings = service->assembly.runtime.settings = settings;
    } else {
        log_error("service.config_kept", LOG_TEXT("error", error));
    }
    lua_generations_reload(service->assembly.runtime.generations); // reports by on_reload
}

static void service_begin_drain(struct service *service);

static void service_on_line(struct link *link, struct slice line) {
    struct service *service = link->data;
    if (slice_equal(line, SLICE("reload")))
        service_reload(service);
    else
        service_report(service);
}

// The supervisor is gone: nobody would restart us or tell us to stop.
static void service_on_link_gone(struct link *link) {
    struct service *service = link->data;
    service->link = NULL;
    memory_free(link);
    service_begin_drain(service);
}

static void service_open_link(struct service *service) {
    if (fcntl(PROCESS_LINK_FD, F_GETFD) < 0) return; // run by hand
    struct link *link = memory_zero(1, sizeof *link);
    link->on_line = service_on_line;
    link->on_gone = service_on_link_gone;
    link->data = service;
    fcntl(PROCESS_LINK_FD, F_SETFD, FD_CLOEXEC);
    if (link_open(&service->loop, link, PROCESS_LINK_FD) < 0)
        memory_free(link);
    else
        service->link = link;
}

// --- draining ------------------------------------------------------------------------------------

static void service_part_drained(void *context) {
    struct service *service = context;
    if (--service->draining_parts == 0) loop_stop(&service->loop);
}

static void service_on_deadline(struct timer *timer) {
    struct service *service = container_of(timer, struct service, deadline);
    log_warn("service.drain_over", LOG_INT("parts", service->draining_parts));
    loop_stop(&service->loop);
}

// nginx-rtmp takes any answer but a good one for the end of a session, so the hooks that have come in
// are answered before the sessions are let go. Other services do both at once: a viewer's FLV response
// ends only when its session does.
static void service_hooks_answered(void *context) {
    struct service *service = context;
    assembly_drain(&service->assembly, service_part_drained, service);
}

static void service_begin_drain(struct service *service) {
    if (service->draining) return;
    service->draining = true;
    int64_t seconds = settings_integer(service->config->settings, "drain_seconds", 10);
    log_info("service.draining", LOG_INT("within_s", seconds));
    loop_timer_start(&service->loop, &service->deadline, (uint64_t)seconds * 1000);
    service->draining_parts = 1;
    if (service->http && service->assembly.kind->hooks) {
        http_server_drain(service->http, service_hooks_answered, service);
        return;
    }
    if (service->assembly.kind->web) lua_http_drain(&service->assembly.runtime);
    if (service->http) {
        service->draining_parts = 2;
        http_server_drain(service->http, service_part_drained, service);
    }
    assembly_drain(&service->assembly, service_part_drained, service);
}

static void service_on_term(struct signal_watch *watch, int number) {
    (void)number;
    service_begin_drain(watch->data);
}

static void service_on_hup(struct signal_watch *watch, int number) {
    (void)number;
    service_reload(watch->data);
}

// --- requests ------------------------------------------------------------------------------------

static void service_on_request(void *context, struct http_request *request) {
    struct service *service = context;
    const struct service_kind *kind = service->assembly.kind;
    if (health_answer(&service->assembly.runtime, service->draining, request)) return;
    if (!service->on_request) {
        http_respond_status(request, 404);
    } else if ((kind->hooks || kind->media) && !service->assembly.runtime.streaming) {
        http_respond_status(request, 503); // its part of the process has gone already
    } else {
        service->on_request(service->context, request);
    }
}

static void service_on_realtime(void *context, struct http_request *request) {
    struct service *service = context;
    realtime_on_request(service->assembly.runtime.hub, request); // 404 for what is not its own
}

static bool service_open_http(struct service *service) {
    if (fcntl(PROCESS_LISTEN_FD, F_GETFD) < 0) return true; // a service without a socket
    const struct settings *settings = service->config->settings;
    struct runtime *runtime = &service->assembly.runtime;
    struct http_server_options options = {.name = runtime->service, .access_log = true};
    http_limits_default(&options.limits);
    http_limits_configure(&options.limits, settings);
    options.trusted_proxies = settings_text(settings, "http.trusted_proxies", "127.0.0.1,::1");
    const struct service_kind *kind = service->assembly.kind;
    service->context = service;
    if (kind->web) {
        options.compress = true;
        lua_http_attach(runtime, &options);
        service->on_request = options.on_request;
        service->context = options.context;
    } else if (kind->hub) {
        service->on_request = service_on_realtime;
    } else if (kind->hooks || kind->media) {
        options.one_request = kind->hooks;
        options.access_log = false; // their paths hold the hooks' secret and tickets
        service->on_request = kind->hooks ? hooks_on_request : media_on_request;
        service->context = runtime->streaming;
    }
    options.on_request = service_on_request;
    options.context = service;
    service->http = http_server_new(&service->loop, &options);
    fcntl(PROCESS_LISTEN_FD, F_SETFD, FD_CLOEXEC);
    int error = http_server_listen(service->http, PROCESS_LISTEN_FD);
    if (error) log_error("service.listen", LOG_TEXT("error", strerror(-error)));
    return error == 0;
}

// --- life ----------------------------------------------------------------------------------------

int service_run(struct config *config, const char *name, unsigned instance) {
    const struct service_kind *kind = service_kind_find(name);
    if (!kind) {
        fprintf(stderr, "footlight: there is no service %s\n", name);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct service *service = memory_zero(1, sizeof *service);
    service->config = config;
    service->instance = instance;
    timer_init(&service->deadline, service_on_deadline);
    if (loop_init(&service->loop)) return 1;
    if (!assembly_open(&service->assembly, &service->loop, config, kind, kind->entry)) return 78;
    struct lua_generations *generations = service->assembly.runtime.generations;
    if (lua_generations_number(generations) == 0 && !service->assembly.runtime.development) {
        log_error("service.lua", LOG_TEXT("error", lua_generations_error(generations)));
        return 78;
    }
    if (!service_open_http(service)) return 1;
    service->hup.data = service->term.data = service;
    signals_watch(&service->loop, &service->hup, SIGHUP, service_on_hup);
    signals_watch(&service->loop, &service->term, SIGTERM, service_on_term);
    signal(SIGINT, SIG_IGN); // Ctrl-C is the supervisor's; it tells us
    service_open_link(service);
    service->console = console_new(&service->assembly.runtime, instance);
    lua_generations_on_reload(generations, service_on_reload, service);
    if (service->assembly.runtime.development) lua_generations_watch(generations);
    service_start_export(service);
    service_report(service);
    log_info("service.started", LOG_INT("instance", instance), LOG_INT("pid", getpid()));
    log_gather(true);
    loop_run(&service->loop);
    log_gather(false);

    signals_unwatch(&service->hup);
    signals_unwatch(&service->term);
    loop_timer_stop(&service->loop, &service->deadline);
    if (service->link) {
        service->link->data = service;
        service->draining = true;
        link_close(service->link);
    }
    console_free(service->console);
    if (service->http) http_server_free(service->http);
    assembly_close(&service->assembly);
    loop_close(&service->loop);
    log_info("service.stopped", LOG_INT("instance", instance));
    memory_free(service);
    return 0;
}
