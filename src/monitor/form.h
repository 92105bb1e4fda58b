#ifndef MONITOR_FORM_H
#define MONITOR_FORM_H
/* form: application/x-www-form-urlencoded, of queries and of posted forms (WHATWG URL §5). */
#include <stdbool.h>
#include <stddef.h>

#include "http/http.h"

enum form_result { FORM_ABSENT, FORM_FOUND, FORM_INVALID };

/* The whole of text, decoded; as form_value() has it. */
enum form_result form_decode(struct http_slice text, char *ret, size_t cap);
/* The first field of this name, decoded. FORM_INVALID: it is longer than cap - 1 bytes or holds a NUL. */
enum form_result form_value(struct http_slice form, const char *name, char *ret, size_t cap);
/* Append text percent-encoded: what is left of it is unreserved (RFC 3986 §2.3). */
void form_encode(struct buf *out, const char *text);
#endif
