#ifndef BASE_LOG_H
#define BASE_LOG_H
/* log: one line per event to stderr: time, level, a stable event name, then the fields, as logfmt or
 * JSON. Fields are values, not text, so that no file name or URL can forge a line or a field.
 *
 *     log_warn("job_retry", LOG_S("asset", id), LOG_I("attempt", n), LOG_S("why", err.msg));
 *
 * error: someone should act. warn: we coped. info: one line per step of an asset's life. */
#include <stdint.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
    const char *key;
    const char *text; /* NULL: number is meant */
    int64_t number;
};
#define LOG_S(k, v) ((struct log_field){ (k), (v) ? (v) : "", 0 })
#define LOG_I(k, v) ((struct log_field){ (k), NULL, (int64_t)(v) })

/* Both are set once, before the first thread starts. */
void log_setup(enum log_level least, enum log_format format);
int log_enabled(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);

#define log_at(level, event, ...)                                                                  \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            const struct log_field fields_[] = { __VA_ARGS__ };                                    \
            log_write(level, event, fields_, sizeof(fields_) / sizeof(fields_[0]));                \
        }                                                                                          \
    } while (0)
#define log_error(event, ...) log_at(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_at(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_at(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_at(LOG_DEBUG, event, __VA_ARGS__)
#endif
