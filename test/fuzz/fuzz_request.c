/* What a client sends to the API: the first byte says whether the rest is a body, an array of them, a
 * path, a query or a time. None may be read beyond its end, and what comes out
 * keeps its promises. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/parts.h"
#include "api/plain.h"
#include "api/query.h"
#include "api/request.h"
#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* What is sent back must be JSON, whatever came. */
static void must_be_json(const struct buf *text, bool array)
{
    json_t *json = json_loadb(buf_str(text), text->len, JSON_DECODE_ANY, NULL);
    must(json && (!array || json_array_size(json) > 0));
    json_decref(json);
}

static void judge_result(enum request_result result, struct asset_request *request,
                         const struct buf *detail, const struct buf *faults)
{
    switch (result) {
    case REQUEST_OK:
        must(request->path && !faults->len && !detail->len);
        must(strlen(request->path) < (size_t)1 << 24);
        asset_request_release(request);
        break;
    case REQUEST_WRONG_SHAPE:
        must(detail->len > 0);
        if (!buf_failed(faults))
            must_be_json(faults, true);
        break;
    case REQUEST_NOT_JSON:
        must(detail->len > 0 && !faults->len);
        break;
    case REQUEST_NO_MEMORY:
        break;
    }
}

static void must_be_alike(const struct plain_string *plain, const char *text)
{
    must(!plain->data == !text);
    must(!text || (strlen(text) == plain->len && memcmp(text, plain->data, plain->len) == 0));
}

/* What is read in one pass is what the library reads: as an array's element it always does. */
static void compare_plain(const char *body, size_t len)
{
    struct plain_request plain;
    struct asset_request request;
    struct buf array, detail, faults;
    void *json = NULL;
    size_t n = 0;
    if (!plain_read(body, len, &plain))
        return;
    buf_init(&array, len + 8);
    buf_init(&detail, 1024);
    buf_init(&faults, 1024);
    (void)buf_adds(&array, "[");
    (void)buf_add(&array, body, len);
    (void)buf_adds(&array, "]");
    must(asset_array_parse(array.data, array.len, &json, &n, &detail) == REQUEST_OK && n == 1);
    must(asset_array_item(json, 0, &request, &detail, &faults) == REQUEST_OK);
    must_be_alike(&plain.path, request.path);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        must_be_alike(&plain.urls[i], request.urls[i]);
    asset_request_release(&request);
    asset_array_release(json);
    buf_release(&array);
    buf_release(&detail);
    buf_release(&faults);
}

static void fuzz_body(const char *body, size_t len)
{
    compare_plain(body, len);
    struct asset_request request = { 0 };
    struct buf detail, faults;
    buf_init(&detail, 1024);
    buf_init(&faults, 1 << 22);
    enum request_result result = asset_request_parse(body, len, &request, &detail, &faults);
    judge_result(result, &request, &detail, &faults);
    buf_release(&detail);
    buf_release(&faults);
}

static void fuzz_array(const char *body, size_t len)
{
    struct buf detail, faults;
    void *array = NULL;
    size_t n = 0;
    buf_init(&detail, 1024);
    buf_init(&faults, 1 << 22);
    enum request_result result = asset_array_parse(body, len, &array, &n, &detail);
    must(result == REQUEST_OK || detail.len > 0 || result == REQUEST_NO_MEMORY);
    for (size_t i = 0; result == REQUEST_OK && i < n && i < 100; i++) {
        struct asset_request request = { 0 };
        uint8_t digest[32];
        buf_clear(&detail);
        buf_clear(&faults);
        enum request_result item = asset_array_item(array, i, &request, &detail, &faults);
        must(item != REQUEST_NOT_JSON);
        asset_array_digest(array, i, digest);
        judge_result(item, &request, &detail, &faults);
    }
    asset_array_release(array);
    buf_release(&detail);
    buf_release(&faults);
}

static void fuzz_path(const char *path, size_t len)
{
    char id[API_ID_LEN + 1];
    const struct route *route = route_of((struct http_slice){ path, len }, id);
    must(strlen(id) <= API_ID_LEN && !strchr(id, '/'));
    must(!route || route->get || route->post);
    must(route || !id[0]);
}

static void fuzz_query(const char *text, size_t len)
{
    static struct query q; /* too large for a stack under sanitizers to like */
    const char *fault = NULL;
    size_t left = len;
    int more;
    q.rest = (struct http_slice){ text, len };
    while ((more = query_next(&q, &fault)) > 0) {
        must(strlen(q.name) <= QUERY_NAME_LEN && strlen(q.value) <= QUERY_VALUE_LEN);
        must(q.rest.len < left); /* it ends */
        left = q.rest.len;
    }
    must(more == 0 || fault);
}

/* A time that is read can be written and read again. */
static void fuzz_time(const char *text)
{
    int64_t ms, again;
    char written[CLOCK_TEXT_LEN];
    uint64_t number;
    (void)query_number(text, 1, 1000, &number);
    if (!query_time(text, &ms) || ms < 0 || ms > INT64_C(253402300799999))
        return;
    must(query_time(clock_text(ms, written), &again) && again == ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    /* A copy that ends where the input does, and one that is a string. */
    size_t n = len - 1;
    char *exact = malloc(n ? n : 1), *string = malloc(n + 1);
    must(exact && string);
    memcpy(exact, data + 1, n);
    memcpy(string, data + 1, n);
    string[n] = '\0';
    switch (data[0]) {
    case 'a':
        fuzz_array(exact, n);
        break;
    case 'p':
        fuzz_path(exact, n);
        break;
    case 'q':
        fuzz_query(exact, n);
        break;
    case 't':
        fuzz_time(string);
        break;
    default:
        fuzz_body(exact, n);
        break;
    }
    free(exact);
    free(string);
    return 0;
}
