/* POST /assets/images: up to BATCH_LINES_MAX references in one request, one answer for each, in order.
 *
 * Lines that are not of the right shape are answered with their faults; all others are put together, and
 * the answer leaves when all are durable. Before anything is put there must be room in the queue for all:
 * a client that gets 503 has had nothing accepted. Only when the store fails while a batch is under way may
 * some lines be accepted and some not; each says so, and with an Idempotency-Key (which counts for each line)
 * the whole batch can simply be sent again. */
#include <stdlib.h>
#include <string.h>

#include "api/idempotency.h"
#include "api/parts.h"
#include "api/request.h"
#include "base/cleanup.h"
#include "base/log.h"

enum { LINE_FAULTS_MAX = 64 * 1024 };

static const char ndjson_type[] = "application/x-ndjson";

struct batch_line {
    struct api_step s;
    struct batch *batch;
    struct asset_request request;
    uint8_t key[IDEMPOTENCY_LEN], digest[IDEMPOTENCY_LEN];
    int status;   /* of this line; 0: it is put */
    char *faults; /* JSON array; NULL: none */
};

struct batch {
    struct http_exchange *x;
    bool ndjson;
    bool has_key;
    uint8_t key[IDEMPOTENCY_LEN];
    void *array; /* the JSON array that requests point into; NULL with ndjson */
    size_t n, away;
    struct batch_line lines[];
};

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        asset_request_release(&b->lines[i].request);
        free(b->lines[i].faults);
    }
    asset_array_release(b->array);
    free(b);
}
DEFINE_FREEP(struct batch *, batch_free)

/* ---- reading ------------------------------------------------------------------------------- */

/* The next line that is not blank; false: there is none. */
static bool next_line(struct http_slice *body, struct http_slice *ret_line)
{
    while (body->len > 0) {
        const char *end = memchr(body->data, '\n', body->len);
        size_t len = end ? (size_t)(end - body->data) : body->len;
        struct http_slice line = { body->data, len };
        body->data += len + (end != NULL);
        body->len -= len + (end != NULL);
        while (line.len > 0 && strchr(" \t\r", line.data[line.len - 1]))
            line.len--;
        if (line.len > 0) {
            *ret_line = line;
            return true;
        }
    }
    return false;
}

static size_t count_lines(struct http_slice body)
{
    size_t n = 0;
    struct http_slice line;
    while (n <= BATCH_LINES_MAX && next_line(&body, &line))
        n++;
    return n;
}

/* Judge what was read of a line. detail and faults are as asset_request_parse() left them. */
static void take_line(struct batch_line *line, enum request_result result, const struct buf *detail,
                      struct buf *faults)
{
    switch (result) {
    case REQUEST_OK:
        return;
    case REQUEST_NOT_JSON:
        line->status = 400;
        buf_clear(faults);
        (void)buf_adds(faults, "[{\"pointer\":\"\",\"detail\":");
        (void)buf_add_json(faults, buf_str(detail), detail->len);
        (void)buf_adds(faults, "}]");
        break;
    case REQUEST_WRONG_SHAPE:
        line->status = 422;
        break;
    case REQUEST_NO_MEMORY:
        line->status = 503;
        return;
    }
    line->faults = buf_failed(faults) ? NULL : strdup(buf_str(faults));
}

static void read_line(struct batch *b, size_t i, struct http_slice text)
{
    struct batch_line *line = &b->lines[i];
    CLEANUP(buf_release) struct buf detail, faults;
    buf_init(&detail, 1024);
    buf_init(&faults, LINE_FAULTS_MAX);
    enum request_result result =
        b->ndjson ? asset_request_parse(text.data, text.len, &line->request, &detail, &faults)
                  : asset_array_item(b->array, i, &line->request, &detail, &faults);
    take_line(line, result, &detail, &faults);
    if (!b->has_key || line->status != 0)
        return;
    idempotency_line_key(b->key, i, line->key);
    if (b->ndjson)
        idempotency_digest(text.data, text.len, line->digest);
    else
        asset_array_digest(b->array, i, line->digest);
}

/* The batch with n lines, unread; NULL after an answer. */
static struct batch *batch_new(struct api_thread *t, struct http_exchange *x, size_t n, void *array)
{
    struct batch *b = NULL;
    if (n > BATCH_LINES_MAX)
        api_problem(t, x, 413, "There are more than 10000 assets in this batch.", NULL, NULL);
    else if (n == 0)
        api_problem(t, x, 422, "There is no asset in this batch.", NULL, NULL);
    else if (!(b = calloc(1, sizeof(*b) + n * sizeof(b->lines[0]))))
        api_problem(t, x, 503, "There is no memory left; try again.", NULL, "Retry-After: 1\r\n");
    if (!b) {
        asset_array_release(array);
        return NULL;
    }
    b->x = x;
    b->n = n;
    b->array = array;
    b->ndjson = !array;
    return b;
}

static struct batch *read_array(struct api_thread *t, struct http_exchange *x,
                                struct http_slice body)
{
    CLEANUP(buf_release) struct buf detail;
    buf_init(&detail, 1024);
    void *array;
    size_t n;
    switch (asset_array_parse(body.data, body.len, &array, &n, &detail)) {
    case REQUEST_OK:
        return batch_new(t, x, n, array);
    case REQUEST_NOT_JSON:
        api_problem(t, x, 400, buf_str(&detail), NULL, NULL);
        break;
    case REQUEST_WRONG_SHAPE:
        api_problem(t, x, 422, buf_str(&detail), NULL, NULL);
        break;
    case REQUEST_NO_MEMORY:
        api_problem(t, x, 503, "There is no memory left; try again.", NULL, "Retry-After: 1\r\n");
        break;
    }
    return NULL;
}

/* ---- answering ----------------------------------------------------------------------------- */

static void add_line(struct buf *out, const struct batch_line *line)
{
    if (line->status == 0)
        (void)buf_addf(out, "{\"id\":\"%s\",\"state\":\"queued\"}", line->s.step.u.put.ret_id);
    else
        (void)buf_addf(out, "{\"status\":%d,\"errors\":%s}", line->status,
                       line->faults ? line->faults : "[]");
}

/* What the store said, as this line's status. */
static void settle(struct batch_line *line)
{
    static const char no_room[] = "[{\"pointer\":\"\",\"detail\":\"as many assets wait as may\"}]";
    static const char conflict[] =
        "[{\"pointer\":\"\",\"detail\":\"this Idempotency-Key came with another line before\"}]";
    static const char failed[] = "[{\"pointer\":\"\",\"detail\":\"could not be stored\"}]";
    if (line->status != 0 || line->s.step.result == STEP_DONE)
        return;
    enum step_result result = line->s.step.result;
    line->status = result == STEP_CONFLICT ? 422 : 503;
    line->faults = strdup(result == STEP_FULL       ? no_room
                          : result == STEP_CONFLICT ? conflict
                                                    : failed);
}

static void answer(struct api_thread *t, struct batch *batch)
{
    CLEANUP(batch_freep) struct batch *b = batch;
    size_t accepted = 0, unstored = 0;
    struct buf *out = &t->body;
    if (!b->ndjson)
        (void)buf_adds(out, "[");
    for (size_t i = 0; i < b->n; i++) {
        settle(&b->lines[i]);
        accepted += b->lines[i].status == 0;
        unstored += b->lines[i].status == 503;
        if (!b->ndjson && i > 0)
            (void)buf_adds(out, ",");
        add_line(out, &b->lines[i]);
        if (b->ndjson)
            (void)buf_adds(out, "\n");
    }
    if (!b->ndjson)
        (void)buf_adds(out, "]");
    log_debug("batch_accepted", LOG_I("assets", accepted), LOG_I("refused", b->n - accepted));
    if (accepted == 0 && unstored > 0)
        api_not_stored(t, b->x, STEP_FAILED);
    else
        api_reply(t, b->x, accepted > 0 ? 202 : 422, b->ndjson ? ndjson_type : api_json_type, NULL);
}

static void line_answered(struct api_thread *t, struct api_step *s)
{
    struct batch *b = ((struct batch_line *)s)->batch;
    if (--b->away == 0)
        answer(t, b);
}

/* ---- POST ---------------------------------------------------------------------------------- */

/* Nothing is accepted unless there is room for all. What others put meanwhile may take it: then those lines
 * that found none say so. False: the answer was given. */
static bool has_room(struct api_thread *t, struct http_exchange *x, size_t n)
{
    struct store_stats stats;
    struct err err;
    if (store_stats(t->api->store, &stats, &err) < 0) {
        api_store_is_away(t, x, &err);
        return false;
    }
    if (stats.by_state[ASSET_QUEUED] + n <= t->api->max_queued)
        return true;
    if (n > t->api->max_queued)
        api_problem(t, x, 413, "There are more assets in this batch than may wait.", NULL, NULL);
    else
        api_not_stored(t, x, STEP_FULL);
    return false;
}

static void submit(struct api_thread *t, struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct batch_line *line = &b->lines[i];
        if (line->status != 0)
            continue;
        api_fill_put(t, &line->request, &line->s.step);
        if (b->has_key) {
            line->s.step.u.put.idempotency_key = line->key;
            line->s.step.u.put.body_digest = line->digest;
        }
        line->batch = b;
        line->s.answered = line_answered;
        api_submit(t, &line->s);
        b->away++;
    }
}

void api_post_batch(struct api_thread *t, struct http_exchange *x,
                    const struct http_request *request, const char *id)
{
    (void)id;
    const struct api_exchange *e = http_app_data(x);
    struct http_slice type = http_field(request, "content-type"), body = request->body, line;
    uint8_t key[IDEMPOTENCY_LEN];
    int has_key = idempotency_key(request, e->client, key);
    bool ndjson = api_is_type(type, ndjson_type);
    if (!ndjson && !api_is_type(type, api_json_type)) {
        api_problem(t, x, 415, "The content type must be application/x-ndjson or application/json.",
                    NULL, NULL);
        return;
    }
    if (has_key < 0) {
        api_problem(t, x, 400,
                    "Idempotency-Key must be 1 to 255 characters, in quotes if not plain.", NULL,
                    NULL);
        return;
    }
    CLEANUP(batch_freep)
    struct batch *b = ndjson ? batch_new(t, x, count_lines(body), NULL) : read_array(t, x, body);
    if (!b)
        return;
    b->has_key = has_key > 0;
    if (has_key > 0)
        memcpy(b->key, key, sizeof(b->key));
    size_t good = 0;
    for (size_t i = 0; i < b->n; i++) {
        line = (struct http_slice){ 0 };
        if (ndjson)
            (void)next_line(&body, &line);
        read_line(b, i, line);
        good += b->lines[i].status == 0;
    }
    if (good == 0)
        answer(t, TAKE(b));
    else if (has_room(t, x, good))
        submit(t, TAKE(b));
}
