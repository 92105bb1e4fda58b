#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 256 };

void buf_init(struct buf *b, size_t max_len)
{
    *b = (struct buf){ .max_len = max_len };
}

void buf_release(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max_len);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

void buf_drop(struct buf *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

char *buf_room(struct buf *b, size_t n)
{
    if (n > b->max_len || b->len > b->max_len - n) {
        b->failed = true;
        return NULL;
    }
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : FIRST_CAP;
        while (cap < need)
            cap *= 2;
        char *data = realloc(b->data, cap);
        if (!data) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_grew(struct buf *b, size_t n)
{
    b->len += n;
    b->data[b->len] = '\0';
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    char *room = buf_room(b, len);
    if (!room)
        return -1;
    if (len > 0)
        memcpy(room, data, len);
    buf_grew(b, len);
    return 0;
}

int buf_adds(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) {
        b->failed = true;
        return -1;
    }
    char *room = buf_room(b, (size_t)len);
    if (!room)
        return -1;
    va_start(args, fmt);
    (void)vsnprintf(room, (size_t)len + 1, fmt, args);
    va_end(args);
    buf_grew(b, (size_t)len);
    return 0;
}

/* The length of the well-formed UTF-8 sequence at s (RFC 3629 §4), 0 if there is none. */
static size_t utf8_len(const unsigned char *s, size_t len)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong_or_surrogate_or_too_high =
        (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong_or_surrogate_or_too_high ? 0 : n;
}

size_t buf_utf8_prefix(const char *s, size_t len)
{
    size_t at = 0, n;
    while (at < len && (n = utf8_len((const unsigned char *)s + at, len - at)) > 0)
        at += n;
    return at;
}

/* Of a well-formed sequence of n bytes: a character that would end or reorder a line, or command a
 * terminal: C0 and C1 controls, DEL, line and paragraph separators, marks and overrides of direction. */
static bool is_unseen(const unsigned char *s, size_t n)
{
    if (n == 1)
        return s[0] < 0x20 || s[0] == 0x7f;
    if (n == 2)
        return (s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xd8 && s[1] == 0x9c);
    return n == 3 && s[0] == 0xe2 &&
           ((s[1] == 0x80 && (s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae))) ||
            (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9));
}

/* The code point of a well-formed sequence of n < 4 bytes. */
static unsigned code_point(const unsigned char *s, size_t n)
{
    if (n == 1)
        return s[0];
    return n == 2 ? (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu)
                  : (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
}

int buf_add_json(struct buf *b, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    (void)buf_add(b, "\"", 1);
    size_t from = 0, i = 0; /* [from, i) is to be copied as it is */
    while (i < len) {
        size_t n = utf8_len(p + i, len - i);
        if (n > 0 && !is_unseen(p + i, n) && p[i] != '"' && p[i] != '\\') {
            i += n;
            continue;
        }
        (void)buf_add(b, s + from, i - from);
        if (n == 0)
            (void)buf_adds(b, "\xef\xbf\xbd");
        else if (p[i] == '"' || p[i] == '\\')
            (void)buf_addf(b, "\\%c", p[i]);
        else if (p[i] == '\n')
            (void)buf_adds(b, "\\n");
        else
            (void)buf_addf(b, "\\u%04x", code_point(p + i, n));
        i += n > 0 ? n : 1;
        from = i;
    }
    (void)buf_add(b, s + from, i - from);
    return buf_add(b, "\"", 1) < 0 || b->failed ? -1 : 0;
}

static const char *html_reference(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return c < 0x20 || c == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

int buf_add_html(struct buf *b, const char *s, size_t len)
{
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        const char *reference = html_reference((unsigned char)s[i]);
        if (!reference)
            continue;
        (void)buf_add(b, s + from, i - from);
        (void)buf_adds(b, reference);
        from = i + 1;
    }
    (void)buf_add(b, s + from, len - from);
    return b->failed ? -1 : 0;
}
