#ifndef API_VIEW_H
#define API_VIEW_H
/* view: an asset, or a webhook event, as JSON: whole, or as in a list. */
#include "base/buf.h"
#include "store/store.h"

/* {"id","state","errors"?,"assetPath","acceptedAt",…,"findings","image","notifications","deliveries"}.
 * deliveries NULL: in brief, as in lists: findings and all behind them are left out. */
void view_asset(const struct asset *asset, const struct event_page *deliveries, struct buf *out);
/* {"id","assetId","notification","run","state","url",…,"log"}; brief leaves out the log. */
void view_event(const struct event_view *event, bool brief, struct buf *out);
#endif
