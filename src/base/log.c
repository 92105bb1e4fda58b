#include "base/log.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

enum { LINE_MAX_LEN = 8192, VALUE_MAX_LEN = 512 };

static enum log_level least_level = LOG_INFO;
static enum log_format line_format = LOG_LOGFMT;
static const char *const level_names[] = { "debug", "info", "warn", "error" };

void log_setup(enum log_level least, enum log_format format)
{
    least_level = least;
    line_format = format;
}

int log_enabled(enum log_level level)
{
    return level >= least_level;
}

static int is_bare_word(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("_-./:%+", s[i]))
            return 0;
    return len > 0;
}

static void add_text(struct buf *line, const char *s)
{
    size_t len = strnlen(s, VALUE_MAX_LEN);
    if (line_format == LOG_LOGFMT && is_bare_word(s, len))
        (void)buf_add(line, s, len);
    else
        (void)buf_add_json(line, s, len); /* its escapes are logfmt's too */
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    struct buf line;
    buf_init(&line, LINE_MAX_LEN);
    char now[CLOCK_TEXT_LEN];
    (void)clock_text(clock_wall_ms(), now);
    bool json = line_format == LOG_JSON;
    (void)buf_addf(&line,
                   json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\""
                        : "time=%s level=%s event=%s",
                   now, level_names[level], event);
    for (size_t i = 0; i < n; i++) {
        (void)buf_addf(&line, json ? ",\"%s\":" : " %s=", fields[i].key);
        if (fields[i].text)
            add_text(&line, fields[i].text);
        else
            (void)buf_addf(&line, "%lld", (long long)fields[i].number);
    }
    (void)buf_adds(&line, json ? "}\n" : "\n");
    if (!buf_failed(&line))
        (void)!write(STDERR_FILENO, line.data, line.len); /* nobody to tell if it fails */
    buf_release(&line);
}
