#ifndef API_QUERY_H
#define API_QUERY_H
/* query: the parameters behind "?" (application/x-www-form-urlencoded), and what values mean. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/http.h"

enum { QUERY_NAME_LEN = 32, QUERY_VALUE_LEN = 8 * 1024 };

struct query {
    struct http_slice rest;        /* not read yet: begin with the request's query */
    char name[QUERY_NAME_LEN + 1]; /* decoded, as is value */
    char value[QUERY_VALUE_LEN + 1];
};
/* 1: name and value are the next parameter's. 0: there is none left. -1: it is malformed, or longer than
 * any of ours, and *ret_fault says so. */
int query_next(struct query *q, const char **ret_fault);

/* A whole number from least to most, in digits. */
bool query_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret);
/* RFC 3339 date-time ("2026-11-24T08:00:00.5+01:00"), as ms since 1970. */
bool query_time(const char *text, int64_t *ret_ms);
#endif
