#ifndef FOOTLIGHT_HTTP_STATIC_H
#define FOOTLIGHT_HTTP_STATIC_H
#include "http/response.h"

/// Files of a few folders, served safely: a path is opened beneath its root by the kernel
/// (openat2, RESOLVE_BENEATH and no symbolic links), names that begin with a dot do not exist, and
/// only regular files do. Roots are searched in order.
struct http_roots {
    const char *const *paths;
    size_t count;
};

/// Opens `path` (decoded, relative, no leading slash). The fd, or -1. *which (may be NULL) is the
/// index of the root that has it.
int http_static_open(const struct http_roots *roots, const char *path, size_t *which);
/// The Content-Type for a file name; "application/octet-stream" if its ending is unknown.
const char *http_static_type(struct slice path);
/// Answers with the file, with conditional, range and precompressed-neighbour (.br, .gz) handling.
/// False, and nothing done, if there is no such file or the method is not GET or HEAD.
bool http_static_serve(struct http_request *request, const struct http_roots *roots,
                       const char *path, const char *cache_control);

/// Assets: static files whose URL carries a hash of their content, so that browsers may keep them
/// for ever. Hashes are made at start for all files of the roots and again when one has changed
/// (looked at no more than once in `recheck_ms`).
struct http_assets;
struct http_assets *http_assets_new(struct loop *loop, const struct http_roots *roots,
                                    unsigned recheck_ms);
void http_assets_free(struct http_assets *assets);
/// Appends "/assets/<hash>/<path>". False if there is no such file: then the hash is "none", which
/// is answered 404, so that the mistake shows in the browser too.
bool http_assets_url(struct http_assets *assets, const char *path, struct buffer *out);
/// Answers requests for /assets/…; true if it took the request. With the right hash: immutable; with
/// an old one (a page from before a deployment): today's file, to be revalidated.
bool http_assets_serve(struct http_assets *assets, struct http_request *request, struct slice path);
size_t http_assets_count(const struct http_assets *assets);
#endif
