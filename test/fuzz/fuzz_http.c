/* link-if: libllhttp */
/* fuzz_http: the reader of requests must say the same of a connection's bytes however they are split,
 * and, where llhttp is installed, frame every request that it accepts as llhttp does:
 * two readers that disagree on where a request ends is how requests are smuggled. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/reader.h"

#if __has_include(<llhttp.h>) && !defined(HAVE_LLHTTP)
#define HAVE_LLHTTP
#endif
#ifdef HAVE_LLHTTP
/* Its methods have the names of ours. */
#define HTTP_GET LLHTTP_GET
#define HTTP_HEAD LLHTTP_HEAD
#define HTTP_POST LLHTTP_POST
#define HTTP_PUT LLHTTP_PUT
#define HTTP_DELETE LLHTTP_DELETE
#define HTTP_OPTIONS LLHTTP_OPTIONS
#include <llhttp.h>
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_DELETE
#undef HTTP_OPTIONS
#endif

enum { MAX_BODY = 4096, REQUESTS_MAX = 64, FIRST_CAP = 16, WHOLE = INT32_MAX };

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* What the reader said, as text that can be compared: method, target, host, body and fields of each
 * request, then the refusal. */
struct transcript {
    char *data;
    size_t len, cap;
};

static void note(struct transcript *t, const void *data, size_t len)
{
    if (t->cap - t->len < len + 1) {
        t->cap = (t->cap + len + 1) * 2;
        t->data = realloc(t->data, t->cap);
        CHECK(t->data);
    }
    if (len > 0)
        memcpy(t->data + t->len, data, len);
    t->data[t->len + len] = '\n';
    t->len += len + 1;
}

static void note_slice(struct transcript *t, struct http_slice slice)
{
    note(t, &slice.len, sizeof(slice.len));
    note(t, slice.data, slice.len);
}

static void note_request(struct transcript *t, const struct http_reader *r)
{
    const struct http_request *q = &r->request;
    note(t, &q->method, sizeof(q->method));
    note_slice(t, q->method_name);
    note_slice(t, q->path);
    note_slice(t, q->query);
    note_slice(t, q->host);
    note_slice(t, q->body);
    note_slice(t, http_field(q, "content-type"));
    note_slice(t, http_field(q, "x"));
    note(t, &r->keep_alive, sizeof(r->keep_alive));
    CHECK(q->body.len <= MAX_BODY);
    CHECK(q->path.len > 0);
}

#ifdef HAVE_LLHTTP
struct seen {
    size_t target_len, body_len;
    char target[HTTP_LINE_MAX];
    unsigned complete;
};

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct seen *seen = parser->data;
    CHECK(seen->target_len + len <= sizeof(seen->target));
    memcpy(seen->target + seen->target_len, at, len);
    seen->target_len += len;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    (void)at;
    ((struct seen *)parser->data)->body_len += len;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    ((struct seen *)parser->data)->complete++;
    return 0;
}

/* wire is exactly what the reader took as this one request. */
static void compare(const struct http_reader *r, const char *wire, size_t len)
{
    static const char tab_after[] = "chunked\t"; /* OWS, which llhttp takes for another coding */
    llhttp_settings_t settings;
    llhttp_t parser;
    struct seen seen = { 0 };
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &seen;
    enum llhttp_errno rc = llhttp_execute(&parser, wire, len - 1);
    if (r->request.method == HTTP_OTHER && rc != HPE_OK)
        return; /* llhttp has a fixed set of methods */
    if (rc == HPE_INVALID_TRANSFER_ENCODING && memmem(wire, len, tab_after, sizeof(tab_after) - 1))
        return;
    if (r->n_trailers > 0 &&
        (rc == HPE_INVALID_TRANSFER_ENCODING || rc == HPE_INVALID_CONTENT_LENGTH))
        return; /* it refuses such trailers, we drop all trailers */
    CHECK(rc == HPE_OK);
    CHECK(seen.complete == 0);
    rc = llhttp_execute(&parser, wire + len - 1, 1);
    CHECK(rc == HPE_OK || rc == HPE_PAUSED_UPGRADE);
    CHECK(seen.complete == 1);
    const char *method = llhttp_method_name((llhttp_method_t)llhttp_get_method(&parser));
    CHECK(http_slice_is(r->request.method_name, method));
    CHECK(seen.target_len == r->target_len);
    CHECK(memcmp(seen.target, r->request.method_name.data + r->target, seen.target_len) == 0);
    CHECK(seen.body_len == r->request.body.len);
}
#endif

static char *move(struct http_reader *r, char *buffer, size_t cap)
{
    char *other = malloc(cap);
    CHECK(other);
    http_reader_move(r, other, cap);
    free(buffer);
    return other;
}

/* Read all of data in pieces: of step bytes, or (0) of lengths that seed decides. */
static void read_all(struct transcript *t, const uint8_t *data, size_t len, size_t step,
                     uint32_t seed)
{
    static const char *const hosts[] = { "localhost", "a", "[::1]", NULL };
    const struct http_reader_limits limits = { .max_body = MAX_BODY,
                                               .hosts = len % 2 ? hosts : NULL };
    /* Whole: not a byte more than there is, so that the sanitizer sees a read over the end. Else it
     * grows as the loop would have it grow. */
    size_t cap = step == WHOLE ? len + 1 : FIRST_CAP;
    char *buffer = malloc(cap);
    CHECK(buffer);
    struct http_reader r;
    http_reader_init(&r, &limits, buffer, cap);
    size_t fed = 0, request_at = 0;
    unsigned requests = 0;
    for (;;) {
        enum http_reader_result result = http_reader_parse(&r);
        if (result == HTTP_READER_REFUSED) {
            note(t, &r.status, sizeof(r.status));
            note(t, r.detail, strlen(r.detail));
            break;
        }
        if (result == HTTP_READER_REQUEST) {
            size_t left = r.len - r.pos;
            note_request(t, &r);
            note(t, &(size_t){ fed - left }, sizeof(size_t));
#ifdef HAVE_LLHTTP
            compare(&r, (const char *)data + request_at, fed - left - request_at);
#endif
            request_at = fed - left;
            if (!r.keep_alive || ++requests == REQUESTS_MAX)
                break;
            http_reader_next(&r);
            continue;
        }
        if (fed == len) {
            note(t, &(int){ http_reader_stage(&r) }, sizeof(int));
            break;
        }
        size_t room_len, n = step;
        char *room = http_reader_room(&r, &room_len);
        if (step == 0) {
            seed = seed * 1664525 + 1013904223;
            n = (seed >> 16) % 37 + 1;
        }
        if (room_len == 0) {
            size_t wants = http_reader_wants(&r);
            CHECK(step != WHOLE && wants > cap);
            cap = cap * 2 < wants ? cap * 2 : wants;
            buffer = move(&r, buffer, cap);
            room = http_reader_room(&r, &room_len);
        } else if (seed % 5 == 0) { /* it may move at any time */
            buffer = move(&r, buffer, cap);
            room = http_reader_room(&r, &room_len);
        }
        n = n < len - fed ? n : len - fed;
        n = n < room_len ? n : room_len;
        CHECK(n > 0);
        memcpy(room, data + fed, n);
        http_reader_fed(&r, n);
        fed += n;
    }
    free(buffer);
    (void)request_at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct transcript whole = { 0 }, bytes = { 0 }, pieces = { 0 };
    uint32_t seed = (uint32_t)len;
    for (size_t i = 0; i < len; i++)
        seed = seed * 31 + data[i];
    read_all(&whole, data, len, WHOLE, 1);
    read_all(&bytes, data, len, 1, 1);
    read_all(&pieces, data, len, 0, seed);
    CHECK(whole.len == bytes.len && memcmp(whole.data, bytes.data, whole.len) == 0);
    CHECK(whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0);
    free(whole.data);
    free(bytes.data);
    free(pieces.data);
    return 0;
}
