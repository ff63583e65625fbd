#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/hash.h"
#include "base/log.h"
#include "http/exchange.h"
#include "http/query.h"
#include "http/static.h"

enum { HASH_SIZE = 8, DEEPEST = 8, MOST_FILES = 20000 };

struct asset {
    char hash[HASH_SIZE * 2 + 1];
    uint64_t inode;
    int64_t changed_ns, size;
    uint64_t checked_ms;
};

struct http_assets {
    struct loop *loop;
    struct http_roots roots;
    unsigned recheck_ms;
    struct hash files; ///< path → struct asset
};

static bool hash_file(int fd, char out[HASH_SIZE * 2 + 1]) {
    crypto_generichash_state state;
    unsigned char bytes[crypto_generichash_BYTES_MIN];
    char block[16 * 1024];
    ssize_t n;
    crypto_generichash_init(&state, NULL, 0, sizeof bytes);
    while ((n = read(fd, block, sizeof block)) > 0)
        crypto_generichash_update(&state, (unsigned char *)block, (unsigned long long)n);
    crypto_generichash_final(&state, bytes, sizeof bytes);
    for (int i = 0; i < HASH_SIZE; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return n == 0;
}

/// The asset as it is on disk now; NULL if there is no such file (any more).
static struct asset *asset_get(struct http_assets *assets, const char *path) {
    struct slice key = slice_of(path);
    struct asset *asset = hash_get(&assets->files, key);
    uint64_t now = loop_now(assets->loop);
    if (asset && now - asset->checked_ms < assets->recheck_ms) return asset;
    struct stat info;
    int fd = http_static_open(&assets->roots, path, NULL);
    if (fd < 0 || fstat(fd, &info) != 0) {
        if (fd >= 0) close(fd);
        memory_free(hash_remove(&assets->files, key));
        return NULL;
    }
    int64_t changed = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    if (!asset) {
        if (hash_count(&assets->files) >= MOST_FILES) {
            close(fd);
            return NULL;
        }
        asset = memory_zero(1, sizeof *asset);
        hash_put(&assets->files, key, asset);
    }
    if (asset->inode != info.st_ino || asset->changed_ns != changed || asset->size != info.st_size) {
        if (hash_file(fd, asset->hash)) {
            asset->inode = info.st_ino;
            asset->changed_ns = changed;
            asset->size = info.st_size;
        }
    }
    asset->checked_ms = now;
    close(fd);
    return asset;
}

static void assets_scan(struct http_assets *assets, const char *root, const char *below, int depth) {
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", root, below);
    DIR *folder = depth < DEEPEST ? opendir(path) : NULL;
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        int size = snprintf(path, sizeof path, "%s%s%s", below, *below ? "/" : "", entry->d_name);
        if (size < 0 || (size_t)size >= sizeof path) continue;
        if (entry->d_type == DT_DIR) assets_scan(assets, root, path, depth + 1);
        else if (entry->d_type == DT_REG) asset_get(assets, path);
    }
    closedir(folder);
}

struct http_assets *http_assets_new(struct loop *loop, const struct http_roots *roots,
                                    unsigned recheck_ms) {
    struct http_assets *assets = memory_zero(1, sizeof *assets);
    assets->loop = loop;
    assets->recheck_ms = recheck_ms;
    const char **paths = memory_zero(roots->count + 1, sizeof *paths);
    for (size_t i = 0; i < roots->count; i++) paths[i] = memory_copy_string(roots->paths[i]);
    assets->roots = (struct http_roots){paths, roots->count};
    for (size_t i = 0; i < roots->count; i++) assets_scan(assets, paths[i], "", 0);
    return assets;
}

void http_assets_free(struct http_assets *assets) {
    if (!assets) return;
    size_t cursor = 0;
    struct slice key;
    for (void *value; hash_next(&assets->files, &cursor, &key, &value);) memory_free(value);
    hash_free(&assets->files);
    for (size_t i = 0; i < assets->roots.count; i++) memory_free((char *)(uintptr_t)assets->roots.paths[i]);
    memory_free((void *)(uintptr_t)assets->roots.paths);
    memory_free(assets);
}

size_t http_assets_count(const struct http_assets *assets) { return hash_count(&assets->files); }

bool http_assets_url(struct http_assets *assets, const char *path, struct buffer *out) {
    while (*path == '/') path++;
    struct asset *asset = asset_get(assets, path);
    buffer_append_text(out, "/assets/");
    buffer_append_text(out, asset ? asset->hash : "none");
    struct slice rest = slice_of(path), part;
    while (slice_next(&rest, '/', &part)) {
        buffer_append_char(out, '/');
        escape_url(out, part);
    }
    return asset != NULL;
}

bool http_assets_serve(struct http_assets *assets, struct http_request *request, struct slice path) {
    struct slice prefix = SLICE("/assets/");
    if (!slice_starts(path, prefix)) return false;
    struct slice rest = slice_sub(path, prefix.size, path.size);
    size_t slash = slice_find(rest, '/', 0);
    struct slice hash = slice_sub(rest, 0, slash);
    if (slash == rest.size || slice_equal(hash, SLICE("none"))) {
        http_respond_status(request, 404);
        return true;
    }
    const char *file = arena_copy(&request->arena, slice_sub(rest, slash + 1, rest.size));
    struct asset *asset = asset_get(assets, file);
    bool current = asset && slice_equal(hash, slice_of(asset->hash));
    const char *cache = current ? "public, max-age=31536000, immutable" : "no-cache";
    if (!asset || !http_static_serve(request, &assets->roots, file, cache)) {
        bool known = asset != NULL; // then it is the method that does not fit
        if (known) http_response_header(request, SLICE("Allow"), SLICE("GET, HEAD"));
        http_respond_status(request, known ? 405 : 404);
    }
    return true;
}
