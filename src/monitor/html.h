#ifndef MONITOR_HTML_H
#define MONITOR_HTML_H
/* html: the frame that all pages share, and the small parts that they are made of. What comes from
 * clients (paths, URLs, answers) goes through html_text(), always. */
#include "base/buf.h"
#include "store/store.h"

/* The page being made. */
struct page {
    struct buf *out;
    const char *prefix; /* stands before every path; "" if there is none */
    int64_t now_ms;
    bool read_only;
    bool charts;     /* the chart library is here */
    char version[9]; /* of style sheet and script, so that they may be kept for ever */
};

enum section {
    SECTION_OVERVIEW,
    SECTION_ASSETS,
    SECTION_WORKERS,
    SECTION_QUEUE,
    SECTION_WEBHOOKS,
    SECTION_NONE
};
enum { SECTIONS = SECTION_NONE };

/* From the doctype to the heading, which is the title too. plots: the page has some. */
void html_begin(struct page *p, enum section section, const char *title, bool plots);
void html_end(struct page *p);
/* The store cannot be written just now: above all else on a page. */
void html_unhealthy(struct page *p, const char *why);

/* Text of a client, as text and nothing else: no markup, and its direction stays its own. */
void html_text(struct page *p, const char *text);
/* The same of bytes, of which at most max are shown. */
void html_bytes(struct page *p, const char *data, size_t len, size_t max);
/* A time as <time>, or "–" for 0. */
void html_time(struct page *p, int64_t wall_ms);
/* 1500: "1.5 s"; 90000: "1 min 30 s". */
void html_duration(struct page *p, int64_t ms);
void html_asset_link(struct page *p, const char *id);
void html_state(struct page *p, const char *state); /* a word of ours, coloured by its class */
/* <div><dt>name</dt><dd>value</dd></div>, kept up to date by the script under key. */
void html_figure(struct page *p, const char *name, const char *key, uint64_t value);
/* A link that looks like a button, to the page where an action is confirmed. Left out when read only. */
void html_action(struct page *p, const char *path, const char *label, const char *about);
/* A table in a frame that scrolls on narrow screens. heads: joined by "|". */
void html_table_begin(struct page *p, const char *id, const char *caption, const char *heads);
void html_table_end(struct page *p, size_t rows, const char *none);
#endif
