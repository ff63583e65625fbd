#include "http/parser.h"

#include <ctype.h>
#include <llhttp.h>

static const char token_table[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1,  ['|'] = 1, ['~'] = 1, ['0'] = 1,
    ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1,  ['6'] = 1, ['7'] = 1, ['8'] = 1,
    ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1,  ['E'] = 1, ['F'] = 1, ['G'] = 1,
    ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1,  ['M'] = 1, ['N'] = 1, ['O'] = 1,
    ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1,  ['U'] = 1, ['V'] = 1, ['W'] = 1,
    ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1,  ['c'] = 1, ['d'] = 1, ['e'] = 1,
    ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1,  ['k'] = 1, ['l'] = 1, ['m'] = 1,
    ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1,  ['s'] = 1, ['t'] = 1, ['u'] = 1,
    ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

bool http_is_token(struct slice s) {
    for (size_t i = 0; i < s.size; i++)
        if (!token_table[(unsigned char)s.data[i]]) return false;
    return s.size > 0;
}

bool http_list_has(struct slice list, const char *token) {
    struct slice part;
    while (slice_next(&list, ',', &part))
        if (slice_equal_fold(slice_trim(part), slice_of(token))) return true;
    return false;
}

static int too_large(const struct http_scan *scan) { return scan->lines == 0 ? -414 : -431; }

int http_scan_head(struct http_scan *scan, const char *data, size_t size,
                   const struct http_limits *limits) {
    size_t most = size < limits->head_size ? size : limits->head_size;
    while (scan->seen < most) {
        const char *end = memchr(data + scan->seen, '\n', most - scan->seen);
        if (!end) {
            scan->seen = (uint32_t)most;
            break;
        }
        const char *line = data + scan->line;
        size_t length = (size_t)(end - line);
        // A line is whatever stands before CRLF; each of these has been used to make two parsers
        // see two different messages.
        if (length == 0 || end[-1] != '\r') return -400; // bare LF
        length--;
        if (memchr(line, '\r', length) || memchr(line, 0, length)) return -400;
        if (length == 0) {
            if (scan->lines == 0) return -400;
            return (int)(end + 1 - data);
        }
        if (line[0] == ' ' || line[0] == '\t') return -400; // folded, or before the method
        if (scan->lines++ > limits->header_count) return -431;
        scan->seen = scan->line = (uint32_t)(end + 1 - data);
    }
    if (size >= limits->head_size) return too_large(scan);
    return 0;
}

struct head_parse {
    llhttp_t parser;
    struct http_request *request;
    size_t most;
};

static int on_url(llhttp_t *parser, const char *at, size_t size) {
    struct head_parse *parse = parser->data;
    parse->request->target = slice_make(at, size);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t size) {
    struct head_parse *parse = parser->data;
    struct http_request *request = parse->request;
    if (request->header_count == parse->most) return HPE_USER;
    struct http_header *header = &request->headers[request->header_count++];
    header->name = slice_make(at, size);
    header->value = SLICE("");
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size) {
    struct head_parse *parse = parser->data;
    if (parse->request->header_count == 0) return HPE_USER;
    // The scan has refused folded lines, so each value comes in one piece.
    parse->request->headers[parse->request->header_count - 1].value =
        slice_trim(slice_make(at, size));
    return 0;
}

static int on_headers_complete(llhttp_t *parser) {
    (void)parser;
    return HPE_PAUSED; // bodies are read by chunked.c and connection.c
}

static const llhttp_settings_t head_settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

static int refuse(const char **reason, int status, const char *why) {
    *reason = why;
    return status;
}

enum header_kind { HEADER_LIST, HEADER_ONCE, HEADER_COOKIE };

/// What a second line of the same name means. Lists may be joined (RFC 9110, 5.3); for the others
/// a second value is a contradiction, and which one counts depends on who reads.
static enum header_kind header_kind(struct slice name) {
    static const char *const once[] = {
        "host", "content-length", "transfer-encoding", "content-type", "authorization", "expect",
        "origin", "referer", "user-agent", "range", "if-range", "if-modified-since",
        "if-unmodified-since", "sec-websocket-key", "sec-websocket-version", "from", "date",
        "max-forwards", "proxy-authorization", "x-forwarded-proto", "content-range", "location",
    };
    if (slice_equal(name, SLICE("cookie"))) return HEADER_COOKIE;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (slice_equal(name, slice_of(once[i]))) return HEADER_ONCE;
    return HEADER_LIST;
}

static bool fold_headers(struct http_request *request) {
    size_t kept = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        struct http_header header = request->headers[i];
        if (!http_is_token(header.name)) return false; // llhttp lets an empty name pass
        char *name = (char *)header.name.data; // in the arena: ours
        for (size_t c = 0; c < header.name.size; c++) name[c] = (char)tolower((unsigned char)name[c]);
        size_t before = 0;
        while (before < kept && !slice_equal(request->headers[before].name, header.name)) before++;
        if (before == kept) {
            request->headers[kept++] = header;
            continue;
        }
        enum header_kind kind = header_kind(header.name);
        if (kind == HEADER_ONCE) return false;
        struct slice first = request->headers[before].value;
        request->headers[before].value = slice_of(
            arena_printf(&request->arena, "%.*s%s%.*s", SLICE_FORMAT(first),
                         kind == HEADER_COOKIE ? "; " : ", ", SLICE_FORMAT(header.value)));
    }
    request->header_count = kept;
    return true;
}

static bool host_valid(struct slice host) {
    size_t at = 0;
    if (host.size == 0 || host.size > 255) return false;
    if (host.data[0] == '[') {
        at = slice_find(host, ']', 0);
        if (at == host.size || at < 3) return false;
        for (size_t i = 1; i < at; i++)
            if (!isxdigit((unsigned char)host.data[i]) && host.data[i] != ':' && host.data[i] != '.')
                return false;
        at++;
    } else {
        while (at < host.size && host.data[at] != ':') {
            unsigned char c = (unsigned char)host.data[at];
            if (!isalnum(c) && c != '-' && c != '.' && c != '_') return false;
            at++;
        }
        if (at == 0) return false;
    }
    if (at == host.size) return true;
    uint64_t port;
    struct slice digits = slice_sub(host, at + 1, host.size);
    return host.data[at] == ':' && digits.size <= 5 && slice_to_u64(digits, &port) && port <= 65535;
}

/// Splits the target; absolute form becomes origin form.
static int parse_target(struct http_request *request, const char **reason) {
    struct slice target = request->target;
    for (size_t i = 0; i < target.size; i++) {
        unsigned char c = (unsigned char)target.data[i];
        if (c <= ' ' || c >= 0x7f || c == '#') return refuse(reason, 400, "bad byte in target");
    }
    if (slice_equal(target, SLICE("*"))) {
        if (!slice_equal(request->method, SLICE("OPTIONS")))
            return refuse(reason, 400, "asterisk target");
        request->path = target;
        return 0;
    }
    if (target.size && target.data[0] != '/') {
        struct slice scheme = SLICE("http://");
        if (!slice_equal_fold(slice_sub(target, 0, scheme.size), scheme)) scheme = SLICE("https://");
        if (!slice_equal_fold(slice_sub(target, 0, scheme.size), scheme))
            return refuse(reason, 400, "bad target");
        target = slice_sub(target, scheme.size, target.size);
        size_t end = 0;
        while (end < target.size && target.data[end] != '/' && target.data[end] != '?') end++;
        struct slice authority = slice_sub(target, 0, end);
        if (!host_valid(authority)) return refuse(reason, 400, "bad authority");
        // Two places that name a host must agree, or a cache and we would store each other's pages.
        if (request->host.size && !slice_equal_fold(authority, request->host))
            return refuse(reason, 400, "target and Host differ");
        request->host = authority;
        target = slice_sub(target, end, target.size);
        if (target.size == 0) target = SLICE("/");
        else if (target.data[0] == '?')
            target = slice_of(arena_printf(&request->arena, "/%.*s", SLICE_FORMAT(target)));
        request->target = target;
    }
    if (target.size == 0) return refuse(reason, 400, "empty target");
    size_t mark = slice_find(target, '?', 0);
    request->path = slice_sub(target, 0, mark);
    request->query = slice_sub(target, mark + 1, target.size);
    return 0;
}

static int parse_framing(struct http_request *request, const char **reason) {
    struct slice length = http_request_header(request, "content-length");
    struct slice coding = http_request_header(request, "transfer-encoding");
    if (coding.data) {
        if (length.data) return refuse(reason, 400, "both Content-Length and Transfer-Encoding");
        if (request->http10) return refuse(reason, 400, "Transfer-Encoding on 1.0");
        if (!slice_equal_fold(coding, SLICE("chunked")))
            return refuse(reason, 501, "unknown transfer coding");
        request->has_body = true;
        request->content_length = UINT64_MAX;
    } else if (length.data) {
        if (!slice_to_u64(length, &request->content_length) ||
            request->content_length >= INT64_MAX)
            return refuse(reason, 400, "bad Content-Length");
        request->has_body = request->content_length > 0;
    } else if (request->http10 && (slice_equal(request->method, SLICE("POST")) ||
                                   slice_equal(request->method, SLICE("PUT")))) {
        return refuse(reason, 411, "no length on 1.0");
    }
    struct slice expect = http_request_header(request, "expect");
    if (expect.data && !slice_equal_fold(expect, SLICE("100-continue")))
        return refuse(reason, 417, "unknown expectation");
    return 0;
}

/// METHOD SP TARGET SP HTTP/1.x, exactly. llhttp also takes RTSP, several spaces and no version.
static int parse_request_line(struct http_request *request, struct slice head, const char **reason) {
    struct slice line = slice_sub(head, 0, slice_find(head, '\r', 0)), version;
    size_t first = slice_find(line, ' ', 0), second = slice_find(line, ' ', first + 1);
    request->method = slice_sub(line, 0, first);
    if (!http_is_token(request->method) || request->method.size > 32 || second == line.size)
        return refuse(reason, 400, "bad request line");
    version = slice_sub(line, second + 1, line.size);
    if (version.size != 8 || !slice_starts(version, SLICE("HTTP/")) || version.data[6] != '.' ||
        !isdigit((unsigned char)version.data[5]) || !isdigit((unsigned char)version.data[7]))
        return refuse(reason, 400, "bad version");
    if (version.data[5] != '1' || version.data[7] > '1')
        return refuse(reason, 505, "unknown version");
    request->http10 = version.data[7] == '0';
    if (second == first + 1) return refuse(reason, 400, "empty target");
    return 0;
}

/// Lines between the request line and the empty line: folded ones are refused, so one a header.
static size_t header_lines(struct slice head) {
    size_t lines = 0;
    for (size_t at = slice_find(head, '\n', 0); at < head.size; at = slice_find(head, '\n', at + 1))
        lines++;
    return lines > 2 ? lines - 2 : 0;
}

int http_parse_head(struct http_request *request, char *head, size_t size,
                    const struct http_limits *limits, const char **reason) {
    struct slice all = slice_make(head, size);
    int status = parse_request_line(request, all, reason);
    if (status) return status;
    struct head_parse parse = {.request = request, .most = header_lines(all)};
    if (parse.most > limits->header_count) return refuse(reason, 431, "too many headers");
    request->headers = arena_alloc(&request->arena, sizeof(struct http_header) * (parse.most + 1));
    llhttp_init(&parse.parser, HTTP_REQUEST, &head_settings);
    parse.parser.data = &parse;
    llhttp_errno_t error = llhttp_execute(&parse.parser, head, size);
    if (error == HPE_INVALID_METHOD) return refuse(reason, 501, "unknown method");
    if (error != HPE_PAUSED) return refuse(reason, 400, llhttp_errno_name(error));

    if (request->target.size > limits->target_size) return refuse(reason, 414, "target too long");
    if (parse.parser.method == HTTP_CONNECT || parse.parser.method == HTTP_TRACE)
        return refuse(reason, 405, "method not served");
    for (size_t i = 0; i < request->header_count; i++)
        if (request->headers[i].name.size > 256) return refuse(reason, 431, "header name too long");
    if (!fold_headers(request)) return refuse(reason, 400, "bad or repeated header");

    request->host = http_request_header(request, "host");
    if (!request->host.data && !request->http10) return refuse(reason, 400, "no Host");
    if (request->host.data && !host_valid(request->host)) return refuse(reason, 400, "bad Host");
    status = parse_target(request, reason);
    if (!status) status = parse_framing(request, reason);
    if (status) return status;

    struct slice options = http_request_header(request, "connection");
    request->keep_alive = request->http10 ? http_list_has(options, "keep-alive") &&
                                                !http_list_has(options, "close")
                                          : !http_list_has(options, "close");
    request->upgrade = !request->http10 && http_list_has(options, "upgrade") &&
                       http_request_header(request, "upgrade").data != NULL;
    return 0;
}
