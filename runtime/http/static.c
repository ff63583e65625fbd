#include "http/static.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "http/compress.h"

static bool path_good(const char *path) {
    struct slice rest = slice_of(path), part;
    if (rest.size == 0 || rest.size > 1024 || memchr(path, '\\', rest.size)) return false;
    while (rest.data && slice_next(&rest, '/', &part))
        if (part.size == 0 || part.data[0] == '.') return false;
    return true;
}

/// One folder after the other, following no link: for kernels or sandboxes without openat2.
static int open_by_steps(int root, const char *path) {
    char name[256];
    int at = dup(root);
    struct slice rest = slice_of(path), part;
    while (at >= 0 && slice_next(&rest, '/', &part)) {
        int next = -1;
        if (part.size < sizeof name) {
            memcpy(name, part.data, part.size);
            name[part.size] = 0;
            int flags = rest.data ? O_PATH | O_DIRECTORY : O_RDONLY | O_NONBLOCK;
            next = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC);
        }
        close(at);
        at = next;
    }
    return at;
}

static int open_beneath(int root, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) return open_by_steps(root, path);
    return (int)fd;
}

int http_static_open(const struct http_roots *roots, const char *path, size_t *which) {
    if (!path_good(path)) return -1;
    for (size_t i = 0; i < roots->count; i++) {
        int root = open(roots->paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0) continue;
        int fd = open_beneath(root, path);
        close(root);
        if (fd < 0) continue;
        struct stat info;
        if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
            if (which) *which = i;
            return fd;
        }
        close(fd);
    }
    return -1;
}

const char *http_static_type(struct slice path) {
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".txt", "text/plain; charset=utf-8"},
        {".md", "text/plain; charset=utf-8"},
        {".xml", "application/xml"},
        {".csv", "text/csv; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".avif", "image/avif"},
        {".ico", "image/x-icon"},
        {".woff", "font/woff"},
        {".woff2", "font/woff2"},
        {".ttf", "font/ttf"},
        {".wasm", "application/wasm"},
        {".pdf", "application/pdf"},
        {".zip", "application/zip"},
        {".mp3", "audio/mpeg"},
        {".ogg", "audio/ogg"},
        {".mp4", "video/mp4"},
        {".webm", "video/webm"},
        {".ts", "video/mp2t"},
        {".m3u8", "application/vnd.apple.mpegurl"},
        {".flv", "video/x-flv"},
    };
    size_t start = path.size;
    while (start > 0 && path.data[start - 1] != '.' && path.data[start - 1] != '/') start--;
    if (start == 0 || path.data[start - 1] != '.') return "application/octet-stream";
    struct slice ending = slice_sub(path, start - 1, path.size);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (slice_equal_fold(ending, slice_of(types[i].ending))) return types[i].type;
    return "application/octet-stream";
}

/// A packed neighbour that is no older than the file it stands for. The fd, or -1.
static int open_packed(struct http_request *request, const struct http_roots *roots,
                       const char *path, int plain, enum http_coding coding) {
    const char *ending = coding == HTTP_BROTLI ? "br" : "gz";
    struct stat original, packed;
    int fd = http_static_open(roots, arena_printf(&request->arena, "%s.%s", path, ending), NULL);
    if (fd < 0) return -1;
    if (fstat(plain, &original) == 0 && fstat(fd, &packed) == 0 &&
        packed.st_mtim.tv_sec >= original.st_mtim.tv_sec)
        return fd;
    close(fd);
    return -1;
}

bool http_static_serve(struct http_request *request, const struct http_roots *roots,
                       const char *path, const char *cache_control) {
    if (!slice_equal(request->method, SLICE("GET")) && !slice_equal(request->method, SLICE("HEAD")))
        return false;
    int fd = http_static_open(roots, path, NULL);
    if (fd < 0) return false;
    const char *type = http_static_type(slice_of(path));
    http_response_header(request, SLICE("X-Content-Type-Options"), SLICE("nosniff"));
    if (http_type_compresses(slice_of(type))) {
        http_response_header(request, SLICE("Vary"), SLICE("Accept-Encoding"));
        struct slice accept = http_request_header(request, "accept-encoding");
        enum http_coding coding = http_coding_choose(accept);
        int packed = coding ? open_packed(request, roots, path, fd, coding) : -1;
        if (packed < 0 && coding == HTTP_BROTLI && http_coding_allows(accept, HTTP_GZIP)) {
            coding = HTTP_GZIP;
            packed = open_packed(request, roots, path, fd, coding);
        }
        if (packed >= 0) {
            close(fd);
            fd = packed;
            http_response_header(request, SLICE("Content-Encoding"),
                                 slice_of(http_coding_name(coding)));
        }
    }
    http_respond_file(request, fd, type, cache_control);
    return true;
}
