#include "api/channel.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"

enum {
    TEXT_MAX_LEN = 64 * 1024 * 1024,
    KEPT_MAX_LEN = 1024 * 1024, /* of a channel */
    LEVEL = 4,                  /* of compression: small enough, and soon done */
};

const char channel_gzip_head[10] = { 0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, (char)0xff };

void channels_init(struct channels *cs)
{
    *cs = (struct channels){ 0 };
    buf_init(&cs->scrap, TEXT_MAX_LEN);
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct channel *c = &cs->of[i];
        c->states = i & CHANNEL_ALL;
        c->gzip = i > CHANNEL_ALL;
        buf_init(&c->text, TEXT_MAX_LEN);
        http_link_init(&c->streams);
        http_link_init(&c->pieces);
    }
}

void channels_release(struct channels *cs)
{
    for (int i = 0; i < CHANNELS; i++)
        channel_restart(&cs->of[i], 0);
    buf_release(&cs->scrap);
    if (cs->compressor)
        (void)deflateEnd(cs->compressor);
    free(cs->compressor);
}

struct channel *channels_get(struct channels *cs, unsigned states, bool gzip)
{
    return &cs->of[states | (gzip ? CHANNEL_ALL + 1U : 0)];
}

/* ---- text ---------------------------------------------------------------------------------- */

static void add_state(struct buf *out, const struct feed_entry *e)
{
    (void)buf_addf(out, "\"state\":\"%s\"", asset_state_name(e->state));
    if (e->errors)
        (void)buf_addf(out, ",\"errors\":%s", e->errors);
}

void channel_add_json(struct buf *out, const struct feed_entry *e)
{
    char at[CLOCK_TEXT_LEN];
    (void)buf_addf(out, "{\"seq\":%" PRIu64 ",\"id\":\"%s\",\"run\":%u,", e->seq, e->id, e->run);
    add_state(out, e);
    (void)buf_addf(out, ",\"changedAt\":\"%s\"}", clock_text(e->at_ms, at));
}

void channel_add(struct buf *out, const struct channel *c, const struct feed_entry *e)
{
    if (!(c->states >> e->state & 1))
        return;
    (void)buf_addf(out, "id: %" PRIu64 "\ndata: {\"id\":\"%s\",", e->seq, e->id);
    if (e->run > 1)
        (void)buf_addf(out, "\"run\":%u,", e->run);
    add_state(out, e);
    (void)buf_adds(out, "}\n\n");
}

bool channel_is_full(const struct channel *c)
{
    return c->text.len >= (c->gzip ? 4 : 1) * (size_t)CHANNEL_TEXT_LEN;
}

/* ---- pieces -------------------------------------------------------------------------------- */

static z_stream *compressor_of(struct channels *cs)
{
    if (cs->compressor)
        return deflateReset(cs->compressor) == Z_OK ? cs->compressor : NULL;
    z_stream *z = calloc(1, sizeof(*z));
    /* a negative size of the window: bare deflate, the head and the trailer are ours */
    if (z && deflateInit2(z, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(z);
        z = NULL;
    }
    cs->compressor = z;
    return z;
}

static struct piece *piece_new(size_t size)
{
    struct piece *p = malloc(sizeof(*p) + size);
    if (p)
        http_link_init(&p->link);
    return p;
}

static struct piece *make_plain(const struct buf *text)
{
    struct piece *p = piece_new(text->len);
    if (p)
        memcpy(p->data, text->data, p->len = text->len);
    return p;
}

/* Flushed, so that a client can read all of it at once. */
static struct piece *make_gzip(struct channels *cs, const struct buf *text)
{
    z_stream *z = compressor_of(cs);
    size_t size = z ? deflateBound(z, text->len) + 16 : 0; /* 16: the mark of the flush */
    struct piece *p = z ? piece_new(size) : NULL;
    if (!p)
        return NULL;
    z->next_in = (Bytef *)text->data;
    z->avail_in = (uInt)text->len;
    z->next_out = (Bytef *)p->data;
    z->avail_out = (uInt)size;
    (void)deflate(z, Z_SYNC_FLUSH); /* cannot fail: there is room */
    p->len = size - z->avail_out;
    struct piece *shrunk = realloc(p, sizeof(*p) + p->len);
    p = shrunk ? shrunk : p;
    http_link_init(&p->link);
    p->crc = (uint32_t)crc32(0, (const Bytef *)text->data, (uInt)text->len);
    p->crc_op = (uint32_t)crc32_combine_gen((z_off_t)text->len);
    return p;
}

int channel_cut(struct channels *cs, const struct channel *c, struct buf *text, uint64_t after,
                uint64_t upto, struct piece **ret_piece, struct err *err)
{
    struct piece *p = NULL;
    bool failed = buf_failed(text), nothing = text->len == 0;
    if (!failed && !nothing)
        p = c->gzip ? make_gzip(cs, text) : make_plain(text);
    if (p) {
        p->after = after;
        p->upto = upto;
        p->text_len = text->len;
    }
    buf_clear(text);
    if (failed || (!p && !nothing))
        return err_set(err, ERR_NOMEM, "out of memory");
    *ret_piece = p;
    return 0;
}

static void drop_oldest(struct channel *c)
{
    struct piece *p = HTTP_LINKED(c->pieces.next, struct piece, link);
    c->kept_after = p->upto;
    c->kept_len -= p->len;
    http_link_remove(&p->link);
    free(p);
}

void channel_keep(struct channel *c, struct piece *piece)
{
    http_link_append(&c->pieces, &piece->link);
    c->kept_len += piece->len;
    while (c->kept_len > KEPT_MAX_LEN && c->pieces.next != &piece->link)
        drop_oldest(c);
}

void channel_restart(struct channel *c, uint64_t seq)
{
    while (!http_link_alone(&c->pieces))
        drop_oldest(c);
    buf_release(&c->text);
    c->told = c->kept_after = seq;
}

/* From the newest: who is behind is so by little. */
const struct piece *channel_find(const struct channel *c, uint64_t seq)
{
    const struct piece *found = NULL;
    for (struct http_link *l = c->pieces.prev; l != &c->pieces; l = l->prev) {
        const struct piece *p = HTTP_LINKED(l, struct piece, link);
        if (p->upto <= seq)
            break;
        found = p;
    }
    return found;
}

/* ---- a compressed stream's own ------------------------------------------------------------- */

void channel_sum_add(struct channel_sum *sum, const struct piece *piece)
{
    sum->crc = (uint32_t)crc32_combine_op(sum->crc, piece->crc, piece->crc_op);
    sum->text_len += (uint32_t)piece->text_len;
}

void channel_trailer(const struct channel_sum *sum, char ret[static CHANNEL_TRAILER_LEN])
{
    uint32_t words[2] = { htole32(sum->crc), htole32(sum->text_len) };
    memcpy(ret, "\x03\0", 2); /* the last block, empty */
    memcpy(ret + 2, words, sizeof(words));
}
