/* base: buffers, errors, clock, log lines, mailboxes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mailbox.h"

static void a_buffer_grows_and_stays_a_string(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_addf(&b, "%d,", i), 0);
    assert_int_equal(b.len, strlen(b.data));
    buf_drop(&b, 2);
    assert_memory_equal(b.data, "1,2,", 4);
    buf_release(&b);
}

static void a_full_buffer_refuses_and_keeps_what_it_has(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    assert_int_equal(buf_adds(&b, "abc"), 0);
    assert_int_equal(buf_adds(&b, "de"), -1);
    assert_true(buf_failed(&b));
    assert_string_equal(buf_str(&b), "abc");
    buf_clear(&b);
    assert_false(buf_failed(&b));
    assert_int_equal(buf_addf(&b, "%d", 12345), -1);
    buf_release(&b);
}

static void text_becomes_json_that_cannot_be_broken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *json;
    } cases[] = {
        { "plain", "\"plain\"" },
        { "\"\\\n\x01\x7f", "\"\\\"\\\\\\n\\u0001\\u007f\"" },
        { "\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
        { "\xff", "\"\xef\xbf\xbd\"" },
        { "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
        /* NEL and CSI, a line separator, an override of direction; and their harmless neighbours */
        { "\xc2\x85\xc2\x9b\xc2\xa0", "\"\\u0085\\u009b\xc2\xa0\"" },
        { "\xe2\x80\xa8\xe2\x80\xae\xe2\x80\xa7\xe2\x80\xaf",
          "\"\\u2028\\u202e\xe2\x80\xa7\xe2\x80\xaf\"" },
        { "\xe2\x80\x8f\xe2\x81\xa6\xd8\x9c", "\"\\u200f\\u2066\\u061c\"" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 1000);
        assert_int_equal(buf_add_json(&b, cases[i].text, strlen(cases[i].text)), 0);
        assert_string_equal(buf_str(&b), cases[i].json);
        buf_release(&b);
    }
}

static void text_becomes_html_that_stays_text(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    static const char hostile[] = "<img src=x onerror='a(\"&\")'>\x1b";
    assert_int_equal(buf_add_html(&b, hostile, sizeof(hostile) - 1), 0);
    assert_string_equal(buf_str(&b),
                        "&lt;img src=x onerror=&#39;a(&quot;&amp;&quot;)&#39;&gt;\xef\xbf\xbd");
    buf_release(&b);
}

static void errors_gather_their_context(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_errno(&err, ENOSPC, "write %s", "x"), -1);
    assert_int_equal(err.code, ERR_FULL);
    assert_int_equal(err_add(&err, "store"), -1);
    assert_string_equal(err.msg, "store: write x: No space left on device");
    char longer[600];
    memset(longer, 'a', sizeof(longer));
    longer[599] = '\0';
    (void)err_add(&err, "%s", longer);
    assert_true(strlen(err.msg) < sizeof(err.msg));
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), -1);
}

static void times_are_rfc_3339_with_milliseconds(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_LEN];
    assert_string_equal(clock_text(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_text(1795507200123, text), "2026-11-24T08:00:00.123Z");
    assert_string_equal(clock_text(-1, text), "1969-12-31T23:59:59.999Z");
}

/* What log_write() writes to standard error. */
static void logged(enum log_format format, const char *value, char *ret, size_t size)
{
    int saved = dup(STDERR_FILENO), file = memfd_create("log", MFD_CLOEXEC);
    assert_true(saved >= 0 && file >= 0);
    (void)dup2(file, STDERR_FILENO);
    log_setup(LOG_INFO, format);
    log_info("met", LOG_S("path", value), LOG_I("n", -7));
    log_debug("unseen", LOG_I("n", 1));
    log_setup(LOG_INFO, LOG_LOGFMT);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    ssize_t n = pread(file, ret, size - 1, 0);
    ret[n > 0 ? n : 0] = '\0';
    (void)close(file);
}

static void log_lines_cannot_be_forged(void **state)
{
    (void)state;
    char line[2000];
    logged(LOG_LOGFMT, "a b\nlevel=error", line, sizeof(line));
    assert_non_null(strstr(line, " level=info event=met path=\"a b\\nlevel=error\" n=-7\n"));
    assert_null(strstr(line, "unseen"));
    logged(LOG_LOGFMT, "./x.jpg", line, sizeof(line));
    assert_non_null(strstr(line, "path=./x.jpg n=-7\n"));
    logged(LOG_JSON, "\"},{\x1b", line, sizeof(line));
    assert_non_null(strstr(line, "\"event\":\"met\",\"path\":\"\\\"},{\\u001b\",\"n\":-7}\n"));
    char huge[5000];
    memset(huge, 'x', sizeof(huge));
    huge[4999] = '\0';
    logged(LOG_LOGFMT, huge, line, sizeof(line));
    assert_true(strlen(line) < 700);
}

struct note {
    struct mail mail;
    int number;
};
enum { NOTES = 1000, POSTERS = 4 };
struct poster {
    struct mailbox *box;
    struct note notes[NOTES];
};

static void *post_notes(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < NOTES; i += 2) { /* in chains of two */
        p->notes[i].number = i;
        p->notes[i + 1].number = i + 1;
        p->notes[i].mail.next = &p->notes[i + 1].mail;
        mailbox_post(p->box, &p->notes[i].mail, &p->notes[i + 1].mail);
    }
    return NULL;
}

static void mail_of_many_threads_arrives_whole_and_in_order(void **state)
{
    (void)state;
    static struct poster posters[POSTERS];
    struct mailbox box;
    assert_int_equal(mailbox_init(&box, NULL), 0);
    assert_null(mailbox_take(&box));
    assert_null(mailbox_wait(&box, 1));
    pthread_t threads[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        posters[i].box = &box;
        assert_int_equal(pthread_create(&threads[i], NULL, post_notes, &posters[i]), 0);
    }
    int next[POSTERS] = { 0 };
    for (int got = 0; got < POSTERS * NOTES;) {
        for (struct mail *m = mailbox_wait(&box, 10000); m; m = m->next, got++) {
            struct note *note = MAIL_ENTRY(m, struct note, mail);
            for (int i = 0; i < POSTERS; i++)
                if (note >= posters[i].notes && note < posters[i].notes + NOTES)
                    assert_int_equal(note->number, next[i]++);
        }
    }
    for (int i = 0; i < POSTERS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_null(mailbox_take(&box));
    mailbox_release(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_and_stays_a_string),
        cmocka_unit_test(a_full_buffer_refuses_and_keeps_what_it_has),
        cmocka_unit_test(text_becomes_json_that_cannot_be_broken),
        cmocka_unit_test(text_becomes_html_that_stays_text),
        cmocka_unit_test(errors_gather_their_context),
        cmocka_unit_test(times_are_rfc_3339_with_milliseconds),
        cmocka_unit_test(log_lines_cannot_be_forged),
        cmocka_unit_test(mail_of_many_threads_arrives_whole_and_in_order),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
