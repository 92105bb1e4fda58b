/* The body of POST /assets/image: what is refused, with what words, and what is not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/plain.h"
#include "api/request.h"
#include "base/cleanup.h"

struct outcome {
    enum request_result result;
    struct asset_request request;
    struct buf detail, faults;
};

static void parse(const char *body, size_t len, struct outcome *o)
{
    *o = (struct outcome){ 0 };
    buf_init(&o->detail, 1024);
    buf_init(&o->faults, 1 << 20);
    o->result = asset_request_parse(body, len, &o->request, &o->detail, &o->faults);
}

static void release(struct outcome *o)
{
    if (o->result == REQUEST_OK)
        asset_request_release(&o->request);
    buf_release(&o->detail);
    buf_release(&o->faults);
}

static void a_whole_request_is_read(void **state)
{
    (void)state;
    static const char body[] =
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"./images/foo\"},\"notifications\":"
        "{\"onStart\":\"http://a/1\",\"onSuccess\":null,\"onFailure\":\"\"}}";
    struct outcome o;
    parse(body, sizeof(body) - 1, &o);
    assert_int_equal(o.result, REQUEST_OK);
    assert_string_equal(o.request.path, "./images/foo");
    assert_string_equal(o.request.urls[NOTIFY_START], "http://a/1");
    assert_null(o.request.urls[NOTIFY_SUCCESS]);
    assert_string_equal(o.request.urls[NOTIFY_FAILURE], ""); /* there, and not valid */
    release(&o);
}

static void notifications_may_be_left_out_or_null(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"x\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"\"},\"notifications\":null}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"x\"},\"notifications\":{}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct outcome o;
        parse(bodies[i], strlen(bodies[i]), &o);
        assert_int_equal(o.result, REQUEST_OK);
        release(&o);
    }
}

static void every_fault_of_the_shape_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *pointers[6];
    } cases[] = {
        { "[]", { "\"\"" } },
        { "null", { "\"\"" } },
        { "-99999999999999999999", { "\"\"" } }, /* JSON has no largest integer */
        { "{}", { "\"/assetPath\"" } },
        { "{\"assetPath\":3,\"notifications\":[]}", { "\"/assetPath\"", "\"/notifications\"" } },
        { "{\"assetPath\":{}}", { "\"/assetPath/location\"", "\"/assetPath/path\"" } },
        { "{\"assetPath\":{\"location\":\"s3\",\"path\":1,\"a/"
          "b~\":2},\"notifications\":{\"onStart\":1,"
          "\"onSucces\":\"\"},\"x\":1}",
          { "\"/assetPath/location\"", "\"/assetPath/path\"", "\"/assetPath/a~1b~0\"",
            "\"/notifications/onStart\"", "\"/notifications/onSucces\"", "\"/x\"" } },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome o;
        parse(cases[i].body, strlen(cases[i].body), &o);
        assert_int_equal(o.result, REQUEST_WRONG_SHAPE);
        for (size_t j = 0; j < 6 && cases[i].pointers[j]; j++)
            if (!strstr(buf_str(&o.faults), cases[i].pointers[j]))
                fail_msg("%s: no %s in %s", cases[i].body, cases[i].pointers[j],
                         buf_str(&o.faults));
        release(&o);
    }
}

static void what_is_not_json_is_explained(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
    } cases[] = {
        { "", "empty" },
        { "{", "ends too early" },
        { "{} x", "follows" },
        { "{\"a\":1,\"a\":2}", "repeated" },
        { "{\"a\":\"\\u0000\"}", "NUL" },
        { "{\"a\":\"\xff\"}", "UTF-8, for the byte 0xff at offset 6 (line 1, column 7)" },
        { "\x93", "byte 0x93 at offset 0 (line 1, column 1)" },
        { "{\n\"\xc3\xa9\": [],\n\"\xe2\x82\xac\xc3\xa9\": \"a\xc3\"}",
          "0xc3 at offset 23 (line 3, column 9)" },
        { "\"\xed\xa0\x80\"", "0xed at offset 1 " },     /* a surrogate */
        { "\"\xc0\x80\"", "0xc0 at offset 1 " },         /* a NUL, longer than it need be */
        { "\"\xf4\x90\x80\x80\"", "0xf4 at offset 1 " }, /* above U+10FFFF */
        { "\"\xe2\x82", "0xe2 at offset 1 " },           /* it ends within a character */
        { "{\"\xe2\x80\x9c\":\"\xff\"}", "0xff at offset 8 (line 1, column 7)" },
        { "{\"a\":\"\\ud800\"}", "syntax" },
        { "\xef\xbb\xbf{}", "byte order mark" },
        { "{\n\xe2\x80\x9c"
          "assetPath\xe2\x80\x9d:1}",
          "curly quotes" },
        { "{\n // where it is\n \"a\":1}", "comment (// or /*) in line 2" },
        { "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "more than 16 deep" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome o;
        parse(cases[i].body, strlen(cases[i].body), &o);
        assert_int_equal(o.result, REQUEST_NOT_JSON);
        if (!strstr(buf_str(&o.detail), cases[i].says))
            fail_msg("%s: '%s' lacks '%s'", cases[i].body, buf_str(&o.detail), cases[i].says);
        release(&o);
    }
}

static void brackets_in_strings_are_no_depth(void **state)
{
    (void)state;
    static const char body[] = "{\"assetPath\":{\"location\":\"local\",\"path\":"
                               "\"[[[[[[[[[[[[[[[[[[[[{{{{{{{{{\\\"[[[\"}}";
    struct outcome o;
    parse(body, sizeof(body) - 1, &o);
    assert_int_equal(o.result, REQUEST_OK);
    release(&o);
}

/* The public JSON parsing suite: n_ must be refused as no JSON, y_ (none has our shape) by its shape. */
static void the_json_suite_is_judged_rightly(void **state)
{
    (void)state;
    const char *shared = getenv("ASSAY_SHARED");
    char folder[512];
    (void)snprintf(folder, sizeof(folder), "%s/json/test_parsing", shared ? shared : "../shared");
    DIR *dir = opendir(folder);
    if (!dir) {
        print_message("skipped: %s is not here\n", folder);
        skip();
    }
    int wrong = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[1024], body[300 * 1024];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!file)
            continue;
        size_t len = fread(body, 1, sizeof(body), file);
        (void)fclose(file);
        struct outcome o;
        parse(body, len, &o);
        bool stricter = strstr(entry->d_name, "duplicated_key") ||
                        strstr(entry->d_name, "null_escape") ||
                        strstr(entry->d_name, "escaped_null"); /* JSON, but refused here */
        enum request_result want =
            entry->d_name[0] == 'y' && !stricter ? REQUEST_WRONG_SHAPE : REQUEST_NOT_JSON;
        if (entry->d_name[0] != 'i' && o.result != want)
            print_error("%s: %d\n", entry->d_name, (int)o.result), wrong++;
        release(&o);
    }
    (void)closedir(dir);
    assert_int_equal(wrong, 0);
}

/* Read by the library; and what was read is ours for longer than the document. */
static void a_large_request_is_read_whole(void **state)
{
    (void)state;
    enum { URL_LEN = 60000, FAULTS = 2000 };
    struct outcome large, many, small;
    struct buf body;
    buf_init(&body, 1 << 20);
    (void)buf_adds(&body,
                   "{\"assetPath\":{\"location\":\"local\",\"path\":\"x\"},\"notifications\":"
                   "{\"onFailure\":\"http://a/");
    for (int i = 0; i < URL_LEN; i++)
        (void)buf_adds(&body, i % 2 ? "b" : "\\u0061");
    (void)buf_adds(&body, "\"}}");
    parse(body.data, body.len, &large);
    buf_clear(&body);
    (void)buf_adds(&body, "{\"assetPath\":{\"location\":\"local\",\"path\":\"x\"}");
    for (int i = 0; i < FAULTS; i++)
        (void)buf_addf(&body, ",\"member %d\":[{\"a\":1.5}]", i);
    (void)buf_adds(&body, "}");
    parse(body.data, body.len, &many);
    static const char after[] = "{\"assetPath\":{\"location\":\"local\",\"path\":\"y\"}}";
    parse(after, sizeof(after) - 1, &small);
    assert_int_equal(large.result, REQUEST_OK);
    assert_string_equal(large.request.path, "x");
    assert_int_equal(strlen(large.request.urls[NOTIFY_FAILURE]), strlen("http://a/") + URL_LEN);
    assert_int_equal(strspn(large.request.urls[NOTIFY_FAILURE] + strlen("http://a/"), "ab"),
                     URL_LEN);
    assert_int_equal(many.result, REQUEST_WRONG_SHAPE);
    assert_non_null(strstr(buf_str(&many.faults), "/member 1999"));
    assert_int_equal(small.result, REQUEST_OK);
    assert_string_equal(small.request.path, "y");
    release(&large);
    release(&many);
    release(&small);
    buf_release(&body);
}

#define PATH "\"assetPath\":{\"location\":\"local\",\"path\":\"x\"}"

static bool is_plain(const char *body, size_t len)
{
    struct plain_request plain;
    CLEANUP(freep) char *exact = malloc(len); /* so that a sanitizer sees what is read behind it */
    assert_non_null(exact);
    memcpy(exact, body, len);
    return plain_read(exact, len, &plain);
}

static void only_the_usual_is_read_in_one_pass(void **state)
{
    (void)state;
    static const char *const plain[] = {
        "{" PATH "}",
        " \t\r\n{ \"notifications\" : {\"onFailure\" : \"\" , \"onStart\":\"u\"}\n, " PATH " }\n",
    };
    static const char *const other[] = {
        "",
        "{",
        "{}",
        "[]",
        "{" PATH,
        "{" PATH ",}",
        "{" PATH "}x",
        "{" PATH "}}",
        "{" PATH "," PATH "}",
        "{" PATH ",\"other\":\"x\"}",
        "{" PATH ",\"notifications\":null}",
        "{" PATH ",\"notifications\":{}}",
        "{" PATH ",\"notifications\":{\"onStart\":null}}",
        "{" PATH ",\"notifications\":{\"onStart\":\"a\",\"onStart\":\"b\"}}",
        "{" PATH ",\"notifications\":{\"onStart\":\"\",\"onStart\":\"b\"}}",
        "{" PATH ",\"notifications\":{\"onStart\":\"a\"},\"notifications\":{\"onStart\":\"a\"}}",
        "{" PATH ",\"notifications\":{\"onstart\":\"a\"}}",
        "{" PATH " \"notifications\":{\"onStart\":\"a\"}}",
        "{\"assetPath\":{\"location\":\"local\"}}",
        "{\"assetPath\":{\"path\":\"x\"}}",
        "{\"assetPath\":{\"location\":\"Local\",\"path\":\"x\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":1}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"a\\u0061\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"a\n\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"a\t\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"\x7f\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"\xc3\xa9\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"\xff\"}}",
        "{\"assetPath\":{\"location\":\"local\",\"path\":\"x\"",
        "{\"assetPath\":\"x\"}",
        "{\"notifications\":{\"onStart\":\"a\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        assert_true(is_plain(plain[i], strlen(plain[i])));
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        if (is_plain(other[i], strlen(other[i])))
            fail_msg("%s", other[i]);
    assert_false(is_plain("{" PATH "}", sizeof("{" PATH "}"))); /* a NUL follows */
    for (size_t i = 0; i < strlen(plain[1]) - 2; i++)
        assert_false(is_plain(plain[1], i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_request_is_read),
        cmocka_unit_test(a_large_request_is_read_whole),
        cmocka_unit_test(only_the_usual_is_read_in_one_pass),
        cmocka_unit_test(notifications_may_be_left_out_or_null),
        cmocka_unit_test(every_fault_of_the_shape_is_named),
        cmocka_unit_test(what_is_not_json_is_explained),
        cmocka_unit_test(brackets_in_strings_are_no_depth),
        cmocka_unit_test(the_json_suite_is_judged_rightly),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
