/* The client and names: which of many addresses is used, and threads that ask and are not waited for. The resolver
 * is replaced: the client calls this program's getaddrinfo(). Names that begin with "stall" wait until the test
 * lets them go. */
#include "test_client_rig.h"

#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "client/resolver.h"
#include "support/emulated.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static pthread_cond_t let_go = PTHREAD_COND_INITIALIZER;
static bool stalls;
static unsigned asked, inside, lists_out; /* answers that were not freed */
static const char *resolved; /* what list.example has: addresses with commas between them */

void freeaddrinfo(struct addrinfo *a)
{
    (void)pthread_mutex_lock(&lock);
    lists_out--;
    (void)pthread_mutex_unlock(&lock);
    for (struct addrinfo *next; a; a = next) {
        next = a->ai_next;
        free(a->ai_addr);
        free(a);
    }
}

static struct addrinfo *address_of(const char *text, const char *port)
{
    struct addrinfo *a = calloc(1, sizeof(*a));
    struct sockaddr_in *address = calloc(1, sizeof(*address));
    *address =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    (void)inet_pton(AF_INET, text, &address->sin_addr);
    a->ai_family = AF_INET;
    a->ai_addrlen = sizeof(*address);
    a->ai_addr = (struct sockaddr *)address;
    return a;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    char list[256], *rest = list;
    (void)hints;
    (void)pthread_mutex_lock(&lock);
    asked++;
    inside++;
    while (stalls && strncmp(node, "stall", 5) == 0)
        (void)pthread_cond_wait(&let_go, &lock);
    inside--;
    (void)snprintf(list, sizeof(list), "%s", resolved);
    bool none = strcmp(node, "none.example") == 0, memory = strcmp(node, "memory.example") == 0;
    if (!none && !memory)
        lists_out++;
    (void)pthread_mutex_unlock(&lock);
    if (none || memory)
        return none ? EAI_NONAME : EAI_MEMORY;
    for (char *text; (text = strsep(&rest, ",")) != NULL; ret = &(*ret)->ai_next)
        *ret = address_of(text, service);
    return 0;
}

static unsigned read_of(const unsigned *counter)
{
    (void)pthread_mutex_lock(&lock);
    unsigned n = *counter;
    (void)pthread_mutex_unlock(&lock);
    return n;
}

static void hold(void)
{
    (void)pthread_mutex_lock(&lock);
    stalls = true;
    (void)pthread_mutex_unlock(&lock);
}

static void release(void)
{
    (void)pthread_mutex_lock(&lock);
    stalls = false;
    (void)pthread_cond_broadcast(&let_go);
    (void)pthread_mutex_unlock(&lock);
}

#define UNTIL_THREADS(condition)                                                                   \
    do {                                                                                           \
        int64_t until_ms_ = clock_mono_ms() + WAIT_S * 1000;                                       \
        while (!(condition)) {                                                                     \
            (void)sched_yield();                                                                   \
            assert_true(clock_mono_ms() < until_ms_);                                              \
        }                                                                                          \
    } while (0)

static void begin_name(struct rig *rig, struct call *call, const char *name)
{
    char url[128];
    (void)snprintf(url, sizeof(url), "http://%s:%u/p", name, rig->server.port);
    begin_body(rig, call, url, "hi", 2);
}

static void begin_list(struct rig *rig, const char *addresses)
{
    (void)pthread_mutex_lock(&lock);
    resolved = addresses;
    (void)pthread_mutex_unlock(&lock);
    begin_name(rig, &rig->call, "list.example");
}

static void answer(struct rig *rig)
{
    int fd = take(rig);
    (void)hear(rig, fd);
    say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    ends_with(rig, CLIENT_OK, 200);
    is_left(rig, fd);
    assert_int_equal(read_of(&lists_out), 0);
}

/* --- of many addresses --- */

static void a_name_is_asked_for_once_a_connection(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    unsigned before = read_of(&asked);
    begin_list(&rig, "127.0.0.1");
    assert_int_equal(rig.call.state, CALL_ASKS);
    int fd = take(&rig);
    for (int i = 0; i < 3; i++) {
        assert_non_null(strstr(hear(&rig, fd), "\r\nhost: list.example:"));
        say(fd, OK_EMPTY);
        ends_with(&rig, CLIENT_OK, 200);
        begin_name(&rig, &rig.call, i == 1 ? "LIST.Example." : "list.example");
    }
    (void)hear(&rig, fd);
    client_cancel(rig.client, &rig.call);
    hang_up(fd);
    assert_int_equal(read_of(&asked), before + 1);
    rig_down(&rig);
}

static void an_address_that_refuses_is_passed_over(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    begin_list(&rig, "127.0.0.2,255.255.255.255,127.0.0.3,127.0.0.1");
    answer(&rig);
    assert_int_equal(((const struct sockaddr_in *)&rig.call.peer)->sin_addr.s_addr,
                     htonl(INADDR_LOOPBACK));
    begin_list(&rig, "127.0.0.2,127.0.0.3");
    ends_with(&rig, CLIENT_REFUSED, 0);
    begin_list(&rig, "127.0.0.2,255.255.255.255");
    ends_with(&rig, CLIENT_UNREACHABLE, 0); /* the last one's word */
    assert_int_equal(read_of(&lists_out), 0);
    rig_down(&rig);
}

static void a_silent_address_has_half_of_the_time(void **state)
{
    (void)state;
    enum { CONNECT_MS = 4000 };
    struct rig rig;
    rig_up(&rig,
           &(struct client_config){ .connect_timeout_ms = CONNECT_MS, .total_timeout_ms = 60000 });
    struct silent silent = fall_silent("127.0.0.2", rig.server.port);
    begin_list(&rig, "127.0.0.2,127.0.0.1");
    answer(&rig);
    assert_in_range(rig.call.connected_us, (CONNECT_MS / 2 - 5) * 1000, CONNECT_MS * 1000);
    silent_stop(&silent);
    rig_down(&rig);
}

static void two_silent_addresses_have_no_more_than_the_time(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ .connect_timeout_ms = 400, .total_timeout_ms = 60000 });
    struct silent silent = fall_silent("127.0.0.2", rig.server.port);
    begin_list(&rig, "127.0.0.2,127.0.0.2");
    ends_with(&rig, CLIENT_TIMEOUT, 0);
    assert_in_range(rig.call.ended_us, 395 * 1000, WAIT_S * 1000000);
    begin_list(&rig, "127.0.0.2,127.0.0.3"); /* and what is left is told of the last */
    ends_with(&rig, CLIENT_REFUSED, 0);
    begin_list(&rig, "127.0.0.2,127.0.0.1"); /* given up while there are more to try */
    UNTIL(&rig, rig.call.state == CALL_CONNECTS);
    client_cancel(rig.client, &rig.call);
    struct call other, *ended;
    call_init(&other, MAX_REQUEST, NULL, 0);
    begin_name(&rig, &other, "127.0.0.2"); /* which ends when that one would have tried the next */
    UNTIL(&rig, (ended = client_ended(rig.client)) != NULL);
    assert_ptr_equal(ended, &other);
    assert_int_equal(rig.call.state, CALL_RESTS);
    assert_true(nobody_comes(&rig));
    call_release(&other);
    silent_stop(&silent);
    assert_int_equal(read_of(&lists_out), 0);
    rig_down(&rig);
}

static bool not_the_second(const void *arg, const struct sockaddr *address)
{
    (void)arg;
    return ((const struct sockaddr_in *)address)->sin_addr.s_addr != htonl(0x7f000002);
}

static void an_address_that_is_not_allowed_is_passed_over(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ .allows = not_the_second });
    struct listener trap = listen_at("127.0.0.2", rig.server.port);
    begin_list(&rig, "127.0.0.2,127.0.0.1");
    answer(&rig);
    begin_list(&rig, "127.0.0.2,127.0.0.2");
    ends_with(&rig, CLIENT_DISALLOWED, 0);
    begin_list(&rig, "127.0.0.2,127.0.0.3"); /* one was tried: that is the news */
    ends_with(&rig, CLIENT_REFUSED, 0);
    assert_false(is_readable(trap.fd));
    stop_listening(&trap);
    rig_down(&rig);
}

static void what_was_tried_is_told_before_what_we_lack(void **state)
{
    (void)state;
    struct rig rig;
    struct rlimit old;
    if (emulated())
        skip();
    rig_up(&rig, &(struct client_config){ .connect_timeout_ms = 600, .total_timeout_ms = 60000 });
    struct silent silent = fall_silent("127.0.0.2", rig.server.port);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    const struct rlimit full = { .rlim_cur = STDERR_FILENO + 1, .rlim_max = old.rlim_max };
    begin_list(&rig, "127.0.0.2,127.0.0.1");
    UNTIL(&rig, rig.call.state == CALL_CONNECTS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    ends_with(&rig, CLIENT_TIMEOUT, 0); /* of the first; there was no socket for the second */
    begin_list(&rig, "127.0.0.2,127.0.0.1");
    ends_with(&rig, CLIENT_STARVED, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(nobody_comes(&rig));
    silent_stop(&silent);
    rig_down(&rig);
}

/* --- those who ask --- */

static void a_name_without_an_address_is_told_from_a_lack_of_memory(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    begin_name(&rig, &rig.call, "none.example");
    ends_with(&rig, CLIENT_DNS, 0);
    assert_string_equal(rig.call.why, gai_strerror(EAI_NONAME));
    assert_true(rig.call.resolved_us >= 0);
    assert_int_equal(rig.call.connected_us, -1);
    begin_name(&rig, &rig.call, "memory.example");
    ends_with(&rig, CLIENT_STARVED, 0);
    rig_down(&rig);
}

static void a_name_server_that_is_silent_costs_the_connect_time(void **state)
{
    (void)state;
    struct rig rig;
    hold();
    rig_up(&rig, &(struct client_config){ .connect_timeout_ms = 300, .total_timeout_ms = 60000 });
    begin_name(&rig, &rig.call, "stall.example");
    ends_with(&rig, CLIENT_TIMEOUT, 0);
    assert_in_range(rig.call.ended_us, 295 * 1000, WAIT_S * 1000000);
    assert_int_equal(rig.call.resolved_us, -1);
    begin_list(&rig, "127.0.0.1"); /* nobody else waits */
    answer(&rig);
    UNTIL_THREADS(read_of(&inside) == 1);
    release();
    UNTIL_THREADS(read_of(&inside) == 0 && read_of(&lists_out) == 0);
    look_around(&rig); /* the late answer is nobody's */
    assert_null(client_ended(rig.client));
    rig_down(&rig);
}

static void who_gives_up_asking_is_told_nothing(void **state)
{
    (void)state;
    struct rig rig;
    hold();
    rig_up(&rig, &(struct client_config){ 0 });
    begin_name(&rig, &rig.call, "stall.example");
    assert_int_equal(rig.call.state, CALL_ASKS);
    UNTIL_THREADS(read_of(&inside) == 1);
    client_cancel(rig.client, &rig.call);
    assert_int_equal(rig.call.state, CALL_RESTS);
    begin_list(&rig, "127.0.0.1");
    answer(&rig);
    release();
    UNTIL_THREADS(read_of(&inside) == 0 && read_of(&lists_out) == 0);
    look_around(&rig);
    assert_null(client_ended(rig.client));
    assert_true(nobody_comes(&rig));
    rig_down(&rig);
}

static void a_client_does_not_wait_for_its_names_at_the_end(void **state)
{
    (void)state;
    enum { NAMES = 8 };
    struct rig rig;
    struct call calls[NAMES];
    unsigned before = read_of(&asked);
    hold();
    rig_up(&rig, &(struct client_config){ 0 });
    for (int i = 0; i < NAMES; i++) {
        call_init(&calls[i], MAX_REQUEST, NULL, 0);
        begin_name(&rig, &calls[i], i % 2 ? "stall.example" : "list.example");
    }
    /* some are answered, and not taken */
    UNTIL_THREADS(read_of(&asked) == before + NAMES && read_of(&inside) == NAMES / 2);
    for (int i = 0; i < NAMES; i++) {
        client_cancel(rig.client, &calls[i]);
        call_release(&calls[i]);
    }
    rig_down(&rig);
    assert_int_equal(read_of(&inside), NAMES / 2);
    release();
    UNTIL_THREADS(read_of(&inside) == 0 && read_of(&lists_out) == 0);
}

static void names_are_asked_for_up_to_a_number(void **state)
{
    (void)state;
    struct rig rig;
    struct call *last;
    if (emulated()) /* hundreds of threads */
        skip();
    CLEANUP(freep) struct call *calls = calloc(RESOLVER_MAX, sizeof(*calls));
    hold();
    rig_up(&rig, &(struct client_config){ .connect_timeout_ms = 60000, .total_timeout_ms = 60000 });
    for (int i = 0; i < RESOLVER_MAX; i++) {
        rig.stranger = i <= RESOLVER_STRANGERS;
        if (i == RESOLVER_STRANGERS) { /* one too many */
            begin_list(&rig, "127.0.0.1");
            ends_with(&rig, CLIENT_STARVED, 0);
            rig.stranger = false;
        }
        call_init(&calls[i], MAX_REQUEST, NULL, 0);
        begin_name(&rig, &calls[i], "stall.example");
        assert_int_equal(calls[i].state, CALL_ASKS);
    }
    UNTIL_THREADS(read_of(&inside) == RESOLVER_MAX);
    begin_list(&rig, "127.0.0.1");
    ends_with(&rig, CLIENT_STARVED, 0);
    for (int i = 0; i < RESOLVER_MAX; i++)
        client_cancel(rig.client, &calls[i]);
    begin_list(&rig, "127.0.0.1"); /* those that were given up count */
    ends_with(&rig, CLIENT_STARVED, 0);
    begin_at(&rig, "127.0.0.1", rig.server.port); /* an address is not asked for */
    answer(&rig);
    release();
    int64_t until_ms = clock_mono_ms() + WAIT_S * 1000;
    do {
        assert_true(clock_mono_ms() < until_ms);
        begin_list(&rig, "127.0.0.1");
        last = client_ended(rig.client);
        assert_true(!last || last->error == CLIENT_STARVED);
    } while (last);
    int fd = take(&rig);
    (void)hear(&rig, fd);
    say(fd, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    hang_up(fd);
    UNTIL_THREADS(read_of(&inside) == 0 && read_of(&lists_out) == 0);
    for (int i = 0; i < RESOLVER_MAX; i++)
        call_release(&calls[i]);
    rig_down(&rig);
}

/* The resolver alone: an answer that is there is taken once, or given up and gone. */
static void an_answer_is_taken_or_given_up(void **state)
{
    (void)state;
    struct resolver *r;
    struct err err;
    int owner[2], code = -1;
    struct addrinfo *addresses = NULL;
    resolved = "127.0.0.1";
    assert_int_equal(resolver_new(&r, &err), 0);
    assert_null(resolver_take(r, &code, &addresses));
    struct lookup *given_up = resolver_ask(r, "list.example", 80, false, &owner[0]);
    assert_non_null(given_up);
    UNTIL_THREADS(is_readable(resolver_fd(r)));
    resolver_give_up(r, given_up);
    assert_null(resolver_take(r, &code, &addresses));
    assert_false(is_readable(resolver_fd(r)));
    assert_int_equal(read_of(&lists_out), 0);
    assert_non_null(resolver_ask(r, "list.example", 80, false, &owner[1]));
    UNTIL_THREADS(is_readable(resolver_fd(r)));
    assert_ptr_equal(resolver_take(r, &code, &addresses), &owner[1]);
    assert_int_equal(code, 0);
    freeaddrinfo(addresses);
    assert_null(resolver_take(r, &code, &addresses));
    assert_non_null(resolver_ask(r, "none.example", 80, false, &owner[0]));
    UNTIL_THREADS(is_readable(resolver_fd(r)));
    assert_ptr_equal(resolver_take(r, &code, &addresses), &owner[0]);
    assert_int_equal(code, EAI_NONAME);
    assert_null(addresses);
    assert_non_null(resolver_ask(r, "list.example", 80, false, &owner[0])); /* never taken */
    UNTIL_THREADS(is_readable(resolver_fd(r)));
    resolver_free(r);
    resolver_free(NULL);
    assert_int_equal(read_of(&lists_out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_asked_for_once_a_connection),
        cmocka_unit_test(an_address_that_refuses_is_passed_over),
        cmocka_unit_test(a_silent_address_has_half_of_the_time),
        cmocka_unit_test(two_silent_addresses_have_no_more_than_the_time),
        cmocka_unit_test(an_address_that_is_not_allowed_is_passed_over),
        cmocka_unit_test(what_was_tried_is_told_before_what_we_lack),
        cmocka_unit_test(a_name_without_an_address_is_told_from_a_lack_of_memory),
        cmocka_unit_test(a_name_server_that_is_silent_costs_the_connect_time),
        cmocka_unit_test(who_gives_up_asking_is_told_nothing),
        cmocka_unit_test(a_client_does_not_wait_for_its_names_at_the_end),
        cmocka_unit_test(names_are_asked_for_up_to_a_number),
        cmocka_unit_test(an_answer_is_taken_or_given_up),
    };
    resolved = "127.0.0.1";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
