/* The table of options: flags, environment, ranges, combinations. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmd/config.h"

static char *const no_environment[] = { NULL };

static int parse(struct config *config, char *const environment[], char *flag, char *value,
                 struct err *err)
{
    char *argv[] = { flag, value, NULL };
    int argc = !flag ? 0 : value ? 2 : 1;
    *err = (struct err){ 0 };
    return config_parse(config, COMMAND_SERVER, argc, argv, environment, err);
}

static void defaults_are_those_of_the_contract(void **state)
{
    (void)state;
    struct config c;
    struct err err;
    assert_int_equal(parse(&c, no_environment, NULL, NULL, &err), 0);
    assert_string_equal(c.listen, "127.0.0.1:5001");
    assert_string_equal(c.monitor_listen, "127.0.0.1:5555");
    assert_string_equal(c.store, "sqlite:data/assay.db");
    assert_string_equal(c.root, ".");
    assert_true(c.workers >= 1);
    assert_int_equal(c.max_width, 1000);
    assert_int_equal(c.max_height, 1000);
    assert_int_equal(c.max_bytes, 32 << 20);
    assert_int_equal(c.max_queued, 1000000);
    assert_int_equal(c.retain_ms, (int64_t)30 * 24 * 3600 * 1000);
    assert_string_equal(c.webhook_allow, "public,private,loopback");
    assert_int_equal(c.webhook_n_delays, 0);
    assert_int_equal(c.log_level, LOG_INFO);
    assert_int_equal(c.log_format, LOG_LOGFMT);
    assert_true(c.sandbox);
}

static void flags_win_over_the_environment(void **state)
{
    (void)state;
    struct config c;
    struct err err;
    char *const environment[] = { "ASSAY_MAX_WIDTH=200", "ASSAY_MAX_HEIGHT=300", "HOME=/", NULL };
    assert_int_equal(parse(&c, environment, "--max-width", "100", &err), 0);
    assert_int_equal(c.max_width, 100);
    assert_int_equal(c.max_height, 300);
}

static void the_monitor_listens_on_the_hosts_of_the_api(void **state)
{
    (void)state;
    struct config c;
    struct err err;
    assert_int_equal(parse(&c, no_environment, "--listen=0.0.0.0:80", NULL, &err), 0);
    assert_string_equal(c.monitor_listen, "0.0.0.0:5555");
    assert_int_equal(parse(&c, no_environment, "--listen=[::1]:80", NULL, &err), 0);
    assert_string_equal(c.monitor_listen, "[::1]:5555");
    assert_int_equal(parse(&c, no_environment, "--monitor-listen", "none", &err), 0);
    assert_string_equal(c.monitor_listen, "none");
}

static void amounts_may_have_units(void **state)
{
    (void)state;
    struct config c;
    struct err err;
    assert_int_equal(parse(&c, no_environment, "--max-bytes", "500KiB", &err), 0);
    assert_int_equal(c.max_bytes, 500 << 10);
    assert_int_equal(parse(&c, no_environment, "--retain", "90s", &err), 0);
    assert_int_equal(c.retain_ms, 90000);
    assert_int_equal(parse(&c, no_environment, "--webhook-schedule", "100ms,2min", &err), 0);
    assert_int_equal(c.webhook_n_delays, 2);
    assert_int_equal(c.webhook_delays_ms[0], 100);
    assert_int_equal(c.webhook_delays_ms[1], 120000);
}

static void mistakes_are_told_in_one_line(void **state)
{
    (void)state;
    static const struct {
        char *flag, *value, *says;
    } cases[] = {
        { "--no-such", "1", "--no-such: there is no such flag" },
        { "--max-width", NULL, "--max-width: its value is missing" },
        { "--max-width", "0", "--max-width: '0' is not a whole number from 1 to 65535" },
        { "--max-width", "70000", "is not a whole number" },
        { "--max-width", "12px", "is not a whole number" },
        { "--max-width", "-1", "is not a whole number" },
        { "--max-width", "99999999999999999999999", "is not a whole number" },
        { "--max-width", "", "is not a whole number" },
        { "--max-bytes", "0", "is not a size" },
        { "--max-bytes", "1GB", "is not a size" },
        { "--retain", "30", "is not a time" },
        { "--webhook-schedule", "5s,,5s", "is not up to 32 times" },
        { "--listen", "5001", "is not host:port" },
        { "--listen", "::1:5001", "is not host:port" },
        { "--listen", "127.0.0.1:70000", "is not host:port" },
        { "--listen", "none", "is not host:port" },
        { "--monitor-listen", "nowhere", "or none" },
        { "--store", "mysql:x", "is not sqlite:FILE" },
        { "--store", "sqlite:", "is not sqlite:FILE" },
        { "--webhook-allow", "friends", "is not public, private" },
        { "--webhook-allow", "", "is not public, private" },
        { "--webhook-deny", "10.0.0.0/33", "is not public, private" },
        { "--log-level", "loud", "is not one of debug|info|warn|error" },
        { "--monitor-listen", "127.0.0.1:5001", "cannot both be" },
        { "--sandbox", "off", "--sandbox: there is no such flag" },
        { "server", NULL, "only flags are expected" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;
        struct err err;
        assert_int_equal(parse(&c, no_environment, cases[i].flag, cases[i].value, &err), -1);
        if (!strstr(err.msg, cases[i].says))
            fail_msg("%s %s: '%s' lacks '%s'", cases[i].flag, cases[i].value, err.msg,
                     cases[i].says);
        assert_null(strchr(err.msg, '\n'));
    }
}

static void health_may_ask_the_port_that_a_monitor_has(void **state)
{
    (void)state;
    struct config c;
    struct err err;
    char *argv[] = { "--listen", "127.0.0.1:5555", "--health-path", "/healthcheck", NULL };
    assert_int_equal(config_parse(&c, COMMAND_HEALTH, 4, argv, no_environment, &err), 0);
    assert_string_equal(c.listen, "127.0.0.1:5555");
    assert_string_equal(c.health_path, "/healthcheck");
    argv[3] = "healthcheck";
    assert_int_equal(config_parse(&c, COMMAND_HEALTH, 4, argv, no_environment, &err), -1);
}

static void unknown_variables_are_refused(void **state)
{
    (void)state;
    static char *const environments[][2] = {
        { "ASSAY_MAX_WITDH=5", NULL },   { "ASSAY_=5", NULL },
        { "ASSAY_MAX_WIDTH_=5", NULL },  { "ASSAY_MAX_WIDTH=x", NULL },
        { "ASSAY_SANDBOX=maybe", NULL }, { "ASSAY_LISTEN=", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(environments); i++) {
        struct config c;
        struct err err;
        assert_int_equal(parse(&c, environments[i], NULL, NULL, &err), -1);
        assert_non_null(strstr(err.msg, "ASSAY_"));
    }
}

static void variables_of_other_commands_are_known_but_not_read(void **state)
{
    (void)state;
    struct config c;
    struct err err;
    char *const environment[] = { "ASSAY_MAX_WIDTH=200", "ASSAY_LISTEN=127.0.0.1:1", NULL };
    assert_int_equal(config_parse(&c, COMMAND_HEALTH, 0, NULL, environment, &err), 0);
    assert_string_equal(c.listen, "127.0.0.1:1");
    assert_int_equal(c.max_width, 1000);
}

static void check_takes_paths_and_switches(void **state)
{
    (void)state;
    struct config c;
    struct err err;
    char *argv[] = { "a.jpg", "--json", "b", "--workers", "3", "-", "--", "--quiet", NULL };
    assert_int_equal(config_parse(&c, COMMAND_CHECK, 8, argv, no_environment, &err), 0);
    assert_true(c.json);
    assert_false(c.quiet);
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.n_arguments, 4);
    assert_string_equal(c.arguments[0], "a.jpg");
    assert_string_equal(c.arguments[1], "b");
    assert_string_equal(c.arguments[2], "-");
    assert_string_equal(c.arguments[3], "--quiet");
}

static void help_names_every_option(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 16);
    config_help(COMMAND_SERVER, &out);
    static const char *const words[] = { "--listen",           "ASSAY_LISTEN",
                                         "--max-width",        "ASSAY_SANDBOX",
                                         "--webhook-schedule", "number of processors" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        assert_non_null(strstr(buf_str(&out), words[i]));
    assert_null(strstr(buf_str(&out), "(null)"));
    buf_release(&out);
}

static void help_tells_flags_of_the_same_name_apart(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 16);
    config_help(COMMAND_HOOK, &out);
    const char *resend = strstr(buf_str(&out), "resend: address of the HTTP API");
    const char *listen = strstr(buf_str(&out), "listen: address of the receiver");
    assert_non_null(resend);
    assert_non_null(listen);
    const char *variable = strstr(buf_str(&out), "ASSAY_LISTEN");
    assert_true(variable > resend && variable < listen);
    assert_null(strstr(variable + 1, "ASSAY_LISTEN")); /* the receiver's flag has no variable */
    assert_non_null(strstr(buf_str(&out), "\n  ASSAY_API_KEY\n")); /* heads its own lines */
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_contract),
        cmocka_unit_test(flags_win_over_the_environment),
        cmocka_unit_test(health_may_ask_the_port_that_a_monitor_has),
        cmocka_unit_test(the_monitor_listens_on_the_hosts_of_the_api),
        cmocka_unit_test(amounts_may_have_units),
        cmocka_unit_test(mistakes_are_told_in_one_line),
        cmocka_unit_test(unknown_variables_are_refused),
        cmocka_unit_test(variables_of_other_commands_are_known_but_not_read),
        cmocka_unit_test(check_takes_paths_and_switches),
        cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(help_tells_flags_of_the_same_name_apart),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
