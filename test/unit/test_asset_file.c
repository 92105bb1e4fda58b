#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "support/emulated.h"
#include "validate/asset_file.h"
#include "validate/jail.h"

DEFINE_FREEP(struct asset_root *, asset_root_close)

/* A root with everything in it that a client might name, and a secret beside it:
 *
 *     T/secret   T/root/…   T/alias → root */
struct world {
    char top[32], root[64], alias[64];
    bool has_device;
};

static void put_file(const char *top, const char *name, const char *content)
{
    char path[PATH_MAX];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs(content, f);
    assert_int_equal(0, fclose(f));
}

static void put_link(const char *top, const char *name, const char *target)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    assert_int_equal(0, symlink(target, path));
}

static void put_folder(const char *top, const char *name)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    assert_int_equal(0, mkdir(path, 0755));
}

static void put_special_files(struct world *w)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char path[PATH_MAX];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", w->root);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&address, sizeof(address)));
    (void)close(fd);
    (void)snprintf(path, sizeof(path), "%s/pipe", w->root);
    assert_int_equal(0, mkfifo(path, 0644));
    (void)snprintf(path, sizeof(path), "%s/device", w->root);
    w->has_device = mknod(path, S_IFCHR | 0644, makedev(1, 5)) == 0; /* zero: endless */
}

static int make_world(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    char path[PATH_MAX];

    assert_non_null(w);
    strcpy(w->top, "/tmp/assay-test-XXXXXX");
    assert_non_null(mkdtemp(w->top));
    assert_int_equal(0, chmod(w->top, 0755));
    (void)snprintf(w->root, sizeof(w->root), "%s/root", w->top);
    (void)snprintf(w->alias, sizeof(w->alias), "%s/alias", w->top);
    put_file(w->top, "secret", "secret");
    put_folder(w->top, "root");
    put_folder(w->top, "root-not");
    put_file(w->top, "root-not/a.jpg", "secret");
    put_link(w->top, "alias", "root");
    put_file(w->root, "a.jpg", "abc");
    put_file(w->root, "empty", "");
    put_file(w->root, "unreadable", "abc");
    (void)snprintf(path, sizeof(path), "%s/unreadable", w->root);
    assert_int_equal(0, chmod(path, 0));
    put_folder(w->root, "folder");
    put_file(w->root, "folder/b.jpg", "abcd");
    put_link(w->root, "link", "a.jpg");
    put_link(w->root, "folder/up", "../a.jpg");
    put_link(w->root, "link-to-folder", "folder");
    put_link(w->root, "out", "../secret");
    put_link(w->root, "out-absolute", "/etc/passwd");
    put_link(w->root, "out-folder", "..");
    put_link(w->root, "loop", "loop");
    put_link(w->root, "proc", "/proc/self/root");
    put_link(w->root, "dangling", "nowhere");
    put_special_files(w);
    *state = w;
    return 0;
}

static int remove_world(void **state)
{
    struct world *w = *state;
    char command[256];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", w->top);
    assert_int_equal(0, system(command));
    free(w);
    return 0;
}

struct trap {
    const char *path; /* {R}: the root, {A}: its other name, {T}: the folder above */
    const char *why;  /* how the reason begins; NULL: it is reachable */
    uint64_t size;
    bool is_link; /* followed by the kernel, refused by the walk */
};

static const struct trap traps[] = {
    { "a.jpg", NULL, 3, false },
    { "./a.jpg", NULL, 3, false },
    { "folder//b.jpg", NULL, 4, false },
    { "empty", NULL, 0, false },
    { "{R}/a.jpg", NULL, 3, false },
    { "{R}//folder/b.jpg", NULL, 4, false },
    { "{A}/a.jpg", NULL, 3, false },
    { "link", NULL, 3, true },
    { "folder/up", NULL, 3, true },
    { "link-to-folder/b.jpg", NULL, 4, true },
    { "", "absent", 0, false },
    { "missing.jpg", "absent", 0, false },
    { "a.jpg/", "absent", 0, false },
    { "a.jpg/x", "absent", 0, false },
    { "dangling", "absent", 0, true },
    { "{LONG}", "absent", 0, false },
    { "{LONGER}", "absent", 0, false },
    { "../secret", "outside", 0, false },
    { "folder/../../secret", "outside", 0, false },
    { "{T}/secret", "outside", 0, false },
    { "{R}/../secret", "outside", 0, false },
    { "{R}-not/a.jpg", "outside", 0, false },
    { "/etc/passwd", "outside", 0, false },
    { "/proc/self/environ", "outside", 0, false },
    { "out", "outside", 0, false },
    { "out-absolute", "outside", 0, false },
    { "out-folder/secret", "outside", 0, false },
    { "loop", "outside", 0, false },
    { "proc/etc/passwd", "outside", 0, false },
    { ".", "not a file", 0, false },
    { "folder", "not a file", 0, false },
    { "folder/", "not a file", 0, false },
    { "{R}", "outside", 0, false },
    { "{R}/", "absent", 0, false },
    { "pipe", "not a file", 0, false },
    { "socket", "not a file", 0, false },
    { "device", "not a file", 0, false },
};

static void spell(const struct world *w, const char *pattern, char path[static 2 * PATH_MAX])
{
    const char *head = pattern[0] != '{'   ? ""
                       : pattern[1] == 'R' ? w->root
                       : pattern[1] == 'A' ? w->alias
                       : pattern[1] == 'T' ? w->top
                                           : NULL;

    if (head) {
        (void)snprintf(path, 2 * PATH_MAX, "%s%s", head, pattern + (pattern[0] == '{' ? 3 : 0));
    } else { /* one name that is too long, or a path that is */
        bool is_path = strlen(pattern) > 6;
        for (size_t i = 0; i < (is_path ? PATH_MAX + 100 : NAME_MAX + 1); i++)
            path[i] = is_path && i % 2 ? '/' : 'x';
        path[is_path ? PATH_MAX + 100 : NAME_MAX + 1] = '\0';
    }
}

/* The number of traps that got it wrong, each printed. */
static int try_traps(const struct world *w, bool is_walk)
{
    CLEANUP(asset_root_closep) struct asset_root *root = NULL;
    struct err err;
    int wrong = 0;

    if (asset_root_open(w->alias, &root, &err) < 0)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(traps); i++) {
        const struct trap *t = &traps[i];
        CLEANUP(closep) int fd = -1;
        char path[2 * PATH_MAX];
        uint64_t size = 99;
        int64_t start = clock_mono_ms();
        bool is_refused = t->why || (is_walk && t->is_link);
        const char *why = is_walk && t->is_link ? "outside" : t->why;
        int r;
        if (!w->has_device && strcmp(t->path, "device") == 0)
            continue;
        spell(w, t->path, path);
        r = asset_root_file(root, path, &fd, &size, &err);
        if (r != !is_refused || (r == 1 && (size != t->size || fd < 0)) ||
            (r == 0 && strncmp(err.msg, why, strlen(why)) != 0) || clock_mono_ms() - start > 1000) {
            print_message("%s: %d, %s\n", t->path, r, r == 1 ? "opened" : err.msg);
            wrong++;
        }
    }
    return wrong;
}

static void only_files_beneath_the_root_are_reachable(void **state)
{
    assert_int_equal(0, try_traps(*state, false));
}

static void without_openat2_the_walk_is_stricter_never_looser(void **state)
{
    static const int answers[] = { ENOSYS, EPERM };

    if (JAIL_HAS_SANITIZER || emulated())
        skip();
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
            if (seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t)answers[i]), SCMP_SYS(openat2),
                                 0) < 0 ||
                seccomp_load(filter) < 0)
                _exit(99);
            _exit(try_traps(*state, true));
        }
        assert_int_equal(pid, waitpid(pid, &status, 0));
        assert_true(WIFEXITED(status));
        assert_int_equal(0, WEXITSTATUS(status));
    }
}

static void a_file_without_permission_is_unreachable(void **state)
{
    const struct world *w = *state;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct asset_root *root;
        struct err err;
        uint64_t size;
        int fd;
        if ((geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0)) ||
            asset_root_open(w->root, &root, &err) < 0)
            _exit(2);
        _exit(asset_root_file(root, "unreadable", &fd, &size, &err) == 0 &&
                      strncmp(err.msg, "unreadable", 10) == 0 &&
                      asset_root_file(root, "a.jpg", &fd, &size, &err) == 1
                  ? 0
                  : 1);
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(0, status);
}

static void running_out_of_descriptors_is_a_fault(void **state)
{
    const struct world *w = *state;
    CLEANUP(asset_root_closep) struct asset_root *root = NULL;
    struct rlimit before, none;
    struct err err;
    uint64_t size;
    int fd, r;

    assert_int_equal(0, asset_root_open(w->root, &root, &err));
    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &before));
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &none));
    r = asset_root_file(root, "a.jpg", &fd, &size, &err);
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &before));
    assert_int_equal(-1, r);
    assert_int_equal(ERR_NOMEM, err.code);
}

static void a_root_that_is_no_folder_is_refused(void **state)
{
    const struct world *w = *state;
    struct asset_root *root;
    struct err err;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/missing", w->top);
    assert_int_equal(-1, asset_root_open(path, &root, &err));
    (void)snprintf(path, sizeof(path), "%s/secret", w->top);
    assert_int_equal(-1, asset_root_open(path, &root, &err));
}

/* A pipe that a writer waits on: looking at it must not let the writer go. */
static void a_pipe_is_refused_without_being_opened(void **state)
{
    const struct world *w = *state;
    CLEANUP(asset_root_closep) struct asset_root *root = NULL;
    char path[PATH_MAX];
    struct err err;
    uint64_t size;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/pipe", w->root);
    assert_int_equal(0, asset_root_open(w->root, &root, &err));
    assert_int_equal(0, asset_root_file(root, "pipe", &fd, &size, &err));
    assert_int_equal(-1, open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    assert_int_equal(ENXIO, errno);
}

struct race {
    const struct world *world;
    atomic_bool is_over;
};

/* Exchange a file with a link to the secret, over and over. */
static void *exchange(void *arg)
{
    struct race *race = arg;
    char file[PATH_MAX], link[PATH_MAX];

    (void)snprintf(file, sizeof(file), "%s/raced", race->world->root);
    (void)snprintf(link, sizeof(link), "%s/raced-link", race->world->root);
    while (!atomic_load(&race->is_over))
        (void)renameat2(AT_FDCWD, file, AT_FDCWD, link, RENAME_EXCHANGE);
    return NULL;
}

static void no_exchange_of_files_leaks_what_is_outside(void **state)
{
    const struct world *w = *state;
    CLEANUP(asset_root_closep) struct asset_root *root = NULL;
    struct race race = { .world = w };
    unsigned opened = 0, refused = 0, leaks = 0, faults = 0;
    pthread_t thread;
    struct err err;

    put_file(w->root, "raced", "inside");
    put_link(w->root, "raced-link", "../secret");
    assert_int_equal(0, asset_root_open(w->root, &root, &err));
    assert_int_equal(0, pthread_create(&thread, NULL, exchange, &race));
    for (int i = 0; i < 20000; i++) {
        CLEANUP(closep) int fd = -1;
        char text[8] = "";
        uint64_t size;
        int r = asset_root_file(root, "raced", &fd, &size, &err);
        faults += r < 0;
        refused += r == 0;
        if (r != 1)
            continue;
        opened++;
        if (read(fd, text, sizeof(text) - 1) < 0 || strcmp(text, "inside") != 0)
            leaks++;
    }
    atomic_store(&race.is_over, true);
    assert_int_equal(0, pthread_join(thread, NULL));
    print_message("%u opened, %u refused, %u faults, %u leaks\n", opened, refused, faults, leaks);
    assert_int_equal(0, leaks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_files_beneath_the_root_are_reachable),
        cmocka_unit_test(without_openat2_the_walk_is_stricter_never_looser),
        cmocka_unit_test(a_file_without_permission_is_unreachable),
        cmocka_unit_test(running_out_of_descriptors_is_a_fault),
        cmocka_unit_test(a_root_that_is_no_folder_is_refused),
        cmocka_unit_test(a_pipe_is_refused_without_being_opened),
        cmocka_unit_test(no_exchange_of_files_leaks_what_is_outside),
    };

    return cmocka_run_group_tests(tests, make_world, remove_world);
}
