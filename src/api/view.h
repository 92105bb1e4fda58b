#ifndef API_VIEW_H
#define API_VIEW_H
/* view: an asset as JSON, for GET /assets/{id} and GET /assets. */
#include "base/buf.h"
#include "store/store.h"

/* {"id","state","errors"?,"assetPath","acceptedAt",…,"findings","image","notifications"}; brief leaves
 * out findings, image and notifications (lists). */
void view_asset(const struct asset *asset, bool brief, struct buf *out);
#endif
