#include "client/response.h"

#include <string.h>
#include <strings.h>

enum state { STATUS_LINE, FIELDS, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS };

enum { MAX_CHUNK_DIGITS = 15 };

struct text {
    const char *at;
    size_t len;
};

void response_init(struct response *r, char *keep, size_t keep_len)
{
    *r = (struct response){ .keep = keep, .keep_len = keep_len, .state = STATUS_LINE };
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool equals(struct text t, const char *word)
{
    return t.len == strlen(word) && strncasecmp(t.at, word, t.len) == 0;
}

/* "HTTP/1." DIGIT SP 3DIGIT [SP reason] */
static enum response_result read_status_line(struct response *r, struct text line)
{
    static const char version[] = "HTTP/1.";
    const size_t digit = sizeof(version) - 1, code = digit + 2;
    if (line.len < code + 3 || memcmp(line.at, version, digit) != 0 || !is_digit(line.at[digit]) ||
        line.at[digit + 1] != ' ' || (line.len > code + 3 && line.at[code + 3] != ' '))
        return RESPONSE_INVALID;
    r->status = 0;
    for (size_t i = code; i < code + 3; i++) {
        if (!is_digit(line.at[i]))
            return RESPONSE_INVALID;
        r->status = r->status * 10 + line.at[i] - '0';
    }
    if (r->status < 100)
        return RESPONSE_INVALID;
    r->old = line.at[digit] == '0';
    r->state = FIELDS;
    return RESPONSE_MORE;
}

/* The next word of a list with commas. false: there is none. */
static bool next_word(struct text *list, struct text *ret_word)
{
    while (list->len > 0 && (is_space(*list->at) || *list->at == ',')) {
        list->at++;
        list->len--;
    }
    const char *end = list->len > 0 ? memchr(list->at, ',', list->len) : NULL;
    struct text word = { list->at, end ? (size_t)(end - list->at) : list->len };
    list->at += word.len;
    list->len -= word.len;
    while (word.len > 0 && is_space(word.at[word.len - 1]))
        word.len--;
    *ret_word = word;
    return word.len > 0;
}

static enum response_result read_length(struct response *r, struct text value)
{
    struct text word;
    bool any = false;
    /* the same number twice is how some proxies join two fields */
    for (; next_word(&value, &word); any = true) {
        uint64_t length = 0;
        if (word.len > 18)
            return RESPONSE_INVALID;
        for (size_t i = 0; i < word.len; i++) {
            if (!is_digit(word.at[i]))
                return RESPONSE_INVALID;
            length = length * 10 + (uint64_t)(word.at[i] - '0');
        }
        if (r->has_length && length != r->left)
            return RESPONSE_INVALID;
        r->has_length = true;
        r->left = length;
    }
    return any ? RESPONSE_MORE : RESPONSE_INVALID;
}

static void read_connection(struct response *r, struct text value)
{
    struct text word;
    while (next_word(&value, &word)) {
        if (equals(word, "close"))
            r->close = true;
        else if (equals(word, "keep-alive"))
            r->keep_alive = true;
    }
}

static enum response_result read_field(struct response *r, struct text line, bool whole)
{
    if (is_space(line.at[0])) /* a line that goes on: of no use to us, but dangerous behind these */
        return r->framing ? RESPONSE_INVALID : RESPONSE_MORE;
    const char *colon = memchr(line.at, ':', line.len);
    if (!colon)
        return whole ? RESPONSE_INVALID : RESPONSE_MORE;
    struct text name = { line.at, (size_t)(colon - line.at) };
    struct text value = { colon + 1, line.len - name.len - 1 };
    while (value.len > 0 && is_space(*value.at)) {
        value.at++;
        value.len--;
    }
    while (value.len > 0 && is_space(value.at[value.len - 1]))
        value.len--;
    while (name.len > 0 && is_space(name.at[name.len - 1]))
        name.len--; /* no space belongs there, but some send it: RFC 9112 §5.1 */
    bool length = equals(name, "content-length"), coding = equals(name, "transfer-encoding");
    r->framing = length || coding;
    if (r->framing && !whole)
        return RESPONSE_INVALID;
    if (length)
        return read_length(r, value);
    if (coding) {
        struct text word, last_word = { NULL, 0 };
        while (next_word(&value, &word))
            last_word = word;
        r->coded = true;
        r->chunked = equals(last_word, "chunked");
    } else if (equals(name, "connection")) {
        read_connection(r, value);
        r->close |= !whole; /* it may be said further on */
    } else if (equals(name, "retry-after") && whole && value.len < sizeof(r->retry_after)) {
        memcpy(r->retry_after, value.at, value.len); /* no date is longer */
        r->retry_after[value.len] = '\0';
    }
    return RESPONSE_MORE;
}

static enum response_result ended(const struct response *r)
{
    return r->last ? RESPONSE_LAST : RESPONSE_DONE;
}

static enum response_result end_of_fields(struct response *r)
{
    if (r->status < 200 && r->status != 101) { /* informational: the final one follows, */
        r->state = STATUS_LINE;                /* and these fields were not its own */
        r->close = r->keep_alive = r->chunked = r->coded = r->has_length = r->framing = false;
        r->retry_after[0] = '\0';
        return RESPONSE_MORE;
    }
    r->final = true;
    if (r->status == 101) /* to a protocol that nobody asked for */
        return RESPONSE_LAST;
    r->last = r->close || (r->old && !r->keep_alive);
    if (r->status == 204 || r->status == 304) { /* no body, whatever they say; but some send it */
        r->last |= r->coded || (r->status == 204 && r->has_length && r->left > 0);
        return ended(r);
    }
    if (r->chunked) {
        /* Both: somebody may have counted otherwise. And HTTP/1.0 has no chunks. */
        r->last |= r->has_length || r->old;
        r->state = CHUNK_SIZE;
        return RESPONSE_MORE;
    }
    r->state = BODY;
    if (r->coded || !r->has_length) {
        r->left = UINT64_MAX;
        r->last = true;
    }
    return r->left > 0 ? RESPONSE_MORE : ended(r);
}

static enum response_result read_chunk_size(struct response *r, struct text line)
{
    size_t n = 0;
    r->left = 0;
    for (; n < line.len; n++) {
        char c = line.at[n];
        int digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            break;
        if (n == MAX_CHUNK_DIGITS)
            return RESPONSE_LAST;
        r->left = r->left * 16 + (uint64_t)digit;
    }
    if (n == 0 || (n < line.len && line.at[n] != ';' && !is_space(line.at[n])))
        return RESPONSE_LAST; /* the status is known */
    r->state = r->left > 0 ? CHUNK : TRAILERS;
    return RESPONSE_MORE;
}

/* line: without its end; whole: nothing of it is missing. */
static enum response_result read_line(struct response *r, struct text line, bool whole)
{
    if (!r->final && line.len > 0 && memchr(line.at, '\0', line.len))
        return RESPONSE_INVALID;
    switch ((enum state)r->state) {
    case STATUS_LINE:
        return read_status_line(r, line);
    case FIELDS:
        return line.len == 0 ? end_of_fields(r) : read_field(r, line, whole);
    case CHUNK_SIZE:
        return read_chunk_size(r, line);
    case CHUNK_END:
        r->state = CHUNK_SIZE;
        return line.len == 0 ? RESPONSE_MORE : RESPONSE_LAST;
    case TRAILERS:
        return line.len > 0 ? RESPONSE_MORE : ended(r);
    case BODY:
    case CHUNK:
        break;
    }
    return RESPONSE_INVALID;
}

static bool may_begin_status_line(const char *line, size_t len)
{
    static const char version[] = "HTTP/1.";
    return memcmp(line, version, len < sizeof(version) - 1 ? len : sizeof(version) - 1) == 0;
}

/* Up to the end of a line, which may lie in a later piece; *ret_n: how many bytes were taken. */
static enum response_result feed_line(struct response *r, const char *data, size_t len,
                                      size_t *ret_n)
{
    const char *end = memchr(data, '\n', len);
    size_t n = end ? (size_t)(end - data) + 1 : len;
    const char *at = data;
    *ret_n = n;
    if (!end || r->line_len > 0) { /* it comes in pieces */
        if (r->line_len < sizeof(r->line)) {
            size_t room = sizeof(r->line) - r->line_len;
            memcpy(r->line + r->line_len, data, n < room ? n : room);
        }
        at = r->line;
    }
    r->header_len += n;
    r->line_len += n;
    bool whole = r->line_len <= sizeof(r->line);
    struct text line = { at, whole ? r->line_len : sizeof(r->line) };
    if (r->state == STATUS_LINE && !may_begin_status_line(line.at, line.len))
        return RESPONSE_INVALID; /* also of one that never ends */
    if (r->header_len > RESPONSE_MAX_HEADER)
        return r->final ? RESPONSE_LAST : RESPONSE_TOO_LARGE;
    if (!end)
        return RESPONSE_MORE;
    r->line_len = 0;
    if (whole) /* without CR LF, or LF alone */
        line.len -= line.len > 1 && line.at[line.len - 2] == '\r' ? 2 : 1;
    return read_line(r, line, whole);
}

static enum response_result feed_body(struct response *r, const char *data, size_t len,
                                      size_t *ret_n)
{
    size_t n = r->left < len ? (size_t)r->left : len, allowed = RESPONSE_MAX_BODY + 1 - r->body_len;
    n = n < allowed ? n : allowed;
    if (r->body_len < r->keep_len) {
        size_t room = r->keep_len - r->body_len;
        memcpy(r->keep + r->body_len, data, n < room ? n : room);
    }
    *ret_n = n;
    r->body_len += n;
    if (r->left != UINT64_MAX)
        r->left -= n;
    if (r->body_len > RESPONSE_MAX_BODY)
        return RESPONSE_LAST;
    if (r->left > 0)
        return RESPONSE_MORE;
    if (r->state == CHUNK) {
        r->state = CHUNK_END;
        return RESPONSE_MORE;
    }
    return ended(r);
}

enum response_result response_feed(struct response *r, const char *data, size_t len)
{
    enum response_result result = RESPONSE_MORE;
    while (len > 0 && result == RESPONSE_MORE) {
        size_t n;
        result = r->state == BODY || r->state == CHUNK ? feed_body(r, data, len, &n)
                                                       : feed_line(r, data, len, &n);
        data += n;
        len -= n;
    }
    /* What nobody asked for could be taken for the next response. */
    return result == RESPONSE_DONE && len > 0 ? RESPONSE_LAST : result;
}

enum response_result response_end(const struct response *r)
{
    return r->final ? RESPONSE_LAST : RESPONSE_INVALID;
}
