/* preview: the file of an asset that passed, byte for byte what was judged: its size and its digest are
 * held against the verdict before anything is sent, since the file may have been written over. It is
 * never decoded here; a browser gets it with a fixed type that it may not guess about. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "monitor/parts.h"
#include "monitor/story.h"

enum { PREVIEW_MAX_LEN = 32 * 1024 * 1024 };

static const char preview_fields[] =
    "Content-Security-Policy: default-src 'none'; sandbox\r\nX-Content-Type-Options: nosniff\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\nContent-Disposition: inline\r\n"
    "Cache-Control: private, no-cache\r\n";

static bool is_digest_of(const char *hex, const uint8_t *data, size_t len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned n = 0;
    if (!EVP_Digest(data, len, digest, &n, EVP_sha256(), NULL))
        return false;
    for (unsigned i = 0; i < n; i++)
        (void)snprintf(text + 2 * (size_t)i, 3, "%02x", digest[i]);
    return strcmp(hex, text) == 0;
}

/* All len bytes of the file into data. 0: it is shorter. */
static int read_whole(int fd, uint8_t *data, size_t len)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = pread(fd, data + have, len - have, (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : 0;
        have += (size_t)n;
    }
    return 1;
}

/* 1: *ret_data (the caller frees) are the bytes that the verdict is of. 0: they are not there any more. */
static int read_judged(const struct asset_root *root, const struct asset *asset,
                       const struct story *story, uint8_t **ret_data, struct err *err)
{
    CLEANUP(closep) int fd = -1;
    CLEANUP(freep) uint8_t *data = NULL;
    uint64_t size = 0, judged = (uint64_t)story_bytes(story);
    int found = asset_root_file(root, asset->path, &fd, &size, err);
    if (found <= 0 || size != judged || size > PREVIEW_MAX_LEN)
        return found < 0 ? -1 : 0;
    data = malloc(size);
    if (!data)
        return err_set(err, ERR_NOMEM, "out of memory");
    int whole = read_whole(fd, data, size);
    if (whole < 0)
        return err_errno(err, errno, "read");
    if (!whole || !is_digest_of(story_sha256(story), data, size))
        return 0;
    *ret_data = TAKE(data);
    return 1;
}

static void reply_preview(struct monitor_thread *t, struct http_exchange *x,
                          const struct asset *asset)
{
    CLEANUP(story_release) struct story story;
    CLEANUP(freep) uint8_t *data = NULL;
    struct err err = { 0 };
    int found = 0;
    story_read(asset, &story);
    if (t->monitor->root && story_has_preview(asset, &story))
        found = read_judged(t->monitor->root, asset, &story, &data, &err);
    if (found < 0) {
        log_warn("preview", LOG_S("asset", asset->id), LOG_S("why", err.msg));
        monitor_reply_problem(t, x, 503, "Service Unavailable", "The file could not be read.");
    } else if (found == 0) {
        monitor_reply_problem(t, x, 404, "Not Found",
                              "The file that was judged is not there (any more).");
    } else {
        http_reply(x, &(struct http_response){ .status = 200,
                                               .content_type = "image/jpeg",
                                               .body = data,
                                               .body_len = (size_t)story_bytes(&story),
                                               .fields = preview_fields });
    }
}

void preview_get(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    CLEANUP(asset_release) struct asset asset = { 0 };
    struct err err;
    int found = store_find(t->monitor->store, r->id, &asset, &err);
    if (found < 0)
        monitor_store_away(t, x, true, &err);
    else if (found == 0)
        monitor_reply_problem(t, x, 404, "Not Found", "There is no asset with this id (any more).");
    else
        reply_preview(t, x, &asset);
}
