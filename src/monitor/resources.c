/* resources: the style sheet, the script and the icon, which are files of this folder and parts of the
 * program, and the chart library, which is a file of Debian's package libjs-chart.js. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/log.h"
#include "monitor/parts.h"

#define RESOURCE(name, file)                                                                       \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global " #name "\n" #name ":\n"                                                      \
            ".incbin \"src/monitor/" file "\"\n"                                                   \
            ".byte 0\n"                                                                            \
            ".popsection\n");                                                                      \
    extern const char name[]

RESOURCE(monitor_style, "style.css");
RESOURCE(monitor_script, "monitor.js");
RESOURCE(monitor_icon, "icon.svg");

enum { CHARTS_MAX_LEN = 2 * 1024 * 1024 };
static const char charts_path[] = "/usr/share/javascript/chart.js/chart.min.js";
static const char script_type[] = "text/javascript; charset=utf-8";
static const char kept_fields[] =
    "X-Content-Type-Options: nosniff\r\nCache-Control: private, max-age=31536000, immutable\r\n";
static const char charts_fields[] =
    "X-Content-Type-Options: nosniff\r\nCache-Control: private, max-age=3600\r\n";

static const char *charts_of(const struct monitor *monitor)
{
    return monitor->charts ? monitor->charts : charts_path;
}

bool charts_are_here(const struct monitor *monitor)
{
    return access(charts_of(monitor), R_OK) == 0;
}

void resources_version(char ret[static 9])
{
    uint32_t hash = fnv1a(FNV1A_BEGIN, monitor_style, strlen(monitor_style));
    hash = fnv1a(hash, monitor_script, strlen(monitor_script));
    (void)snprintf(ret, 9, "%08x", (unsigned)hash);
}

void style_get(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    (void)buf_adds(&t->body, monitor_style);
    monitor_reply(t, x, 200, "text/css; charset=utf-8", kept_fields);
}

void script_get(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    (void)buf_adds(&t->body, monitor_script);
    monitor_reply(t, x, 200, script_type, kept_fields);
}

void icon_get(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    (void)buf_adds(&t->body, monitor_icon);
    monitor_reply(t, x, 200, "image/svg+xml", kept_fields);
}

static int read_file(const char *path, struct buf *out, struct err *err)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, errno, "open '%s'", path);
    if (!S_ISREG(st.st_mode) || st.st_size > CHARTS_MAX_LEN)
        return err_set(err, ERR_INVALID, "'%s' is no script", path);
    char *room = buf_room(out, (size_t)st.st_size);
    ssize_t n = room ? read(fd, room, (size_t)st.st_size) : -1;
    if (n != st.st_size)
        return err_set(err, ERR_IO, "read '%s'", path);
    buf_grew(out, (size_t)n);
    return 0;
}

void charts_get(struct monitor_thread *t, struct http_exchange *x, const struct request *r)
{
    (void)r;
    struct err err;
    if (read_file(charts_of(t->monitor), &t->body, &err) < 0) {
        log_warn("charts", LOG_S("why", err.msg));
        monitor_reply_problem(t, x, 404, "Not Found", "The chart library is not installed.");
        return;
    }
    monitor_reply(t, x, 200, script_type, charts_fields);
}
