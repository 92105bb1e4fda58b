#include "cmd/monitor_parts.h"

#include "cmd/process_tell.h"
#include "http/keys.h"
#include "worker/worker.h"

static bool tell_self(void *arg, struct store_process *ret)
{
    const struct monitor_parts *parts = arg;
    if (!parts->process->workers)
        return false;
    process_tell(parts->process, ret);
    return true;
}

static void resize(void *arg, unsigned active)
{
    const struct monitor_parts *parts = arg;
    workers_resize(parts->process->workers, active);
}

static int write_metrics(void *arg, struct buf *out, struct err *err)
{
    const struct monitor_parts *parts = arg;
    return api_metrics_write(parts->api, out, err);
}

static bool admit(void *arg, const struct http_request *request, const char **ret_who)
{
    const struct monitor_parts *parts = arg;
    return http_keys_admit(parts->keys, request, ret_who);
}

struct monitor_hooks monitor_parts_hooks(struct monitor_parts *parts)
{
    return (struct monitor_hooks){ .arg = parts,
                                   .self = tell_self,
                                   .resize = resize,
                                   .metrics = write_metrics,
                                   .admit = admit,
                                   .challenge = http_keys_challenge };
}
