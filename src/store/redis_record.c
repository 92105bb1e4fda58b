#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "store/redis.h"

enum { RECORD_TEXTS = 1 + NOTIFY_COUNT };

static int damaged(struct err *err)
{
    return err_set(err, ERR_IO, "a record in Redis makes no sense");
}

/* The number that *at begins with; *at is behind it and one space then. */
static bool take_number(const char **at, int64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoll(*at, &end, 10);
    if (end == *at || errno != 0 || (*end != ' ' && *end != '\0'))
        return false;
    *at = *end ? end + 1 : end;
    return true;
}

static bool take_numbers(const char **at, int64_t ret[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!take_number(at, &ret[i]))
            return false;
    return true;
}

int redis_asset_read(const char *text, struct redis_asset *ret, struct err *err)
{
    int64_t head[3], tail[6];
    const char *at = text;
    if (!take_numbers(&at, head, 3) || head[0] < ASSET_QUEUED || head[0] > ASSET_FAILED)
        return damaged(err);
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        if (at[i] < '0' || at[i] > '0' + URL_OFF)
            return damaged(err);
        ret->url_states[i] = (enum url_state)(at[i] - '0');
    }
    at += NOTIFY_COUNT;
    if (*at++ != ' ' || !take_numbers(&at, tail, 6))
        return damaged(err);
    ret->state = (enum asset_state)head[0];
    ret->run = (unsigned)head[1];
    ret->attempts = (unsigned)head[2];
    ret->accepted_ms = tail[0];
    ret->started_ms = tail[1];
    ret->ended_ms = tail[2];
    ret->since_ms = tail[3];
    ret->deaths = (unsigned)tail[4];
    ret->codes = (uint32_t)tail[5];
    return 0;
}

int redis_event_read(const char *text, struct redis_event *ret, struct err *err)
{
    int64_t n[8];
    const char *at = text;
    if (!take_numbers(&at, n, ARRAY_LEN(n)) || n[0] < EVENT_WAITING || n[0] > EVENT_OFF ||
        n[1] < NOTIFY_START || n[1] > NOTIFY_FAILURE)
        return damaged(err);
    *ret = (struct redis_event){ .state = (enum event_state)n[0],
                                 .notify = (enum notify)n[1],
                                 .due_ms = n[2],
                                 .attempts = (unsigned)n[3],
                                 .created_ms = n[4],
                                 .last_ms = n[5],
                                 .http_status = (int)n[6],
                                 .duration_ms = (int)n[7],
                                 .error = at };
    return 0;
}

void redis_urls_write(const enum url_state states[NOTIFY_COUNT], char out[NOTIFY_COUNT + 1])
{
    for (int i = 0; i < NOTIFY_COUNT; i++)
        out[i] = (char)('0' + states[i]);
    out[NOTIFY_COUNT] = '\0';
}

/* Against zeros and cuts, not against people. */
static uint32_t checksum(const char *data, size_t len)
{
    return fnv1a(FNV1A_BEGIN, data, len);
}

static void add_u32(struct buf *out, uint32_t value)
{
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    (void)buf_add(out, bytes, sizeof(bytes));
}

static uint32_t get_u32(const char *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)(uint8_t)at[i] << (8 * i);
    return value;
}

/* Length and one more, and the bytes; 0: there is none. */
static void add_text(struct buf *out, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    add_u32(out, text ? (uint32_t)len + 1 : 0);
    if (len)
        (void)buf_add(out, text, len);
}

void redis_path_write(const char *path, struct buf *out)
{
    add_text(out, path);
}

void redis_put_write(const char *path, const char *const urls[NOTIFY_COUNT], struct buf *out)
{
    size_t start = out->len;
    redis_path_write(path, out);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        add_text(out, urls[i]);
    if (!buf_failed(out))
        add_u32(out, checksum(out->data + start, out->len - start));
}

int redis_put_read(const char *data, size_t len, char **ret_path, char *ret_urls[NOTIFY_COUNT],
                   struct err *err)
{
    if (len < 4 || checksum(data, len - 4) != get_u32(data + len - 4))
        return damaged(err);
    const char *at = data, *end = data + len - 4;
    for (int i = 0; i < RECORD_TEXTS; i++) {
        if (end - at < 4)
            return damaged(err);
        uint32_t n = get_u32(at);
        at += 4;
        if (n > 0 && (size_t)(end - at) < n - 1)
            return damaged(err);
        char **ret = i > 0 ? &ret_urls[i - 1] : ret_path;
        if (n > 0 && ret && !(*ret = strndup(at, n - 1)))
            return err_set(err, ERR_NOMEM, "out of memory");
        at += n > 0 ? n - 1 : 0;
    }
    return 0;
}
