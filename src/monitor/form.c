#include "monitor/form.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of s at *i, which moves on. A "%" that begins no byte is itself. */
static char decoded(const char *s, size_t len, size_t *i)
{
    char c = s[(*i)++];
    if (c == '+')
        return ' ';
    if (c == '%' && *i + 1 < len && hex(s[*i]) >= 0 && hex(s[*i + 1]) >= 0) {
        c = (char)(hex(s[*i]) << 4 | hex(s[*i + 1]));
        *i += 2;
    }
    return c;
}

enum form_result form_decode(struct http_slice text, char *ret, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        char c = decoded(text.data, text.len, &i);
        if (c == '\0' || n + 1 == cap)
            return FORM_INVALID;
        ret[n++] = c;
    }
    ret[n] = '\0';
    return FORM_FOUND;
}

enum form_result form_value(struct http_slice form, const char *name, char *ret, size_t cap)
{
    size_t name_len = strlen(name);
    while (form.len > 0) {
        const char *end = memchr(form.data, '&', form.len);
        size_t len = end ? (size_t)(end - form.data) : form.len;
        if (len > name_len && form.data[name_len] == '=' && memcmp(form.data, name, name_len) == 0)
            return form_decode((struct http_slice){ form.data + name_len + 1, len - name_len - 1 },
                               ret, cap);
        form.data += len + (end != NULL);
        form.len -= len + (end != NULL);
    }
    return FORM_ABSENT;
}

void form_encode(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 0x80 && isalnum(c)) || strchr("-._~", c))
            (void)buf_add(out, text, 1);
        else
            (void)buf_addf(out, "%%%02X", c);
    }
}
