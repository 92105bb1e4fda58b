/* fuzz_response: the reader of responses must say the same of a connection's bytes however they are split, keep no
 * more of a body than it was told to, and read nothing but what it was fed. The first two bytes of the input
 * choose how much is kept and where it is split. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/response.h"

enum { WHOLE = INT32_MAX };

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A block of exactly this size, for the sanitizer to see one byte too many. data: what is in it, or NULL. */
static char *block(const void *data, size_t len)
{
    char *copy = malloc(len);
    CHECK(copy || len == 0);
    if (data)
        memcpy(copy, data, len);
    return copy;
}

/* The sizes of pieces: always most, or, most 0, something between 1 and 64 that follows from seed. */
static size_t next_size(size_t most, uint32_t *seed)
{
    if (most > 0)
        return most;
    *seed = *seed * 1664525 + 1013904223;
    return 1 + (*seed >> 24) % 64;
}

static void check_result(const struct response *r, enum response_result result)
{
    switch (result) {
    case RESPONSE_MORE:
        break;
    case RESPONSE_DONE:
        CHECK(!r->close && r->body_len <= RESPONSE_MAX_BODY);
        /* fall through */
    case RESPONSE_LAST:
        CHECK(r->final);
        break;
    case RESPONSE_INVALID:
    case RESPONSE_TOO_LARGE:
        CHECK(!r->final);
        break;
    }
    if (r->final)
        CHECK(r->status == 101 || (r->status >= 200 && r->status <= 999));
    CHECK(response_end(r) == (r->final ? RESPONSE_LAST : RESPONSE_INVALID));
    CHECK(r->body_len <= RESPONSE_MAX_BODY + 1);
    CHECK(memchr(r->retry_after, '\0', sizeof(r->retry_after)));
}

static enum response_result read_all(struct response *r, char *keep, size_t keep_len,
                                     const uint8_t *data, size_t len, size_t most, uint32_t seed)
{
    enum response_result result = RESPONSE_MORE;
    response_init(r, keep, keep_len);
    while (len > 0 && result == RESPONSE_MORE) {
        size_t n = next_size(most, &seed);
        n = n < len ? n : len;
        char *piece = block(data, n);
        result = response_feed(r, piece, n);
        free(piece);
        data += n;
        len -= n;
    }
    check_result(r, result);
    return result == RESPONSE_DONE && len > 0 ? RESPONSE_LAST : result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t sizes[] = { 1, 0 };
    struct response whole, split;
    if (len < 2)
        return 0;
    size_t keep_len = data[0];
    char *keep = block(NULL, keep_len), *other = block(NULL, keep_len);
    enum response_result result = read_all(&whole, keep, keep_len, data + 2, len - 2, WHOLE, 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK(read_all(&split, other, keep_len, data + 2, len - 2, sizes[i], data[1]) == result);
        CHECK(split.final == whole.final);
        CHECK(!split.final || split.status == whole.status);
        CHECK(strcmp(split.retry_after, whole.retry_after) == 0);
        CHECK(split.body_len == whole.body_len);
        CHECK(memcmp(keep, other, response_kept(&whole)) == 0);
    }
    free(keep);
    free(other);
    return 0;
}
