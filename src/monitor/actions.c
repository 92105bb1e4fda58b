/* actions: what the monitor changes of assets and events. Each has a page that asks (confirm.c); posting its
 * form does the thing, logs it, and leads to a page that shows the result.
 *
 * Retrying all that match goes through the store in batches, so that neither this thread nor the store
 * thread is held up for long. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "monitor/form.h"
#include "monitor/parts.h"
#include "validate/verdict.h"
#include "webhook/judge.h"

enum { BATCH = 100, AT_ONCE_MAX = 10000, RESEND_BATCH = 1000 };

struct action;

struct action_step {
    struct step step; /* first: what comes back from the store */
    struct action *action;
    char id[WEBHOOK_ID_LEN + 1];
};

/* One that was confirmed and is under way. */
struct action {
    struct action *next;
    struct http_exchange *x;
    const char *name; /* for the log */
    char target[WEBHOOK_ID_LEN + 1];
    char back[80];        /* the page that shows what came of it */
    struct filter filter; /* of retry_matching */
    bool matching, more, dead;
    unsigned examined, done, refused; /* refused: not ended, full, or gone meanwhile */
    bool failed;                      /* the store did not take a batch */
    unsigned out;
    struct action_step steps[BATCH];
};

/* ---- doing --------------------------------------------------------------------------------- */

static struct action *begin(struct monitor_thread *t, struct http_exchange *x, const char *name,
                            const char *target)
{
    struct action *a = calloc(1, sizeof(*a));
    if (!a) {
        monitor_reply_problem(t, x, 503, "Service Unavailable", "There is no memory left.");
        return NULL;
    }
    a->x = x;
    a->name = name;
    (void)snprintf(a->target, sizeof(a->target), "%s", target);
    a->next = t->actions;
    t->actions = a;
    log_info("monitor_action", LOG_S("action", name), LOG_S("target", target), LOG_S("by", t->who));
    return a;
}

static struct action_step *add_step(struct monitor_thread *t, struct action *a, enum step_kind kind,
                                    const char *id)
{
    struct action_step *s = &a->steps[a->out++];
    *s = (struct action_step){ .step = { .kind = kind, .reply_to = &t->box }, .action = a };
    (void)snprintf(s->id, sizeof(s->id), "%s", id);
    return s;
}

static void submit(struct monitor_thread *t, struct action *a)
{
    for (unsigned i = 0; i + 1 < a->out; i++)
        a->steps[i].step.mail.next = &a->steps[i + 1].step.mail;
    t->steps_out += a->out;
    service_submit(t->monitor->service, &a->steps[0].step, &a->steps[a->out - 1].step);
}

/* The URLs are judged anew: what is allowed may have changed. */
static void add_retry(struct monitor_thread *t, struct action *a, const struct asset *asset)
{
    struct action_step *s = add_step(t, a, STEP_RETRY, asset->id);
    s->step.u.retry.id = s->id;
    for (int i = 0; i < NOTIFY_COUNT; i++)
        s->step.u.retry.url_states[i] =
            judge_url(t->monitor->policy, asset->deliveries[i].url, NULL);
}

static void forget(struct monitor_thread *t, struct action *a)
{
    struct action **link = &t->actions;
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    free(a);
}

static void answer(struct monitor_thread *t, struct action *a)
{
    log_info("monitor_action_done", LOG_S("action", a->name), LOG_S("target", a->target),
             LOG_I("done", a->done), LOG_I("refused", a->refused));
    if (a->failed && a->done == 0) {
        monitor_reply_sentence(t, a->x, 503, "Not done",
                               "The store did not take it; try again later.");
    } else if (a->done == 1 && !a->matching) {
        monitor_redirect(t, a->x, a->back);
    } else if (!a->matching) {
        monitor_reply_sentence(
            t, a->x, 409, "Not done",
            "It has not ended yet, is not there any more, or the queue is full.");
    } else {
        struct page p = monitor_page(t);
        html_begin(&p, SECTION_NONE, "Done", false);
        (void)buf_addf(p.out, "<p role=\"status\"><strong>%u</strong> sent on their way again",
                       a->done);
        if (a->refused)
            (void)buf_addf(p.out, "; %u could not be (the queue is full, or they have changed)",
                           a->refused);
        (void)buf_addf(p.out, ".%s%s</p><p><a href=\"%s%s\">Go on</a></p>\n",
                       a->more ? " There may be more: do it again for the rest." : "",
                       a->failed ? " Then the store failed." : "", p.prefix, a->back);
        monitor_reply_page(t, a->x, &p, 200);
    }
    forget(t, a);
}

/* The next assets that match, or the end. */
static void next_batch(struct monitor_thread *t, struct action *a)
{
    CLEANUP(asset_page_release) struct asset_page page = { 0 };
    struct asset_query query = filter_query(&a->filter, BATCH);
    struct err err = { 0 };
    a->more = false;
    if (store_list(t->monitor->store, &query, &page, &err) < 0) {
        log_error("store_read", LOG_S("why", err.msg));
        a->failed = true;
    }
    for (size_t i = 0; i < page.n; i++) {
        CLEANUP(asset_release) struct asset asset = { 0 };
        if (store_find(t->monitor->store, page.assets[i].id, &asset, &err) > 0)
            add_retry(t, a, &asset);
    }
    a->more = page.more;
    a->examined += BATCH;
    memcpy(a->filter.after, page.next, sizeof(a->filter.after));
    if (a->out > 0)
        submit(t, a);
}

/* Until something is under way, or nothing is left to do. */
static void go_on(struct monitor_thread *t, struct action *a)
{
    while (a->out == 0 && a->more && !a->failed && !t->draining && a->examined < AT_ONCE_MAX) {
        if (a->dead) {
            struct action_step *s = add_step(t, a, STEP_RESEND, "");
            s->step.u.resend.max = RESEND_BATCH;
            a->examined += RESEND_BATCH;
            submit(t, a);
        } else {
            next_batch(t, a);
        }
    }
    if (a->out == 0)
        answer(t, a);
}

static void count(struct action *a, const struct step *step)
{
    if (step->result == STEP_FAILED)
        a->failed = true;
    else if (step->result != STEP_DONE)
        a->refused++;
    else
        a->done += step->kind == STEP_RESEND ? step->u.resend.ret_count : 1;
    if (!a->dead)
        return;
    a->refused = 0; /* none was dead any more: that is the end, and no refusal */
    a->more = step->result == STEP_DONE && step->u.resend.ret_count == RESEND_BATCH;
}

void actions_answered(struct monitor_thread *t, struct step *step)
{
    struct action *a = ((struct action_step *)step)->action;
    t->steps_out--;
    count(a, step);
    if (--a->out == 0)
        go_on(t, a);
}

void actions_abandon(struct monitor_thread *t)
{
    while (t->steps_out > 0) {
        for (struct mail *m = mailbox_wait(&t->box, -1); m; m = m->next)
            if (m != &t->watch.mail)
                t->steps_out--;
    }
    while (t->actions)
        forget(t, t->actions);
}

/* ---- each of them -------------------------------------------------------------------------- */

void retry_one(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(asset_release) struct asset asset = { 0 };
    char path[64], what[120];
    struct err err;
    if (!confirm_is_allowed(t, x))
        return;
    int found = store_find(t->monitor->store, r->id, &asset, &err);
    if (found < 0) {
        monitor_store_away(t, x, false, &err);
        return;
    }
    if (found == 0) {
        monitor_reply_sentence(t, x, 404, "Assets", "There is no asset with this id (any more).");
        return;
    }
    (void)snprintf(path, sizeof(path), "/assets/%s/retry", asset.id);
    if (r->http->method != HTTP_POST) {
        (void)snprintf(
            what, sizeof(what),
            "Asset %s is queued again and gets a new verdict; its webhooks are sent anew.",
            asset.id);
        confirm_ask(t, x, r,
                    &(struct question){ .path = path, .title = "Validate again", .what = what });
    } else if (confirm_is_given(t, x, r, path)) {
        struct action *a = begin(t, x, "retry", asset.id);
        if (!a)
            return;
        (void)snprintf(a->back, sizeof(a->back), "/assets/%s", asset.id);
        add_retry(t, a, &asset);
        submit(t, a);
    }
}

void retry_matching(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    struct filter f;
    const char *why;
    if (!confirm_is_allowed(t, x))
        return;
    if (!filter_read(r->http->query, &f, &why)) {
        monitor_reply_sentence(t, x, 400, "Assets", why);
        return;
    }
    f.by_state = true;
    f.state = ASSET_FAILED;
    f.after[0] = '\0';
    if (r->http->method != HTTP_POST) {
        confirm_ask(t, x, r,
                    &(struct question){
                        .path = "/retry",
                        .title = "Retry all that match",
                        .what = "Every failed asset that matches the search is queued again and "
                                "gets a new verdict; its webhooks are sent anew. Up to 10000 of "
                                "them at once, the newest first.",
                        .filter = &f });
    } else if (confirm_is_given(t, x, r, "/retry")) {
        struct action *a = begin(t, x, "retry_matching",
                                 f.by_code ? finding_name((enum finding_code)f.code) : "failed");
        if (!a)
            return;
        a->filter = f;
        a->matching = a->more = true;
        (void)snprintf(a->back, sizeof(a->back), "/assets?state=queued");
        go_on(t, a);
    }
}

void resend_one(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(event_view_release) struct event_view event = { 0 };
    char path[WEBHOOK_ID_LEN + 32];
    struct err err;
    if (!confirm_is_allowed(t, x))
        return;
    int found = store_event(t->monitor->store, r->id, &event, &err);
    if (found < 0) {
        monitor_store_away(t, x, false, &err);
        return;
    }
    if (found == 0) {
        monitor_reply_sentence(t, x, 404, "Webhooks", "There is no event with this id (any more).");
        return;
    }
    (void)snprintf(path, sizeof(path), "/webhooks/%s/resend", event.webhook_id);
    if (r->http->method != HTTP_POST) {
        confirm_ask(t, x, r,
                    &(struct question){
                        .path = path,
                        .title = "Send again",
                        .what = "The event is sent again at once, with the same webhook-id, by "
                                "which its receiver can tell a repeat." });
    } else if (confirm_is_given(t, x, r, path)) {
        struct action *a = begin(t, x, "resend", event.webhook_id);
        if (!a)
            return;
        (void)snprintf(a->back, sizeof(a->back), "/assets/%s", event.asset_id);
        struct action_step *s = add_step(t, a, STEP_RESEND, event.webhook_id);
        s->step.u.resend.webhook_id = s->id;
        s->step.u.resend.max = 1;
        submit(t, a);
    }
}

void resend_dead(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    if (!confirm_is_allowed(t, x))
        return;
    if (r->http->method != HTTP_POST) {
        confirm_ask(t, x, r,
                    &(struct question){
                        .path = "/resend-dead",
                        .title = "Send all dead letters again",
                        .what = "Every event that was given up is sent again at once, oldest "
                                "first, up to 10000 of them. Their receivers can tell repeats by "
                                "the webhook-id." });
    } else if (confirm_is_given(t, x, r, "/resend-dead")) {
        struct action *a = begin(t, x, "resend_dead", "dead");
        if (!a)
            return;
        a->matching = a->more = a->dead = true;
        (void)snprintf(a->back, sizeof(a->back), "/webhooks");
        go_on(t, a);
    }
}
