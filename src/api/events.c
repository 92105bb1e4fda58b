/* GET /events: the feed as a stream, or as pages. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "api/channel.h"
#include "api/parts.h"
#include "api/query.h"
#include "base/cleanup.h"

enum { LIST_DEFAULT = 100 };

struct events_query {
    struct follow_from from;
    bool has_limit;
    uint64_t limit;
};

static const char *read_state(const char *value, struct events_query *q)
{
    unsigned state = 0;
    while (state < ASSET_STATES && strcmp(value, asset_state_name((enum asset_state)state)) != 0)
        state++;
    if (state == ASSET_STATES)
        return "state must be queued, started, success or failed";
    q->from.states |= 1U << state;
    return NULL;
}

/* NULL: all is well. */
static const char *read_query(const struct http_request *request, struct events_query *ret)
{
    const char *fault = NULL;
    struct query q = { .rest = request->query };
    while (!fault && query_next(&q, &fault) > 0) {
        if (strcmp(q.name, "after") == 0) {
            ret->from.has_after = query_number(q.value, 0, INT64_MAX, &ret->from.after);
            if (!ret->from.has_after)
                fault = "after must be the seq of an event, or 0";
        } else if (strcmp(q.name, "limit") == 0) {
            ret->has_limit = query_number(q.value, 1, LIST_LIMIT_MAX, &ret->limit);
            if (!ret->has_limit)
                fault = "limit must be a number from 1 to 1000";
        } else if (strcmp(q.name, "state") == 0) {
            fault = read_state(q.value, ret);
        } else {
            fault = "the parameters are state, after and limit";
        }
    }
    if (ret->from.states == 0)
        ret->from.states = CHANNEL_ALL;
    return fault;
}

static void reply_fault(struct api_thread *t, struct http_exchange *x, const struct err *err)
{
    if (err->code == ERR_UNSUPPORTED)
        api_problem(t, x, 501, "This kind of store keeps no feed.", NULL, NULL);
    else
        api_store_is_away(t, x, err);
}

static void list_events(struct api_thread *t, struct http_exchange *x, const struct events_query *q)
{
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    struct err err;
    unsigned limit = q->has_limit ? (unsigned)q->limit : LIST_DEFAULT;
    if (store_feed(t->api->store, q->from.after, limit, &page, &err) < 0) {
        reply_fault(t, x, &err);
        return;
    }
    const char *between = "";
    (void)buf_adds(&t->body, "{\"events\":[");
    for (size_t i = 0; i < page.n; i++) {
        if (!(q->from.states >> page.entries[i].state & 1))
            continue;
        (void)buf_adds(&t->body, between);
        channel_add_json(&t->body, &page.entries[i]);
        between = ",";
    }
    uint64_t next = page.n > 0 ? page.entries[page.n - 1].seq : page.last_seq;
    (void)buf_addf(&t->body, "],\"next\":%" PRIu64 ",\"first\":%" PRIu64 "}", next, page.first_seq);
    api_reply(t, x, 200, api_json_type, "Cache-Control: no-store\r\n");
}

static bool contains(struct http_slice text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++)
        if (strncasecmp(text.data + i, word, len) == 0)
            return true;
    return false;
}

/* RFC 9110 §12.5.3. A coding with any weight might be refused by it, so it is not chosen. */
static bool takes_gzip(struct http_slice accept)
{
    while (accept.len > 0) {
        const char *comma = memchr(accept.data, ',', accept.len);
        size_t len = comma ? (size_t)(comma - accept.data) : accept.len;
        struct http_slice one = { accept.data, len };
        while (one.len > 0 && strchr(" \t", one.data[0])) {
            one.data++;
            one.len--;
        }
        while (one.len > 0 && strchr(" \t", one.data[one.len - 1]))
            one.len--;
        if (one.len == 4 && strncasecmp(one.data, "gzip", 4) == 0)
            return true;
        accept.data += comma ? len + 1 : len;
        accept.len -= comma ? len + 1 : len;
    }
    return false;
}

/* A stream for who asks for one, or says nothing; pages for who asks for JSON, or for a page. */
void api_get_events(struct api_thread *t, struct http_exchange *x,
                    const struct http_request *request, const char *id)
{
    (void)id;
    struct events_query q = { 0 };
    struct err err;
    const char *fault = read_query(request, &q);
    struct http_slice accept = http_field(request, "accept");
    struct http_slice last = http_field(request, "last-event-id");
    bool stream = contains(accept, "text/event-stream") ||
                  (!q.from.has_after && !q.has_limit && !contains(accept, "application/json"));
    char text[24] = "";
    if (last.data && last.len < sizeof(text))
        memcpy(text, last.data, last.len);
    if (!fault && last.data) {
        q.from.has_after = query_number(text, 0, INT64_MAX, &q.from.after);
        if (!q.from.has_after)
            fault = "Last-Event-ID must be the id of an event";
    }
    q.from.gzip = takes_gzip(http_field(request, "accept-encoding"));
    if (fault)
        api_problem(t, x, 400, fault, NULL, NULL);
    else if (!stream)
        list_events(t, x, &q);
    else if (follow_stream(t, x, &q.from, &err) < 0)
        reply_fault(t, x, &err);
}
