#include "store/attempt_log.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_LEN = 20, NONE = 0xffff };

static void put_le(uint8_t *out, uint64_t value, int len)
{
    for (int i = 0; i < len; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *in, int len)
{
    uint64_t value = 0;
    for (int i = 0; i < len; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

static size_t text_len(const uint8_t *len)
{
    uint64_t n = get_le(len, 2);
    return n == NONE ? 0 : (size_t)n;
}

/* Length of the first attempt in data; 0: there is none. */
static size_t first_len(const uint8_t *data, size_t len)
{
    if (len < HEAD_LEN)
        return 0;
    size_t n = HEAD_LEN + text_len(data + 16) + text_len(data + 18);
    return n <= len ? n : 0;
}

void attempt_log_init(struct buf *log)
{
    buf_init(log, ATTEMPT_LOG_MAX + ATTEMPT_LOG_MAX / ATTEMPTS_MAX);
}

int attempt_log_add(struct buf *log, const struct attempt *attempt)
{
    size_t error_len = attempt->error ? strnlen(attempt->error, ATTEMPT_ERROR_MAX) : 0;
    size_t answer_len = attempt->answer_len < ANSWER_MAX ? attempt->answer_len : ANSWER_MAX;
    uint8_t head[HEAD_LEN];
    if (!attempt->answer)
        answer_len = 0;
    put_le(head, (uint64_t)attempt->at_ms, 8);
    put_le(head + 8, (uint32_t)attempt->http_status, 4);
    put_le(head + 12, (uint32_t)attempt->duration_ms, 4);
    put_le(head + 16, attempt->error ? error_len : NONE, 2);
    put_le(head + 18, attempt->answer ? answer_len : NONE, 2);
    (void)buf_add(log, head, sizeof(head));
    (void)buf_add(log, attempt->error, error_len);
    (void)buf_add(log, attempt->answer, answer_len);
    if (buf_failed(log))
        return -1;
    size_t n = 0, one;
    for (size_t at = 0; (one = first_len((uint8_t *)log->data + at, log->len - at)); at += one)
        n++;
    for (; n > ATTEMPTS_MAX; n--)
        buf_drop(log, first_len((uint8_t *)log->data, log->len));
    return 0;
}

/* A copy of len bytes and a NUL. */
static int copy_text(const uint8_t *text, size_t len, char **ret_copy)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *ret_copy = copy;
    return 0;
}

static int read_one(const uint8_t *data, struct attempt *out)
{
    size_t error_len = text_len(data + 16), answer_len = text_len(data + 18);
    *out = (struct attempt){
        .at_ms = (int64_t)get_le(data, 8),
        .http_status = (int)(int32_t)get_le(data + 8, 4),
        .duration_ms = (int)(int32_t)get_le(data + 12, 4),
    };
    if (get_le(data + 16, 2) != NONE && copy_text(data + HEAD_LEN, error_len, &out->error) < 0)
        return -1;
    if (get_le(data + 18, 2) == NONE)
        return 0;
    out->answer_len = answer_len;
    return copy_text(data + HEAD_LEN + error_len, answer_len, &out->answer);
}

int attempt_log_read(const void *data, size_t len, struct attempt **ret_attempts, size_t *ret_n)
{
    struct attempt *attempts = calloc(ATTEMPTS_MAX, sizeof(*attempts));
    const uint8_t *at = data;
    size_t n = 0, one;
    if (!attempts)
        return -1;
    for (; n < ATTEMPTS_MAX && (one = first_len(at, len)); at += one, len -= one) {
        if (read_one(at, &attempts[n++]) < 0) {
            struct event_view partial = { .log = attempts, .n_log = n };
            event_view_release(&partial);
            return -1;
        }
    }
    *ret_attempts = attempts;
    *ret_n = n;
    return 0;
}
