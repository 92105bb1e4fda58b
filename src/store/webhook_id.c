#include "store/webhook_id.h"

#include <stdio.h>
#include <string.h>

enum { RUN_DIGITS = 9 };

static const char *const states[NOTIFY_COUNT] = { "started", "success", "failed" };

void webhook_id_write(char out[WEBHOOK_ID_LEN + 1], const char *asset_id, unsigned run,
                      enum notify notify)
{
    (void)snprintf(out, WEBHOOK_ID_LEN + 1, "%s_%u_%s", asset_id, run, states[notify]);
}

bool webhook_id_read(const char *text, char ret_asset_id[ASSET_ID_LEN + 1], unsigned *ret_run,
                     enum notify *ret_notify)
{
    size_t id_len = strcspn(text, "_");
    if (id_len == 0 || id_len > ASSET_ID_LEN || text[id_len] != '_')
        return false;
    const char *at = text + id_len + 1;
    unsigned run = 0;
    size_t digits = strspn(at, "0123456789");
    if (digits == 0 || digits > RUN_DIGITS || *at == '0' || at[digits] != '_')
        return false;
    for (size_t i = 0; i < digits; i++)
        run = run * 10 + (unsigned)(at[i] - '0');
    at += digits + 1;
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        if (strcmp(at, states[i]) != 0)
            continue;
        memcpy(ret_asset_id, text, id_len);
        ret_asset_id[id_len] = '\0';
        *ret_run = run;
        *ret_notify = (enum notify)i;
        return true;
    }
    return false;
}
