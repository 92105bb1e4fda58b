#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "base/permute.h"

static struct permute ids(uint8_t seed)
{
    uint8_t key[PERMUTE_KEY_LEN];
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(seed + i);
    struct permute p;
    permute_init(&p, key);
    return p;
}

/* Where names grow by one character: 0, 10·36^6, 10·(36^6 + 36^7), … and the last number of all. */
static const uint64_t edges[] = { 0,
                                  21767823360u,
                                  805409464320u,
                                  29016508538880u,
                                  1044616075223040u,
                                  37606200475852800u,
                                  1353823238898524160u };

static void a_name_leads_back_to_its_number(void **state)
{
    (void)state;
    struct permute p = ids(1);
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        for (uint64_t n = edges[i] < 100 ? 0 : edges[i] - 100; n < edges[i] + 100; n++) {
            if (n >= edges[ARRAY_LEN(edges) - 1])
                break;
            char name[PERMUTE_NAME_LEN + 1];
            uint64_t number;
            permute_name(&p, n, name);
            assert_int_equal(strlen(name), n < edges[i] ? 6 + i : 7 + i);
            assert_true(permute_number(&p, name, &number));
            assert_int_equal(number, n);
        }
    }
}

static void another_key_gives_other_names(void **state)
{
    (void)state;
    struct permute a = ids(1), b = ids(2);
    char name_a[PERMUTE_NAME_LEN + 1], name_b[PERMUTE_NAME_LEN + 1];
    permute_name(&a, 5, name_a);
    permute_name(&b, 5, name_b);
    assert_string_not_equal(name_a, name_b);
}

static void every_text_of_the_form_has_an_answer(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_name;
    } cases[] = {
        { "0000000", true },        { "9zzzzzz", true },         { "00000000", true },
        { "000000000000", true },   { "9zzzzzzzzzzz", true },    { "", false },
        { "000000", false },        { "0000000000000", false },  { "9zzzzzzzzzzzz", false },
        { "1abcdefghijkl", false }, { "00000000000000", false }, { "a000000", false },
        { "000000A", false },       { "00000-0", false },
    };
    struct permute p = ids(3);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t number;
        assert_int_equal(permute_number(&p, cases[i].text, &number), cases[i].is_name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_leads_back_to_its_number),
        cmocka_unit_test(another_key_gives_other_names),
        cmocka_unit_test(every_text_of_the_form_has_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
