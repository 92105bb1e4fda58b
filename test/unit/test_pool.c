#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "support/emulated.h"
#include "validate/jail.h"
#include "validate/pool.h"

DEFINE_FREEP(struct pool *, pool_free)

/* A validator that does what the first word of the file says. */
static int obey(const struct media *media, const struct limits *limits, struct verdict *verdict,
                struct err *err)
{
    static unsigned calls;
    const char *s = (const char *)media->data;

    (void)limits;
    calls++;
    if (media->len >= 5 && memcmp(s, "crash", 5) == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* sanitizers catch it; the jail kills for this call */
        volatile int *volatile nowhere = (volatile int *)8;
        *nowhere = 1;
    }
    if (media->len >= 4 && memcmp(s, "loop", 4) == 0)
        for (volatile int i = 0;; i++)
            ;
    if (media->len >= 4 && memcmp(s, "wait", 4) == 0)
        for (;;)
            (void)syscall(SYS_futex, &calls, FUTEX_WAIT, calls, NULL, NULL, 0);
    if (media->len >= 4 && memcmp(s, "exit", 4) == 0)
        _exit(3);
    if (media->len >= 4 && memcmp(s, "once", 4) == 0 && calls > 1)
        _exit(3); /* dies unless the child is fresh */
    if (media->len >= 6 && memcmp(s, "memory", 6) == 0)
        for (size_t n = 0;; n++) {
            char *p = malloc(1024 * 1024);
            if (!p || n > 2048)
                return err_set(err, ERR_NOMEM, "out of memory");
            memset(p, 1, 4096);
        }
    if (media->len >= 8 && memcmp(s, "nonsense", 8) == 0)
        verdict->finding_count = 1000;
    if (media->len >= 5 && memcmp(s, "alien", 5) == 0)
        verdict_add(verdict, FINDING_INVALID_URL);
    if (media->len >= 5 && memcmp(s, "bytes", 5) == 0)
        verdict->bytes++;
    if (media->len >= 5 && memcmp(s, "fault", 5) == 0)
        return err_set(err, ERR_IO, "cannot tell");
    verdict->width = (uint32_t)media->len;
    verdict->height = media->tail_len ? media->tail[media->tail_len - 1] : 0;
    return 0;
}
static const struct validator obedient = { .kind = "test", .check = obey };

static struct pool *new_pool(unsigned slots, int deadline_ms, uint64_t max_bytes)
{
    const struct pool_config config = { .validator = &obedient,
                                        .limits = { 1000, 1000, max_bytes },
                                        .slots = slots,
                                        .deadline_ms = deadline_ms,
                                        .sandbox = true,
                                        .digest = true };
    struct pool *pool;
    struct err err;

    if (emulated())
        skip(); /* no jail: refused, rightly */
    if (pool_new(&config, &pool, &err) < 0 || pool_ready(pool, &err) < 0)
        fail_msg("%s", err.msg);
    return pool;
}

static int file_of(const char *content, size_t len)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(len, write(fd, content, len));
    return fd;
}

static int check(struct pool *pool, unsigned slot, const char *content, struct verdict *v)
{
    CLEANUP(closep) int fd = file_of(content, strlen(content));
    struct err err = { 0 };
    int r = pool_check(pool, slot, fd, strlen(content), v, &err);

    if (r < 0)
        assert_int_not_equal(ERR_NONE, err.code);
    return r;
}

static void assert_works(struct pool *pool, unsigned slot)
{
    struct verdict v;

    assert_int_equal(0, check(pool, slot, "fine", &v));
    assert_int_equal(4, v.width);
    assert_true(verdict_is_valid(&v));
}

static uint64_t all_deaths(struct pool *pool)
{
    uint64_t deaths[POOL_SIGNALS], sum = 0;

    pool_deaths(pool, deaths);
    for (int i = 0; i < POOL_SIGNALS; i++)
        sum += deaths[i];
    return sum;
}

static void a_file_is_judged_and_digested(void **state)
{
    static const uint8_t sha256_of_abc[] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    };
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    struct verdict v;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(0, check(pool, 0, "abc", &v));
        assert_int_equal(3, v.bytes);
        assert_int_equal(3, v.width);
        assert_int_equal('c', v.height);
        assert_true(v.has_sha256);
        assert_memory_equal(sha256_of_abc, v.sha256, SHA256_LEN);
    }
    assert_int_equal(0, check(pool, 0, "", &v));
    assert_int_equal(0, v.bytes);
    assert_string_equal(pool_layers(pool),
                        JAIL_HAS_SANITIZER ? "off (sanitizer build)" : "seccomp,landlock,rlimits");
}

static void without_the_jail_files_are_judged_as_well(void **state)
{
    const struct pool_config config = {
        .validator = &obedient, .limits = { 1000, 1000, 1000 }, .slots = 1, .sandbox = false
    };
    CLEANUP(pool_freep) struct pool *pool = NULL;
    struct verdict v;
    struct err err;

    (void)state;
    assert_int_equal(0, pool_new(&config, &pool, &err));
    assert_int_equal(0, pool_ready(pool, &err));
    assert_string_equal(pool_layers(pool), "off");
    assert_int_equal(0, check(pool, 0, "abc", &v));
    assert_false(v.has_sha256);
}

static void of_a_file_over_the_limit_the_head_and_tail_are_read(void **state)
{
    enum { BIG = 3 * 1024 * 1024 };
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 2 * 1024 * 1024);
    CLEANUP(freep) char *data = calloc(1, BIG);
    CLEANUP(closep) int fd = -1;
    struct verdict v;
    struct err err;

    (void)state;
    data[BIG - 1] = 'z';
    fd = file_of(data, BIG);
    assert_int_equal(0, pool_check(pool, 0, fd, BIG, &v, &err));
    assert_int_equal(BIG, v.bytes);
    assert_int_equal(1024 * 1024, v.width);
    assert_int_equal('z', v.height);
    assert_false(v.has_sha256);
    assert_works(pool, 0);
}

static void a_file_that_shrinks_is_judged_as_it_was_read(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    CLEANUP(closep) int fd = file_of("abc", 3);
    struct verdict v;
    struct err err;

    (void)state;
    assert_int_equal(0, pool_check(pool, 0, fd, 900, &v, &err));
    assert_int_equal(3, v.bytes);
    assert_int_equal('c', v.height);
    assert_int_equal(0, pool_check(pool, 0, fd, 5000, &v, &err)); /* over the limit, it seemed */
    assert_int_equal(3, v.bytes);
}

static void what_cannot_be_read_is_a_fault(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    CLEANUP(closep) int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct verdict v;
    struct err err;

    (void)state;
    assert_int_equal(-1, pool_check(pool, 0, folder, 10, &v, &err));
    assert_non_null(strstr(err.msg, "read"));
    assert_int_equal(-1, check(pool, 0, "fault", &v));
    assert_int_equal(-1, pool_check(pool, 0, -1, 10, &v, &err));
    assert_works(pool, 0);
    assert_int_equal(0, all_deaths(pool));
}

static void a_file_that_kills_two_children_is_corrupt(void **state)
{
    static const struct {
        const char *content, *detail;
        int signal; /* 0: its own exit */
    } cases[] = {
        { "exit", "killed its checker (signal 0)", 0 },
        { "loop", "the check was stopped after 0.5 s", SIGKILL },
        { "nonsense", "the checker gave an answer that makes no sense", SIGKILL },
        { "alien", "the checker gave an answer that makes no sense", SIGKILL },
        { "bytes", "the checker gave an answer that makes no sense", SIGKILL },
        { "crash", "killed its checker (signal 31)", SIGSYS },
    };
    CLEANUP(pool_freep) struct pool *pool = new_pool(2, 500, 1000);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t before[POOL_SIGNALS], after[POOL_SIGNALS];
        int64_t start = clock_mono_ms();
        struct verdict v;
        if (JAIL_HAS_SANITIZER && cases[i].signal == SIGSYS)
            continue;
        pool_deaths(pool, before);
        assert_int_equal(0, check(pool, 1, cases[i].content, &v));
        assert_int_equal(1, v.finding_count);
        assert_int_equal(FINDING_CORRUPT, v.findings[0].code);
        assert_string_equal(v.findings[0].detail, cases[i].detail);
        assert_int_equal(strlen(cases[i].content), v.bytes);
        pool_deaths(pool, after);
        assert_int_equal(2, after[cases[i].signal] - before[cases[i].signal]);
        assert_true(clock_mono_ms() - start < 5000);
        assert_works(pool, 1);
        assert_works(pool, 0);
    }
}

static void memory_without_end_is_refused(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    struct verdict v;

    (void)state;
    assert_int_equal(0, check(pool, 0, "memory", &v));
    assert_true(verdict_has(&v, FINDING_CORRUPT));
    assert_string_equal(v.findings[0].detail, "the check needs more memory than it may have");
    assert_int_equal(0, all_deaths(pool));
    assert_works(pool, 0);
}

static void a_death_is_tried_once_more_in_a_fresh_child(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    struct verdict v;

    (void)state;
    assert_works(pool, 0);
    assert_int_equal(0, check(pool, 0, "once", &v));
    assert_int_equal(0, v.finding_count);
    assert_int_equal(1, all_deaths(pool));
}

/* Process ids of the children of a process, by the kernel's list. */
static unsigned children_of(pid_t pid, pid_t *ret_pids, unsigned max)
{
    char path[64];
    unsigned n = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    f = fopen(path, "r");
    while (f && n < max && fscanf(f, "%d", &ret_pids[n]) == 1)
        n++;
    if (f)
        (void)fclose(f);
    return n;
}

static pid_t zygote_pid(void)
{
    pid_t pid;

    if (children_of(getpid(), &pid, 1) != 1)
        skip(); /* a kernel without that list */
    return pid;
}

static void a_child_that_died_idle_is_replaced_unseen(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    pid_t child;

    (void)state;
    assert_int_equal(1, children_of(zygote_pid(), &child, 1));
    assert_int_equal(0, kill(child, SIGKILL));
    assert_works(pool, 0);
    assert_int_equal(1, all_deaths(pool));
    assert_int_equal(1, children_of(zygote_pid(), &child, 1)); /* and the dead one is reaped */
}

static void what_hangs_without_working_is_a_fault_not_a_verdict(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 200, 1000);
    pid_t child;
    struct verdict v;
    CLEANUP(closep) int fd = file_of("fine", 4);
    struct err err;

    (void)state;
    assert_int_equal(1, children_of(zygote_pid(), &child, 1));
    assert_int_equal(0, kill(child, SIGSTOP)); /* it never comes to read the file */
    assert_int_equal(-1, pool_check(pool, 0, fd, 4, &v, &err));
    assert_int_equal(ERR_TIMEOUT, err.code);
    assert_non_null(strstr(err.msg, "read"));
    assert_works(pool, 0);
    assert_int_equal(-1, check(pool, 0, "wait", &v)); /* it has read it, and gets no further */
    assert_works(pool, 0);
}

static void without_its_zygote_every_check_is_a_fault(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(2, 0, 1000);
    struct verdict v;

    (void)state;
    assert_int_equal(0, kill(zygote_pid(), SIGKILL));
    while (check(pool, 0, "abc", &v) == 0)
        ; /* until its death has reached the child */
    assert_int_equal(-1, check(pool, 0, "abc", &v));
    while (check(pool, 1, "abc", &v) == 0)
        ;
    assert_int_equal(-1, check(pool, 1, "abc", &v));
}

static void the_terminals_interrupt_does_not_reach_the_children(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    pid_t zygote = zygote_pid(), child, same;

    (void)state;
    assert_int_equal(1, children_of(zygote, &child, 1));
    assert_int_equal(0, kill(zygote, SIGINT));
    assert_int_equal(0, kill(zygote, SIGTERM));
    assert_int_equal(0, kill(child, SIGINT));
    assert_int_equal(0, kill(child, SIGTERM));
    assert_works(pool, 0);
    assert_int_equal(1, children_of(zygote_pid(), &same, 1));
    assert_int_equal(child, same);
}

static void a_child_is_renewed_after_ten_thousand_files(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(1, 0, 1000);
    CLEANUP(closep) int fd = file_of("fine", 4);
    pid_t first, then;
    struct verdict v;
    struct err err;

    (void)state;
    assert_int_equal(1, children_of(zygote_pid(), &first, 1));
    for (int i = 0; i < 10000; i++)
        assert_int_equal(0, pool_check(pool, 0, fd, 4, &v, &err));
    assert_int_equal(1, children_of(zygote_pid(), &then, 1));
    assert_int_equal(first, then);
    assert_works(pool, 0);
    assert_int_equal(1, children_of(zygote_pid(), &then, 1));
    assert_int_not_equal(first, then);
    assert_int_equal(0, all_deaths(pool));
}

static void the_children_have_no_descriptor_and_no_environment(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = NULL;
    char path[64], text[4096] = "";
    pid_t child, zygote;
    CLEANUP(closep) int fd = -1;
    ssize_t n;

    (void)state;
    assert_int_equal(0, setenv("ASSAY_TEST_SECRET", "swordfish", 1));
    pool = new_pool(1, 0, 1000);
    assert_int_equal(0, unsetenv("ASSAY_TEST_SECRET"));
    zygote = zygote_pid();
    (void)snprintf(path, sizeof(path), "/proc/%d/environ", zygote);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = read(fd, text, sizeof(text));
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(0, text[i]);
    assert_int_equal(1, children_of(zygote, &child, 1));
    for (int i = JAIL_HAS_SANITIZER ? 4 : 0; i < 64; i++) {
        char target[256];
        if (i == 3)
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", child, i);
        assert_int_equal(-1, readlink(path, target, sizeof(target)));
    }
}

/* All die with the process that made the pool, however it dies. */
static void the_children_die_with_their_parent(void **state)
{
    int pipes[2];
    pid_t parent, pids[3];
    char byte;

    (void)state;
    if (emulated())
        skip(); /* here, not in the child */
    assert_int_equal(0, pipe(pipes));
    parent = fork();
    if (parent == 0) {
        (void)new_pool(2, 0, 1000);
        pids[0] = zygote_pid();
        if (children_of(pids[0], pids + 1, 2) != 2)
            _exit(1);
        (void)!write(pipes[1], pids, sizeof(pids));
        (void)pause();
    }
    (void)close(pipes[1]);
    assert_int_equal(sizeof(pids), read(pipes[0], pids, sizeof(pids)));
    assert_int_equal(0, kill(parent, SIGKILL));
    assert_int_equal(parent, waitpid(parent, NULL, 0));
    /* In sanitizer builds the children keep stderr only; none keeps the pipe. */
    assert_int_equal(0, read(pipes[0], &byte, 1));
    (void)close(pipes[0]);
    for (int64_t until = clock_mono_ms() + 5000; clock_mono_ms() < until;) {
        char path[64], stat_text[256] = "";
        unsigned alive = 0;
        for (int i = 0; i < 3; i++) {
            FILE *f;
            (void)snprintf(path, sizeof(path), "/proc/%d/stat", pids[i]);
            f = fopen(path, "r");
            if (!f)
                continue;
            (void)!fgets(stat_text, sizeof(stat_text), f);
            alive += strstr(stat_text, ") Z ") == NULL;
            (void)fclose(f);
        }
        if (!alive)
            return;
    }
    fail_msg("a child outlived its parent");
}

struct thread {
    pthread_t thread;
    struct pool *pool;
    unsigned slot;
    const char *content;
    int wrong;
};

static void *check_many(void *arg)
{
    struct thread *t = arg;

    for (int i = 0; i < 100; i++) {
        CLEANUP(closep) int fd = file_of(t->content, strlen(t->content));
        struct verdict v;
        struct err err;
        t->wrong += pool_check(t->pool, t->slot, fd, strlen(t->content), &v, &err) != 0 ||
                    verdict_is_valid(&v) != (t->content[0] == 'f');
    }
    return NULL;
}

static void a_slots_deaths_leave_the_others_alone(void **state)
{
    CLEANUP(pool_freep) struct pool *pool = new_pool(3, 0, 1000);
    struct thread threads[3] = { { .content = "fine" }, { .content = "exit" }, { .content = "f" } };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        threads[i].pool = pool;
        threads[i].slot = i;
        assert_int_equal(0, pthread_create(&threads[i].thread, NULL, check_many, &threads[i]));
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(0, pthread_join(threads[i].thread, NULL));
        assert_int_equal(0, threads[i].wrong);
    }
    assert_int_equal(200, all_deaths(pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_judged_and_digested),
        cmocka_unit_test(without_the_jail_files_are_judged_as_well),
        cmocka_unit_test(of_a_file_over_the_limit_the_head_and_tail_are_read),
        cmocka_unit_test(a_file_that_shrinks_is_judged_as_it_was_read),
        cmocka_unit_test(what_cannot_be_read_is_a_fault),
        cmocka_unit_test(a_file_that_kills_two_children_is_corrupt),
        cmocka_unit_test(memory_without_end_is_refused),
        cmocka_unit_test(a_death_is_tried_once_more_in_a_fresh_child),
        cmocka_unit_test(a_child_that_died_idle_is_replaced_unseen),
        cmocka_unit_test(what_hangs_without_working_is_a_fault_not_a_verdict),
        cmocka_unit_test(without_its_zygote_every_check_is_a_fault),
        cmocka_unit_test(the_terminals_interrupt_does_not_reach_the_children),
        cmocka_unit_test(a_child_is_renewed_after_ten_thousand_files),
        cmocka_unit_test(the_children_have_no_descriptor_and_no_environment),
        cmocka_unit_test(the_children_die_with_their_parent),
        cmocka_unit_test(a_slots_deaths_leave_the_others_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
