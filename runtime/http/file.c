#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/exchange.h"
#include "http/response.h"

/// Weak comparison of a list of entity tags with one (RFC 9110, 8.8.3.2).
static bool etag_listed(struct slice list, struct slice etag) {
    struct slice part;
    if (slice_equal(slice_trim(list), SLICE("*"))) return true;
    while (list.data && slice_next(&list, ',', &part)) {
        part = slice_trim(part);
        if (slice_starts(part, SLICE("W/"))) part = slice_sub(part, 2, part.size);
        if (slice_equal(part, etag)) return true;
    }
    return false;
}

static int64_t header_date(struct http_request *request, const char *name) {
    struct slice value = http_request_header(request, name);
    return value.data ? clock_parse_http_date(value.data, value.size) : -1;
}

/// 0, or the status that the preconditions ask for, in the order of RFC 9110, 13.2.2.
static int preconditions(struct http_request *request, struct slice etag, int64_t modified) {
    struct slice match = http_request_header(request, "if-match");
    struct slice none_match = http_request_header(request, "if-none-match");
    if (match.data) {
        if (!etag_listed(match, etag)) return 412;
    } else {
        int64_t since = header_date(request, "if-unmodified-since");
        if (since >= 0 && modified > since) return 412;
    }
    if (none_match.data) return etag_listed(none_match, etag) ? 304 : 0;
    int64_t since = header_date(request, "if-modified-since");
    return since >= 0 && modified <= since ? 304 : 0;
}

/// One byte range. 1: use it; 0: send the whole; -1: none of it exists (416).
static int parse_range(struct slice value, uint64_t size, uint64_t *from, uint64_t *length) {
    struct slice unit = SLICE("bytes=");
    if (!slice_equal_fold(slice_sub(value, 0, unit.size), unit)) return 0;
    value = slice_trim(slice_sub(value, unit.size, value.size));
    size_t dash = slice_find(value, '-', 0);
    // Several ranges at once: the whole file is a correct answer, and cannot be used to make us
    // send the same bytes a thousand times.
    if (dash == value.size || slice_find(value, ',', 0) != value.size) return 0;
    struct slice first = slice_sub(value, 0, dash), last = slice_sub(value, dash + 1, value.size);
    uint64_t a = 0, b = 0;
    if (first.size == 0) {
        if (!slice_to_u64(last, &b)) return 0;
        if (b == 0 || size == 0) return -1;
        *length = b < size ? b : size;
        *from = size - *length;
        return 1;
    }
    if (!slice_to_u64(first, &a) || (last.size && !slice_to_u64(last, &b))) return 0;
    if (last.size == 0 || b >= size) b = size ? size - 1 : 0;
    if (a >= size) return -1;
    if (b < a) return 0;
    *from = a;
    *length = b - a + 1;
    return 1;
}

static bool range_wanted(struct http_request *request, struct slice etag, int64_t modified) {
    struct slice condition = http_request_header(request, "if-range");
    if (!condition.data) return true;
    if (condition.size && condition.data[0] == '"') return slice_equal(condition, etag);
    return clock_parse_http_date(condition.data, condition.size) == modified;
}

void http_respond_file(struct http_request *request, int fd, const char *type,
                       const char *cache_control) {
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        http_respond_status(request, 404);
        return;
    }
    uint64_t size = (uint64_t)info.st_size, from = 0, length = size;
    int64_t modified = (int64_t)info.st_mtim.tv_sec;
    struct slice etag = slice_of(arena_printf(
        &request->arena, "\"%llx-%llx-%llx\"", (unsigned long long)info.st_ino,
        (unsigned long long)info.st_mtim.tv_sec * 1000000000u + (unsigned long long)info.st_mtim.tv_nsec,
        (unsigned long long)size));
    char date[CLOCK_HTTP_DATE_SIZE];
    clock_http_date(modified, date);
    http_response_header(request, SLICE("ETag"), etag);
    http_response_header(request, SLICE("Last-Modified"), slice_of(date));
    http_response_header(request, SLICE("Accept-Ranges"), SLICE("bytes"));
    if (cache_control) http_response_header(request, SLICE("Cache-Control"), slice_of(cache_control));

    int status = preconditions(request, etag, modified);
    if (status) {
        close(fd);
        if (status == 304) http_respond(request, 304, NULL, SLICE(""));
        else http_respond_status(request, status);
        return;
    }
    status = 200;
    struct slice range = http_request_header(request, "range");
    if (range.data && slice_equal(request->method, SLICE("GET")) &&
        range_wanted(request, etag, modified)) {
        int found = parse_range(range, size, &from, &length);
        if (found < 0) {
            close(fd);
            http_response_header(request, SLICE("Content-Range"),
                                 slice_of(arena_printf(&request->arena, "bytes */%llu",
                                                       (unsigned long long)size)));
            http_respond_status(request, 416);
            return;
        }
        if (found > 0) {
            status = 206;
            http_response_header(
                request, SLICE("Content-Range"),
                slice_of(arena_printf(&request->arena, "bytes %llu-%llu/%llu",
                                      (unsigned long long)from,
                                      (unsigned long long)(from + length - 1),
                                      (unsigned long long)size)));
        }
    }
    http_response_begin(request, status, type, length);
    struct http_connection *connection = request->connection;
    if (connection && !request->response->no_body) {
        connection->written += length;
        request->response->sent = length;
        socket_write_file(&connection->socket, fd, (int64_t)from, length);
    } else {
        close(fd);
    }
    http_response_end(request);
}
