#ifndef MONITOR_PARTS_H
#define MONITOR_PARTS_H
/* parts: how the files of the monitor see each other. Everything here belongs to the monitor's one HTTP
 * thread. A page is made in t->body, then sent with one of the replies. */
#include "base/mailbox.h"
#include "monitor/filter.h"
#include "monitor/html.h"
#include "monitor/monitor.h"
#include "monitor/series.h"
#include "monitor/token.h"

enum { PAGE_ROWS = 50 };

struct action;
struct stream; /* one open answer of /live */

struct monitor_thread {
    const struct monitor *monitor;
    struct mailbox box; /* answered steps of actions, and the watch */
    struct token_key key;
    struct buf body; /* of the answer being made */
    struct series series;
    char version[9]; /* of the style sheet and the script */
    const char *who; /* asks for what is being answered; NULL: unknown */
    bool draining;
    /* actions.c */
    struct action *actions;
    unsigned steps_out;
    /* live.c */
    struct service_watch watch;
    bool watching, changed;
    struct stream *streams;
    unsigned n_streams;
    int64_t told_ms; /* monotonic; when the streams got something last */
};

/* monitor.c: answers */
extern const char type_html[], type_json[], type_text[];
struct page monitor_page(struct monitor_thread *t);
void monitor_reply(struct monitor_thread *t, struct http_exchange *x, int status, const char *type,
                   const char *fields);
/* t->body is a page (it is ended here) or a JSON document. */
void monitor_reply_page(struct monitor_thread *t, struct http_exchange *x, struct page *p,
                        int status);
void monitor_reply_json(struct monitor_thread *t, struct http_exchange *x);
/* A page of one sentence. */
void monitor_reply_sentence(struct monitor_thread *t, struct http_exchange *x, int status,
                            const char *title, const char *sentence);
/* problem+json (RFC 9457) */
void monitor_reply_problem(struct monitor_thread *t, struct http_exchange *x, int status,
                           const char *title, const char *detail);
/* 303 to a path of ours. */
void monitor_redirect(struct monitor_thread *t, struct http_exchange *x, const char *path);
void monitor_store_away(struct monitor_thread *t, struct http_exchange *x, bool json,
                        const struct err *err);

/* What a route's function is called with: id is the part of the path that the route leaves open. */
struct request {
    const struct http_request *http;
    const char *id;
};
typedef void route_fn(struct monitor_thread *t, struct http_exchange *x, const struct request *r);

/* overview.c */
enum { FIGURES = 14 };
struct figure {
    const char *name, *key;
    char text[32];
};
int overview_figures(struct monitor_thread *t, int64_t now_ms, struct figure ret[static FIGURES],
                     struct err *err);
route_fn overview_page;
/* assets.c, story.c, preview.c */
route_fn assets_page, failed_page, story_page, preview_get;
/* queue.c, webhooks.c, workers.c */
route_fn workers_page, queue_page, webhooks_page;
enum { PROCESSES_MAX = 256, PROCESS_NAME_LEN = 96 };
/* The processes that work on this store, oldest first: *ret_all is freed by the caller. -1: the store is away. */
int processes_read(struct monitor_thread *t, struct store_process **ret_all, size_t *ret_n,
                   struct err *err);
/* "host:pid"; returns ret. */
const char *process_name(const struct store_process *process, char ret[static PROCESS_NAME_LEN]);
route_fn drain_worker, resume_worker, resize_worker, api_grow, api_shrink;

/* confirm.c */
struct question {
    const char *path, *title;    /* of what is posted; what the button says */
    const char *what;            /* will happen: sentences, made of our own words only */
    const struct filter *filter; /* goes with the form; NULL: none */
    const char *input;           /* another part of the form, as HTML; NULL: none */
    const char *back;            /* where "no" leads; NULL: the first page */
};
/* Whether this monitor changes anything; if not, it has answered. */
bool confirm_is_allowed(struct monitor_thread *t, struct http_exchange *x);
void confirm_ask(struct monitor_thread *t, struct http_exchange *x, const struct request *r,
                 const struct question *q);
/* Whether what was posted comes from the page that asked; if not, it has answered. */
bool confirm_is_given(struct monitor_thread *t, struct http_exchange *x, const struct request *r,
                      const char *path);
/* actions.c */
route_fn retry_one, retry_matching, resend_one, resend_dead;
void actions_answered(struct monitor_thread *t, struct step *step);
/* Wait for every step that is under way: nothing may be answered any more. */
void actions_abandon(struct monitor_thread *t);
/* flower.c: JSON */
route_fn api_workers, api_tasks, api_task_info, api_queues_length;
route_fn api_overview, api_history, api_webhooks;
/* live.c */
route_fn live_get;
void live_changed(struct monitor_thread *t);
int live_sleep_ms(const struct monitor_thread *t);
void live_turn_over(struct monitor_thread *t);
void live_gone(struct monitor_thread *t, struct http_exchange *x);
void live_end(struct monitor_thread *t);
/* resources.c: files of this folder, as parts of the program */
route_fn style_get, script_get, icon_get, charts_get;
void resources_version(char ret[static 9]);
bool charts_are_here(const struct monitor *monitor);
#endif
