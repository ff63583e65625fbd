#include "lua/watch.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/slice.h"

enum { FOLDERS_MOST = 4000, DEPTH_MOST = 16, ROOTS_MOST = 8 };

struct folder {
    uv_fs_event_t event;
    struct list link;
    struct watch *watch;
    bool closing;
    char path[];
};

struct watch {
    struct loop *loop;
    void (*changed)(void *context);
    void *context;
    struct list folders;
    size_t count;
    char *roots[ROOTS_MOST];
    size_t root_count;
    struct timer settle;
    uint64_t first; // loop time of the first change of this burst, 0: none
};

static void on_event(uv_fs_event_t *event, const char *name, int events, int status);

static void on_closed(uv_handle_t *handle) {
    memory_free(container_of((uv_fs_event_t *)handle, struct folder, event));
}

static void drop(struct folder *folder) {
    list_remove(&folder->link);
    folder->watch->count--;
    folder->closing = true;
    uv_close((uv_handle_t *)&folder->event, on_closed);
}

static bool known(struct watch *watch, const char *path) {
    list_each(&watch->folders, node) {
        if (strcmp(container_of(node, struct folder, link)->path, path) == 0) return true;
    }
    return false;
}

static void add_tree(struct watch *watch, const char *path, int depth) {
    DIR *directory = depth < DEPTH_MOST ? opendir(path) : NULL;
    if (!directory) return;
    if (!known(watch, path) && watch->count < FOLDERS_MOST) {
        size_t size = strlen(path) + 1;
        struct folder *folder = memory_alloc(sizeof *folder + size);
        memcpy(folder->path, path, size);
        folder->watch = watch;
        folder->closing = false;
        uv_fs_event_init(&watch->loop->uv, &folder->event);
        list_push_back(&watch->folders, &folder->link);
        watch->count++;
        int error = uv_fs_event_start(&folder->event, on_event, path, 0);
        if (error) {
            log_warn("lua.watch_failed", LOG_TEXT("folder", path),
                     LOG_TEXT("error", uv_strerror(error)));
            drop(folder);
        }
    }
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.' || entry->d_type != DT_DIR) continue;
        char below[4096];
        if ((size_t)snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < sizeof below) {
            add_tree(watch, below, depth + 1);
        }
    }
    closedir(directory);
}

static bool counts(const char *name) {
    if (!name || !*name) return true;
    struct slice s = slice_of(name);
    return name[0] != '.' && name[0] != '#' && strcmp(name, "4913") != 0 && // vim's probe
           !slice_ends(s, SLICE("~")) && !slice_ends(s, SLICE(".swp")) &&
           !slice_ends(s, SLICE(".tmp"));
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
    (void)events;
    struct folder *folder = container_of(event, struct folder, event);
    struct watch *watch = folder->watch;
    if (folder->closing || status < 0 || !counts(name)) return;
    uint64_t now = loop_now(watch->loop);
    if (!watch->first) watch->first = now ? now : 1;
    uint64_t latest = watch->first + WATCH_MOST_MS, wanted = now + WATCH_QUIET_MS;
    uint64_t due = wanted < latest ? wanted : latest;
    loop_timer_start(watch->loop, &watch->settle, due > now ? due - now : 0);
}

static void on_settled(struct timer *timer) {
    struct watch *watch = container_of(timer, struct watch, settle);
    watch->first = 0;
    // Folders that went away end their watches; folders that came get one.
    list_each(&watch->folders, node) {
        struct folder *folder = container_of(node, struct folder, link);
        struct stat info;
        if (stat(folder->path, &info) != 0) drop(folder);
    }
    for (size_t i = 0; i < watch->root_count; i++) add_tree(watch, watch->roots[i], 0);
    watch->changed(watch->context);
}

struct watch *watch_new(struct loop *loop, void (*changed)(void *context), void *context) {
    struct watch *watch = memory_zero(1, sizeof *watch);
    watch->loop = loop;
    watch->changed = changed;
    watch->context = context;
    list_init(&watch->folders);
    timer_init(&watch->settle, on_settled);
    return watch;
}

void watch_add(struct watch *watch, const char *folder) {
    if (watch->root_count == ROOTS_MOST) return;
    watch->roots[watch->root_count++] = memory_copy_string(folder);
    add_tree(watch, folder, 0);
}

void watch_free(struct watch *watch) {
    if (!watch) return;
    loop_timer_stop(watch->loop, &watch->settle);
    list_each(&watch->folders, node) drop(container_of(node, struct folder, link));
    for (size_t i = 0; i < watch->root_count; i++) memory_free(watch->roots[i]);
    memory_free(watch);
}
