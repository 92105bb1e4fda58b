#include "api/query.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-encoding and "+" for a space. NULL: all is well. */
static const char *decode(struct http_slice from, char *to, size_t max_len)
{
    size_t n = 0;
    for (size_t i = 0; i < from.len; i++) {
        char c = from.data[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < from.len ? hex_digit(from.data[i + 1]) : -1;
            int low = i + 2 < from.len ? hex_digit(from.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return "a percent sign in the query is not followed by two hexadecimal digits";
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0')
            return "the query holds a NUL character";
        if (n == max_len)
            return "the query has a name or a value that is too long";
        to[n++] = c;
    }
    to[n] = '\0';
    return NULL;
}

int query_next(struct query *q, const char **ret_fault)
{
    while (q->rest.len > 0 && *q->rest.data == '&') {
        q->rest.data++;
        q->rest.len--;
    }
    if (q->rest.len == 0)
        return 0;
    const char *from = q->rest.data, *end = memchr(from, '&', q->rest.len);
    size_t len = end ? (size_t)(end - from) : q->rest.len;
    const char *equals = memchr(from, '=', len);
    struct http_slice name = { from, equals ? (size_t)(equals - from) : len };
    struct http_slice value = { equals ? equals + 1 : from + len, equals ? len - name.len - 1 : 0 };
    q->rest.data += len;
    q->rest.len -= len;
    const char *fault = decode(name, q->name, QUERY_NAME_LEN);
    if (!fault)
        fault = decode(value, q->value, QUERY_VALUE_LEN);
    if (fault)
        *ret_fault = fault;
    return fault ? -1 : 1;
}

bool query_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
    uint64_t n = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text) || n > UINT64_MAX / 10 - 1)
            return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    if (n < least || n > most)
        return false;
    *ret = n;
    return true;
}

/* Exactly n digits; moves *text behind them. */
static bool digits(const char **text, int n, int least, int most, int *ret)
{
    int value = 0;
    for (; n > 0; n--, (*text)++) {
        if (!isdigit((unsigned char)**text))
            return false;
        value = value * 10 + (**text - '0');
    }
    *ret = value;
    return value >= least && value <= most;
}

static bool skip(const char **text, char c)
{
    bool is = (**text | (isalpha((unsigned char)c) ? 0x20 : 0)) ==
              (c | (isalpha((unsigned char)c) ? 0x20 : 0));
    *text += is;
    return is;
}

/* RFC 3339 §5.6: "Z", or a sign with hours and minutes. A "+" that nobody encoded came as a space. */
static bool zone(const char **text, int *ret_minutes)
{
    int hours, minutes;
    if (skip(text, 'Z'))
        return true;
    char sign = **text;
    if (sign != '+' && sign != '-' && sign != ' ')
        return false;
    (*text)++;
    if (!digits(text, 2, 0, 23, &hours) || !skip(text, ':') || !digits(text, 2, 0, 59, &minutes))
        return false;
    *ret_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

bool query_time(const char *text, int64_t *ret_ms)
{
    struct tm tm = { 0 };
    int year, month, minutes = 0, ms = 0;
    if (!digits(&text, 4, 1970, 9999, &year) || !skip(&text, '-') ||
        !digits(&text, 2, 1, 12, &month) || !skip(&text, '-') ||
        !digits(&text, 2, 1, 31, &tm.tm_mday) || (!skip(&text, 'T') && !skip(&text, ' ')) ||
        !digits(&text, 2, 0, 23, &tm.tm_hour) || !skip(&text, ':') ||
        !digits(&text, 2, 0, 59, &tm.tm_min) || !skip(&text, ':') ||
        !digits(&text, 2, 0, 60, &tm.tm_sec))
        return false;
    if (skip(&text, '.')) {
        if (!isdigit((unsigned char)*text))
            return false;
        for (int weight = 100; isdigit((unsigned char)*text); text++, weight /= 10)
            ms += (*text - '0') * weight;
    }
    if (!zone(&text, &minutes) || *text)
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    struct tm day = { .tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday };
    (void)timegm(&day); /* makes 2 March of 30 February: that is no date */
    if (day.tm_mday != tm.tm_mday)
        return false;
    *ret_ms = ((int64_t)timegm(&tm) - minutes * 60) * 1000 + ms;
    return true;
}
