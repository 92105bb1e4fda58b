#ifndef API_PROBLEM_H
#define API_PROBLEM_H
/* problem: error answers as application/problem+json (RFC 9457). */
#include "base/buf.h"

extern const char problem_type[]; /* the content type */
/* Append the document. faults: a JSON array for its member "errors", or NULL. */
void problem_write(int status, const char *detail, const char *faults, struct buf *body);
/* The same as struct http_app wants it: returns the content type. */
const char *problem_of_server(int status, const char *detail, struct buf *body);
/* The reason phrase of RFC 9110 §15 for the statuses that this service gives. */
const char *problem_title(int status);
#endif
