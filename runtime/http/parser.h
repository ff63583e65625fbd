#ifndef FOOTLIGHT_HTTP_PARSER_H
#define FOOTLIGHT_HTTP_PARSER_H
#include "http/server.h"

/// Reading a request head in two steps. The scan finds the end of the head in bytes that may come
/// one at a time, and refuses what no head may contain (NUL, bare CR or LF, folded lines). The
/// parse then runs llhttp once over the whole head, so a parser lives on the stack for the time of
/// one call and a waiting connection owns none.
struct http_scan {
    uint32_t seen; ///< bytes already searched
    uint32_t line; ///< start of the line being read
    uint32_t lines;
};

/// `data` is the head from its first byte; call again with more. Returns 0 if more is needed, the
/// size of the head (through its empty line) when it is complete, or minus the status to refuse it
/// with. All zero is the start.
int http_scan_head(struct http_scan *scan, const char *data, size_t size,
                   const struct http_limits *limits);

/// Parses a complete head. `head` must live on the request's arena: the slices point into it, and
/// header names are put in lower case in place. Returns 0 or the status to refuse it with; *reason
/// is then a short static text for the log.
int http_parse_head(struct http_request *request, char *head, size_t size,
                    const struct http_limits *limits, const char **reason);

/// True if the comma-separated list holds the token (any case).
bool http_list_has(struct slice list, const char *token);
bool http_is_token(struct slice s); ///< RFC 9110, 5.6.2
#endif
