#include "base/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

const struct histogram_bounds histogram_answers = {
    14,
    { 500, 1 * MS, 2500, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1 * S,
      2500 * MS, 5 * S, 10 * S },
};
const struct histogram_bounds histogram_work = {
    18,
    { 1 * MS, 2500, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1 * S,
      2500 * MS, 5 * S, 10 * S, 30 * S, 60 * S, 300 * S, 900 * S, 3600 * S },
};

void histogram_add(struct histogram *h, const struct histogram_bounds *bounds, int64_t us)
{
    if (us < 0)
        us = 0;
    size_t i = 0;
    while (i < bounds->n && us > bounds->us[i])
        i++;
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, (uint64_t)us, memory_order_relaxed);
}

void metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
    (void)buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sample(struct buf *out, const char *name, const char *suffix, const char *labels)
{
    (void)buf_addf(out, labels ? "%s%s{%s} " : "%s%s ", name, suffix, labels);
}

/* µs as seconds, without a floating point's noise: 2500 → 0.0025. */
static void add_seconds(struct buf *out, int64_t us)
{
    char text[40];
    int len = snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64, us / S, us % S);
    while (len > 0 && text[len - 1] == '0')
        len--;
    if (len > 0 && text[len - 1] == '.')
        len--;
    (void)buf_add(out, text, (size_t)len);
}

void metrics_count(struct buf *out, const char *name, const char *labels, uint64_t value)
{
    sample(out, name, "", labels);
    (void)buf_addf(out, "%" PRIu64 "\n", value);
}

void metrics_seconds(struct buf *out, const char *name, const char *labels, int64_t us)
{
    sample(out, name, "", labels);
    add_seconds(out, us < 0 ? 0 : us);
    (void)buf_adds(out, "\n");
}

static void add_bucket(struct buf *out, const char *name, const char *labels)
{
    (void)buf_addf(out, "%s_bucket{%s%sle=\"", name, labels ? labels : "", labels ? "," : "");
}

void metrics_histogram(struct buf *out, const char *name, const char *labels,
                       const struct histogram *h, const struct histogram_bounds *bounds)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= bounds->n; i++) {
        total += h ? atomic_load_explicit(&h->counts[i], memory_order_relaxed) : 0;
        add_bucket(out, name, labels);
        if (i < bounds->n)
            add_seconds(out, bounds->us[i]);
        else
            (void)buf_adds(out, "+Inf");
        (void)buf_addf(out, "\"} %" PRIu64 "\n", total);
    }
    sample(out, name, "_sum", labels);
    add_seconds(out, h ? (int64_t)atomic_load_explicit(&h->sum_us, memory_order_relaxed) : 0);
    (void)buf_adds(out, "\n");
    sample(out, name, "_count", labels);
    (void)buf_addf(out, "%" PRIu64 "\n", total);
}

/* ---- the process --------------------------------------------------------------------------- */

struct process {
    uint64_t start_ticks, virtual_bytes, resident_bytes;
};

/* proc(5): pid (comm) state ppid …; comm may hold anything, so the fields are counted from its end. */
static bool read_stat(struct process *p)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return false;
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    text[len] = '\0';
    const char *rest = strrchr(text, ')');
    long pages = 0;
    if (!rest ||
        sscanf(rest + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
               "%" SCNu64 " %" SCNu64 " %ld",
               &p->start_ticks, &p->virtual_bytes, &pages) != 3)
        return false;
    p->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

static uint64_t count_descriptors(void)
{
    uint64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    for (const struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n - 1; /* the folder's own */
}

static int64_t us_of(struct timespec t)
{
    return t.tv_sec * S + t.tv_nsec / 1000;
}

/* Now, less the time since boot, plus the process's start counted from there. */
static int64_t start_us(uint64_t ticks)
{
    struct timespec now, up;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    return us_of(now) - us_of(up) + (int64_t)ticks * (S / sysconf(_SC_CLK_TCK));
}

void metrics_process(struct buf *out)
{
    struct process p;
    struct timespec cpu;
    struct rlimit files;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
        metrics_family(out, "process_cpu_seconds_total", "counter",
                       "Processor time of the process, without its jailed children.");
        metrics_seconds(out, "process_cpu_seconds_total", NULL, us_of(cpu));
    }
    if (read_stat(&p)) {
        metrics_family(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
        metrics_count(out, "process_resident_memory_bytes", NULL, p.resident_bytes);
        metrics_family(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.");
        metrics_count(out, "process_virtual_memory_bytes", NULL, p.virtual_bytes);
        metrics_family(out, "process_start_time_seconds", "gauge", "Start, in Unix time.");
        metrics_seconds(out, "process_start_time_seconds", NULL, start_us(p.start_ticks));
    }
    metrics_family(out, "process_open_fds", "gauge", "Open descriptors.");
    metrics_count(out, "process_open_fds", NULL, count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        metrics_family(out, "process_max_fds", "gauge", "Descriptors that may be open.");
        metrics_count(out, "process_max_fds", NULL, files.rlim_cur);
    }
}
