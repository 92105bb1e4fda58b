/* The feed's text: made once for all streams alike, compressed so that any run of pieces is a stream. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "api/channel.h"
#include "base/cleanup.h"

static struct feed_entry entry(uint64_t seq, enum asset_state state)
{
    return (struct feed_entry){ .seq = seq, .id = "0abcdef", .run = 1, .state = state };
}

/* A piece of the entries after…upto, all queued. */
static struct piece *piece_of(struct channels *cs, const struct channel *c, uint64_t after,
                              uint64_t upto)
{
    struct piece *piece = NULL;
    struct err err;
    for (uint64_t seq = after + 1; seq <= upto; seq++) {
        struct feed_entry e = entry(seq, ASSET_QUEUED);
        channel_add(&cs->scrap, c, &e);
    }
    assert_int_equal(channel_cut(cs, c, &cs->scrap, after, upto, &piece, &err), 0);
    assert_int_equal(cs->scrap.len, 0);
    return piece;
}

static void only_the_states_asked_for_are_told(void **state)
{
    (void)state;
    struct channels cs;
    channels_init(&cs);
    struct channel *c = channels_get(&cs, 1U << ASSET_FAILED, false);
    struct feed_entry queued = entry(1, ASSET_QUEUED), failed = entry(2, ASSET_FAILED);
    channel_add(&cs.scrap, c, &queued);
    assert_int_equal(cs.scrap.len, 0);
    channel_add(&cs.scrap, c, &failed);
    assert_string_equal(buf_str(&cs.scrap),
                        "id: 2\ndata: {\"id\":\"0abcdef\",\"state\":\"failed\"}\n\n");
    channels_release(&cs);
}

static void an_event_says_no_more_than_it_must(void **state)
{
    (void)state;
    struct channels cs;
    channels_init(&cs);
    struct feed_entry e = entry(7, ASSET_FAILED);
    e.run = 2;
    e.errors = "{\"asset\":[\"is empty\"]}";
    channel_add(&cs.scrap, channels_get(&cs, CHANNEL_ALL, false), &e);
    assert_string_equal(buf_str(&cs.scrap),
                        "id: 7\ndata: {\"id\":\"0abcdef\",\"run\":2,\"state\":\"failed\","
                        "\"errors\":{\"asset\":[\"is empty\"]}}\n\n");
    buf_clear(&cs.scrap);
    channel_add_json(&cs.scrap, &e);
    assert_string_equal(buf_str(&cs.scrap),
                        "{\"seq\":7,\"id\":\"0abcdef\",\"run\":2,\"state\":\"failed\","
                        "\"errors\":{\"asset\":[\"is empty\"]},"
                        "\"changedAt\":\"1970-01-01T00:00:00.000Z\"}");
    channels_release(&cs);
}

static void of_nothing_there_is_no_piece(void **state)
{
    (void)state;
    struct channels cs;
    channels_init(&cs);
    for (int gzip = 0; gzip < 2; gzip++)
        assert_null(piece_of(&cs, channels_get(&cs, CHANNEL_ALL, gzip), 7, 7));
    channels_release(&cs);
}

static void a_text_that_did_not_fit_is_no_piece(void **state)
{
    (void)state;
    struct channels cs;
    struct buf tiny;
    struct piece *piece = NULL;
    struct err err;
    channels_init(&cs);
    buf_init(&tiny, 10);
    struct channel *c = channels_get(&cs, CHANNEL_ALL, false);
    struct feed_entry e = entry(1, ASSET_QUEUED);
    channel_add(&tiny, c, &e);
    assert_int_equal(channel_cut(&cs, c, &tiny, 0, 1, &piece, &err), -1);
    assert_null(piece);
    assert_false(buf_failed(&tiny)); /* and the next one may fit */
    buf_release(&tiny);
    channels_release(&cs);
}

static void any_run_of_pieces_is_a_whole_gzip_file(void **state)
{
    (void)state;
    struct channels cs;
    channels_init(&cs);
    struct channel *plain = channels_get(&cs, CHANNEL_ALL, false);
    struct channel *gzip = channels_get(&cs, CHANNEL_ALL, true);
    for (uint64_t first = 0; first < 3; first++) { /* who comes later lacks what came before */
        struct channel_sum sum = { 0 };
        struct buf file, right;
        char trailer[CHANNEL_TRAILER_LEN], got[4096];
        buf_init(&file, 4096);
        buf_init(&right, 4096);
        (void)buf_add(&file, channel_gzip_head, sizeof(channel_gzip_head));
        for (uint64_t i = first; i < 4; i++) {
            CLEANUP(freep) struct piece *packed = piece_of(&cs, gzip, 3 * i, 3 * i + 3);
            CLEANUP(freep) struct piece *text = piece_of(&cs, plain, 3 * i, 3 * i + 3);
            assert_true(packed->len < text->len);
            channel_sum_add(&sum, packed);
            (void)buf_add(&file, packed->data, packed->len);
            (void)buf_add(&right, text->data, text->len);
        }
        channel_trailer(&sum, trailer);
        (void)buf_add(&file, trailer, sizeof(trailer));
        z_stream z = { .next_in = (Bytef *)file.data,
                       .avail_in = (uInt)file.len,
                       .next_out = (Bytef *)got,
                       .avail_out = sizeof(got) };
        assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
        assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END); /* the sum is right too */
        assert_int_equal(z.avail_in, 0);
        assert_int_equal(z.total_out, right.len);
        assert_memory_equal(got, right.data, right.len);
        (void)inflateEnd(&z);
        buf_release(&file);
        buf_release(&right);
    }
    channels_release(&cs);
}

static void what_is_kept_is_found_by_position(void **state)
{
    (void)state;
    struct channels cs;
    channels_init(&cs);
    struct channel *c = channels_get(&cs, CHANNEL_ALL, false);
    channel_restart(c, 10);
    assert_null(channel_find(c, 10));
    channel_keep(c, piece_of(&cs, c, 10, 12));
    channel_keep(c, piece_of(&cs, c, 15, 16)); /* nothing was told of 13 to 15 */
    static const struct {
        uint64_t seq, after;
    } cases[] = { { 9, 10 }, { 10, 10 }, { 11, 10 }, { 12, 15 }, { 14, 15 }, { 15, 15 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(channel_find(c, cases[i].seq)->after, cases[i].after);
    assert_null(channel_find(c, 16));
    assert_int_equal(c->kept_after, 10);
    channels_release(&cs);
}

static void what_is_kept_is_bounded(void **state)
{
    (void)state;
    struct channels cs;
    channels_init(&cs);
    struct channel *c = channels_get(&cs, CHANNEL_ALL, false);
    channel_restart(c, 0);
    uint64_t upto = 0;
    for (; upto < 50000; upto += 500) {
        channel_keep(c, piece_of(&cs, c, upto, upto + 500));
        assert_true(c->kept_len <= 1024 * 1024);
    }
    assert_true(c->kept_after > 0);
    assert_int_equal(channel_find(c, 0)->after, c->kept_after);
    channel_restart(c, upto);
    assert_null(channel_find(c, 0));
    assert_int_equal(c->kept_len, 0);
    channels_release(&cs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_says_no_more_than_it_must),
        cmocka_unit_test(only_the_states_asked_for_are_told),
        cmocka_unit_test(of_nothing_there_is_no_piece),
        cmocka_unit_test(a_text_that_did_not_fit_is_no_piece),
        cmocka_unit_test(any_run_of_pieces_is_a_whole_gzip_file),
        cmocka_unit_test(what_is_kept_is_found_by_position),
        cmocka_unit_test(what_is_kept_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
