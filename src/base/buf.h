#ifndef BASE_BUF_H
#define BASE_BUF_H
/* buf: bytes that grow, up to a limit given at birth. An append that fails (no memory, or over the
 * limit) leaves the content as it was and marks the buffer: a caller may append many times and ask
 * buf_failed() once. The content is always followed by a NUL that does not count. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL while nothing was appended */
    size_t len, cap, max_len;
    bool failed;
};

void buf_init(struct buf *b, size_t max_len);
/* Free the memory; the buffer is as after buf_init(). */
void buf_release(struct buf *b);
/* Forget the content and the failure, keep the memory. */
void buf_clear(struct buf *b);
/* Drop the first n bytes. */
void buf_drop(struct buf *b, size_t n);
static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}
/* The content as a string: "" while empty. Valid until the next append. */
const char *buf_str(const struct buf *b);

/* Room for at least n more bytes: where to write them, or NULL. Then buf_grew(n) counts them. */
char *buf_room(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t n);

int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* How many bytes of s are well-formed UTF-8 (RFC 3629 §4) before the first that is not. */
size_t buf_utf8_prefix(const char *s, size_t len);
/* s as a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD; controls, separators of
 * lines and marks of direction are escaped, so that it is safe to show on a terminal. */
int buf_add_json(struct buf *b, const char *s, size_t len);
/* s with & < > " ' as character references; control characters as U+FFFD. */
int buf_add_html(struct buf *b, const char *s, size_t len);
#endif
