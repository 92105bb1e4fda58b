#ifndef MONITOR_FILTER_H
#define MONITOR_FILTER_H
/* filter: which assets somebody asks for, as the query of a page says it and as the store wants it:
 * ?q=PATH&state=failed&code=too_wide&since=2026-11-24T08:00&until=…&after=ID. An empty field says
 * nothing, as a browser sends it. Times are UTC. */
#include "http/http.h"
#include "store/store.h"

enum { FILTER_PATH_MAX = 4096, FILTER_TIME_MAX = 32 };

struct filter {
    char q[FILTER_PATH_MAX + 1]; /* a path, or an id */
    bool by_state, by_code;
    enum asset_state state;
    unsigned code;
    char since[FILTER_TIME_MAX], until[FILTER_TIME_MAX]; /* "2026-11-24T08:00"; "": open */
    int64_t since_ms, until_ms;
    char after[ASSET_ID_LEN + 1];
};

/* false: *ret_why is a sentence for a person. */
bool filter_read(struct http_slice form, struct filter *ret, const char **ret_why);
/* The query that it makes; it points into f. */
struct asset_query filter_query(const struct filter *f, unsigned limit);
bool filter_is_empty(const struct filter *f); /* after does not count */
/* As fields of a query, each with "&" behind it, for use in HTML; after is left out. */
void filter_write(const struct filter *f, struct buf *out);
/* "2026-11-24T08:00", also with seconds and a "Z": false if it is no time. */
bool filter_time(const char *text, int64_t *ret_ms);
#endif
