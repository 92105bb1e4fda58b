/* Who follows what happens: streams of the feed, and requests that wait for one asset's end.
 *
 * One position in the feed (seq) serves all of a thread: when the store thread says that there is
 * something new, it is read once, written once as text, and given to every stream that has taken all that
 * came before. A stream whose client is slow, or which begins in the past, is *behind*: it has a position of
 * its own and reads for itself, whenever its client has taken what it got, until it has caught up. With
 * nobody here the store thread is not asked to say anything.
 *
 * The more streams there are, the longer the pause between two readings (up to 0.5 s): each reading costs
 * a write to every one of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/parts.h"
#include "api/query.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/link.h"

enum {
    PAGE = 500,             /* entries that are read at once */
    LIST_DEFAULT = 100,     /* of GET /events as JSON */
    UNSENT_MAX = 64 * 1024, /* a stream with more than this before it is behind */
    HEARTBEAT_MS = 15 * 1000,
    PAUSE_MIN_MS = 2,
    PAUSE_MAX_MS = 500,
    STREAMS_A_MS = 2, /* streams that lengthen the pause by 1 ms */
    RETRY_MS = 1000,  /* the feed could not be read */
    BUCKETS = 1024,
    TEXT_MAX_LEN = 64 * 1024 * 1024,
};

/* A stream; lives in its exchange. */
struct stream {
    struct api_exchange exchange;
    struct http_exchange *x;
    struct http_link link;
    bool behind;
    uint64_t seq; /* while behind: up to here it got everything */
};
/* A request that waits; likewise. */
struct waiter {
    struct api_exchange exchange;
    struct http_exchange *x;
    struct http_link link; /* in its bucket */
    int64_t due_ms;
    char id[ASSET_ID_LEN + 1];
};
_Static_assert(sizeof(struct stream) <= HTTP_APP_DATA, "a stream fits in its exchange");
_Static_assert(sizeof(struct waiter) <= HTTP_APP_DATA, "a waiter fits in its exchange");

struct follow {
    struct api_thread *t;
    struct service_watch watch;
    bool watching, news;
    uint64_t seq;       /* while watching: up to here the feed was read */
    int64_t read_at_ms; /* no reading before; monotonic, as all times here */
    int64_t beat_ms;    /* the next heartbeat */
    int64_t due_ms;     /* no waiter is due before */
    size_t n_streams, n_waiters;
    struct http_link streams;
    struct buf text;
    struct http_link buckets[BUCKETS]; /* waiters, by asset */
};

int follow_new(struct api_thread *t, struct follow **ret_follow, struct err *err)
{
    struct follow *f = calloc(1, sizeof(*f));
    if (!f)
        return err_set(err, ERR_NOMEM, "out of memory");
    f->t = t;
    f->watch.reply_to = &t->box;
    http_link_init(&f->streams);
    for (int i = 0; i < BUCKETS; i++)
        http_link_init(&f->buckets[i]);
    buf_init(&f->text, TEXT_MAX_LEN);
    *ret_follow = f;
    return 0;
}

void follow_free(struct follow *f)
{
    if (!f)
        return;
    if (f->watching)
        service_unwatch(f->t->api->service, &f->watch);
    buf_release(&f->text);
    free(f);
}

static struct http_link *bucket_of(struct follow *f, const char *id)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *id; id++)
        hash = (hash ^ (uint8_t)*id) * 16777619u;
    return &f->buckets[hash % BUCKETS];
}

/* ---- text ---------------------------------------------------------------------------------- */

static void add_entry(struct buf *out, const struct feed_entry *e)
{
    char at[CLOCK_TEXT_LEN];
    (void)buf_addf(out, "{\"seq\":%" PRIu64 ",\"id\":\"%s\",\"run\":%u,\"state\":\"%s\"", e->seq,
                   e->id, e->run, asset_state_name(e->state));
    if (e->errors)
        (void)buf_addf(out, ",\"errors\":%s", e->errors);
    (void)buf_addf(out, ",\"changedAt\":\"%s\"}", clock_text(e->at_ms, at));
}

/* As the HTML standard's §9.2.6 has it. */
static void add_event(struct buf *out, const struct feed_entry *e)
{
    (void)buf_addf(out, "id: %" PRIu64 "\ndata: ", e->seq);
    add_entry(out, e);
    (void)buf_adds(out, "\n\n");
}

/* ---- coming and going ---------------------------------------------------------------------- */

/* The watch first: what happens after the position was read is told. */
static int begin(struct follow *f, struct err *err)
{
    if (f->watching)
        return 0;
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    service_watch(f->t->api->service, &f->watch);
    if (store_feed(f->t->api->store, INT64_MAX, 1, &page, err) < 0) {
        service_unwatch(f->t->api->service, &f->watch);
        return -1;
    }
    f->watching = true;
    f->news = false;
    f->seq = page.last_seq;
    f->read_at_ms = 0;
    f->due_ms = INT64_MAX;
    f->beat_ms = clock_mono_ms() + HEARTBEAT_MS;
    return 0;
}

static void end_if_alone(struct follow *f)
{
    if (!f->watching || f->n_streams > 0 || f->n_waiters > 0)
        return;
    service_unwatch(f->t->api->service, &f->watch);
    f->watching = false;
}

static void answer_waiter(struct follow *f, struct waiter *w)
{
    http_link_remove(&w->link);
    f->n_waiters--;
    api_show_asset(f->t, w->x, w->id);
}

static void end_stream(struct follow *f, struct stream *s)
{
    http_link_remove(&s->link);
    f->n_streams--;
    http_stream_end(s->x);
}

static bool is_stream(const struct http_exchange *x)
{
    const struct api_exchange *e = http_app_data((struct http_exchange *)(uintptr_t)x);
    return e->route && e->route->get == api_get_events;
}

void follow_gone(struct follow *f, struct http_exchange *x)
{
    if (is_stream(x)) {
        http_link_remove(&((struct stream *)http_app_data(x))->link);
        f->n_streams--;
    } else {
        http_link_remove(&((struct waiter *)http_app_data(x))->link);
        f->n_waiters--;
    }
    end_if_alone(f);
}

void follow_drain(struct follow *f)
{
    while (!http_link_alone(&f->streams))
        end_stream(f, HTTP_LINKED(f->streams.next, struct stream, link));
    for (int i = 0; i < BUCKETS; i++)
        while (!http_link_alone(&f->buckets[i]))
            answer_waiter(f, HTTP_LINKED(f->buckets[i].next, struct waiter, link));
    end_if_alone(f);
}

/* ---- news ---------------------------------------------------------------------------------- */

static void tell_waiters(struct follow *f, const struct feed_entry *e)
{
    if (f->n_waiters == 0 || (e->state != ASSET_SUCCESS && e->state != ASSET_FAILED))
        return;
    struct http_link *bucket = bucket_of(f, e->id);
    for (struct http_link *l = bucket->next, *next; l != bucket; l = next) {
        struct waiter *w = HTTP_LINKED(l, struct waiter, link);
        next = l->next;
        if (strcmp(w->id, e->id) == 0)
            answer_waiter(f, w);
    }
}

/* Give text, which begins behind f->seq, to all that have what came before it. */
static void tell_streams(struct follow *f)
{
    for (struct http_link *l = f->streams.next; l != &f->streams; l = l->next) {
        struct stream *s = HTTP_LINKED(l, struct stream, link);
        if (s->behind)
            continue;
        if (buf_failed(&f->text) || http_stream_unsent(s->x) > UNSENT_MAX) {
            s->behind = true;
            s->seq = f->seq;
        } else {
            http_stream_write(s->x, f->text.data, f->text.len);
        }
    }
}

/* False: there is no more, or it cannot be read now. */
static bool read_page(struct follow *f)
{
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    struct err err;
    if (store_feed(f->t->api->store, f->seq, PAGE, &page, &err) < 0) {
        log_error("store_read", LOG_S("why", err.msg));
        f->news = true;
        f->read_at_ms = clock_mono_ms() + RETRY_MS;
        return false;
    }
    buf_clear(&f->text);
    for (size_t i = 0; i < page.n; i++) {
        if (f->n_streams > 0)
            add_event(&f->text, &page.entries[i]);
        tell_waiters(f, &page.entries[i]);
    }
    if (page.n > 0)
        tell_streams(f);
    f->seq = page.n > 0 ? page.entries[page.n - 1].seq : page.last_seq;
    return page.n == PAGE;
}

static void read_news(struct follow *f)
{
    int64_t pause_ms = PAUSE_MIN_MS + (int64_t)(f->n_streams / STREAMS_A_MS);
    f->read_at_ms = clock_mono_ms() + (pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
    f->news = false;
    while ((f->n_streams > 0 || f->n_waiters > 0) && read_page(f))
        ;
}

bool follow_mail(struct follow *f, const struct mail *mail)
{
    if (mail != &f->watch.mail)
        return false;
    atomic_store(&f->watch.posted, false);
    f->news = f->watching;
    return true;
}

/* ---- those that are behind ----------------------------------------------------------------- */

static void catch_up(struct follow *f, struct stream *s)
{
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    struct err err;
    if (store_feed(f->t->api->store, s->seq, PAGE, &page, &err) < 0) {
        log_error("store_read", LOG_S("why", err.msg));
        end_stream(f, s); /* its client comes again, and says where it was */
        return;
    }
    buf_clear(&f->text);
    if (page.first_seq > s->seq + 1)
        (void)buf_addf(&f->text, "event: missed\ndata: {\"first\":%" PRIu64 "}\n\n",
                       page.first_seq);
    for (size_t i = 0; i < page.n && page.entries[i].seq <= f->seq; i++) {
        add_event(&f->text, &page.entries[i]);
        s->seq = page.entries[i].seq;
    }
    if (page.n == 0)
        s->seq = f->seq;
    s->behind = s->seq < f->seq;
    if (buf_failed(&f->text)) {
        end_stream(f, s);
        return;
    }
    http_stream_write(s->x, f->text.data, f->text.len);
}

void follow_drained(struct follow *f, struct http_exchange *x)
{
    struct stream *s = http_app_data(x);
    if (s->behind)
        catch_up(f, s);
    end_if_alone(f);
}

/* ---- the clock ----------------------------------------------------------------------------- */

static void beat(struct follow *f, int64_t now_ms)
{
    static const char comment[] = ":\n\n";
    for (struct http_link *l = f->streams.next; l != &f->streams; l = l->next) {
        struct stream *s = HTTP_LINKED(l, struct stream, link);
        if (http_stream_unsent(s->x) == 0)
            http_stream_write(s->x, comment, sizeof(comment) - 1);
    }
    f->beat_ms = now_ms + HEARTBEAT_MS;
}

static void answer_due(struct follow *f, int64_t now_ms)
{
    f->due_ms = INT64_MAX;
    for (int i = 0; i < BUCKETS && f->n_waiters > 0; i++) {
        struct http_link *bucket = &f->buckets[i];
        for (struct http_link *l = bucket->next, *next; l != bucket; l = next) {
            struct waiter *w = HTTP_LINKED(l, struct waiter, link);
            next = l->next;
            if (w->due_ms <= now_ms)
                answer_waiter(f, w);
            else if (w->due_ms < f->due_ms)
                f->due_ms = w->due_ms;
        }
    }
}

void follow_run(struct follow *f)
{
    if (!f->watching)
        return;
    int64_t now_ms = clock_mono_ms();
    if (f->news && now_ms >= f->read_at_ms)
        read_news(f);
    if (now_ms >= f->due_ms)
        answer_due(f, now_ms);
    if (now_ms >= f->beat_ms)
        beat(f, now_ms);
    end_if_alone(f);
}

int follow_sleep_ms(struct follow *f)
{
    if (!f->watching)
        return -1;
    int64_t at_ms = f->beat_ms < f->due_ms ? f->beat_ms : f->due_ms;
    if (f->news && f->read_at_ms < at_ms)
        at_ms = f->read_at_ms;
    int64_t ms = at_ms - clock_mono_ms();
    return ms < 0 ? 0 : ms < HEARTBEAT_MS ? (int)ms : HEARTBEAT_MS;
}

/* ---- GET /assets/{id}?wait=… --------------------------------------------------------------- */

/* Watching comes before looking: an end that is not seen now is told later. */
void follow_wait(struct api_thread *t, struct http_exchange *x, const char *id, int64_t wait_ms)
{
    struct follow *f = t->follow;
    CLEANUP(asset_release) struct asset asset = { 0 };
    struct err err;
    if (begin(f, &err) < 0 || store_find(t->api->store, id, &asset, &err) < 0) {
        api_store_is_away(t, x, &err);
    } else if (asset.id[0] == '\0' || asset.state == ASSET_SUCCESS || asset.state == ASSET_FAILED) {
        api_show_asset(t, x, id);
    } else {
        struct waiter *w = http_app_data(x);
        w->exchange.waits = true;
        w->x = x;
        w->due_ms = clock_mono_ms() + wait_ms;
        memcpy(w->id, asset.id, sizeof(w->id));
        http_link_init(&w->link);
        http_link_append(bucket_of(f, w->id), &w->link);
        f->n_waiters++;
        if (w->due_ms < f->due_ms)
            f->due_ms = w->due_ms;
        http_keep(x);
    }
    end_if_alone(f);
}

/* ---- GET /events --------------------------------------------------------------------------- */

struct events_query {
    bool has_after, has_limit;
    uint64_t after, limit;
};

/* NULL: all is well. */
static const char *read_events_query(const struct http_request *request, struct events_query *ret)
{
    const char *fault = NULL;
    struct query q = { .rest = request->query };
    int more;
    while ((more = query_next(&q, &fault)) > 0) {
        if (strcmp(q.name, "after") == 0) {
            ret->has_after = query_number(q.value, 0, INT64_MAX, &ret->after);
            if (!ret->has_after)
                return "after must be the seq of an event, or 0";
        } else if (strcmp(q.name, "limit") == 0) {
            ret->has_limit = query_number(q.value, 1, LIST_LIMIT_MAX, &ret->limit);
            if (!ret->has_limit)
                return "limit must be a number from 1 to 1000";
        } else {
            return "the parameters are after and limit";
        }
    }
    return more < 0 ? fault : NULL;
}

static void reply_feed_fault(struct api_thread *t, struct http_exchange *x, const struct err *err)
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
    if (store_feed(t->api->store, q->after, limit, &page, &err) < 0) {
        reply_feed_fault(t, x, &err);
        return;
    }
    (void)buf_adds(&t->body, "{\"events\":[");
    for (size_t i = 0; i < page.n; i++) {
        if (i > 0)
            (void)buf_adds(&t->body, ",");
        add_entry(&t->body, &page.entries[i]);
    }
    uint64_t next = page.n > 0 ? page.entries[page.n - 1].seq : page.last_seq;
    (void)buf_addf(&t->body, "],\"next\":%" PRIu64 ",\"first\":%" PRIu64 "}", next, page.first_seq);
    api_reply(t, x, 200, api_json_type, "Cache-Control: no-store\r\n");
}

static void stream_events(struct api_thread *t, struct http_exchange *x,
                          const struct events_query *q)
{
    struct follow *f = t->follow;
    struct stream *s = http_app_data(x);
    struct err err;
    if (begin(f, &err) < 0) {
        reply_feed_fault(t, x, &err);
        return;
    }
    struct http_response head = { .status = 200,
                                  .content_type = "text/event-stream",
                                  .fields =
                                      "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n" };
    s->exchange.waits = true;
    api_count(t, x, 200);
    if (http_stream_begin(x, &head)) {
        s->x = x;
        s->seq = q->after < f->seq ? q->after : f->seq; /* of another store's feed: from now on */
        s->behind = q->has_after && s->seq < f->seq;
        http_link_init(&s->link);
        http_link_append(&f->streams, &s->link);
        f->n_streams++;
        http_stream_write(x, "retry: 2000\n\n", 13);
        if (t->draining)
            end_stream(f, s);
    }
    end_if_alone(f);
}

static bool contains(struct http_slice text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++)
        if (strncasecmp(text.data + i, word, len) == 0)
            return true;
    return false;
}

/* A stream for who asks for one, or says nothing; pages for who asks for JSON, or for a page. */
void api_get_events(struct api_thread *t, struct http_exchange *x,
                    const struct http_request *request, const char *id)
{
    (void)id;
    struct events_query q = { 0 };
    const char *fault = read_events_query(request, &q);
    struct http_slice accept = http_field(request, "accept");
    struct http_slice last = http_field(request, "last-event-id");
    bool stream = contains(accept, "text/event-stream") ||
                  (!q.has_after && !q.has_limit && !contains(accept, "application/json"));
    char text[24] = "";
    if (last.data && last.len < sizeof(text))
        memcpy(text, last.data, last.len);
    if (!fault && last.data) {
        q.has_after = query_number(text, 0, INT64_MAX, &q.after);
        if (!q.has_after)
            fault = "Last-Event-ID must be the id of an event";
    }
    if (fault)
        api_problem(t, x, 400, fault, NULL, NULL);
    else if (stream)
        stream_events(t, x, &q);
    else
        list_events(t, x, &q);
}
