#ifndef API_CHANNEL_H
#define API_CHANNEL_H
/* channel: the feed as text for all streams that want it alike: the same states, compressed or not. What is
 * new is made a piece once, however many streams it is written to, and kept for a while for those whose
 * clients are slow. Belongs to one HTTP thread.
 *
 * A compressed piece refers to nothing before it, so pieces fit behind one another in any stream of the
 * channel; only the checksum at a stream's end is its own. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "http/link.h"
#include "store/store.h"

enum {
    CHANNEL_ALL = (1 << ASSET_STATES) - 1, /* every state */
    CHANNELS = 2 << ASSET_STATES,
    CHANNEL_TRAILER_LEN = 10,
    CHANNEL_TEXT_LEN = 64 * 1024, /* a piece has hardly more; compressed, four times that */
};

struct piece {
    struct http_link link;
    uint64_t after, upto; /* of the feed: what came after the one, up to the other */
    size_t text_len;
    uint32_t crc, crc_op; /* of the text */
    size_t len;
    char data[];
};

struct channel {
    unsigned states; /* bit n: enum asset_state n */
    bool gzip;
    struct http_link streams; /* the caller's */
    size_t n_streams;
    struct buf text;         /* of what is new, to be cut */
    uint64_t told;           /* up to here all was cut */
    struct http_link pieces; /* oldest first; without those in which there would be nothing */
    uint64_t kept_after;     /* they are all there is after this */
    size_t kept_len;
};

struct channels {
    struct channel of[CHANNELS];
    struct buf scrap; /* for the text of a single piece; empty between two */
    void *compressor; /* a z_stream; NULL: not needed yet */
};

/* A stream's own of a compressed answer; begins zeroed. */
struct channel_sum {
    uint32_t crc, text_len;
};

void channels_init(struct channels *cs);
void channels_release(struct channels *cs);
struct channel *channels_get(struct channels *cs, unsigned states, bool gzip);

/* Its first stream comes, or its last has left: what is told and kept begins after seq. */
void channel_restart(struct channel *c, uint64_t seq);
/* An entry as JSON, and as an event (HTML, §9.2.6) if the channel has its state. The event says no more than
 * it must, for every byte goes to every stream. */
void channel_add_json(struct buf *out, const struct feed_entry *e);
void channel_add(struct buf *out, const struct channel *c, const struct feed_entry *e);
/* So much is new that it should not wait. */
bool channel_is_full(const struct channel *c);
/* Make a piece of text, which is empty then. *ret_piece is NULL when it was; free() it, or keep it. */
int channel_cut(struct channels *cs, const struct channel *c, struct buf *text, uint64_t after,
                uint64_t upto, struct piece **ret_piece, struct err *err);
/* Takes the piece, which follows the newest kept, and keeps it at least until the next. */
void channel_keep(struct channel *c, struct piece *piece);
/* Of the kept: the first that reaches beyond seq. NULL: none. */
const struct piece *channel_find(const struct channel *c, uint64_t seq);

/* What a compressed stream begins with, and ends with (RFC 1952 §2.3). */
extern const char channel_gzip_head[10];
void channel_sum_add(struct channel_sum *sum, const struct piece *piece);
void channel_trailer(const struct channel_sum *sum, char ret[static CHANNEL_TRAILER_LEN]);
#endif
