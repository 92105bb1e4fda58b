/* Names of numbers: no two alike, none guessable by counting, and back again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/permute.h"

static struct permute keyed(uint8_t first)
{
    uint8_t key[PERMUTE_KEY_LEN] = { first, 1, 2, 3 };
    struct permute p;
    permute_init(&p, key);
    return p;
}

static void every_name_leads_back_to_its_number(void **state)
{
    (void)state;
    static const uint64_t around[] = {
        0, 1, 21767823359, 21767823360, 805409464319, 805409464320, UINT64_C(1) << 47
    };
    struct permute p = keyed(9);
    for (size_t i = 0; i < ARRAY_LEN(around); i++) {
        for (uint64_t number = around[i]; number < around[i] + 2000; number++) {
            char name[PERMUTE_NAME_LEN + 1];
            uint64_t back;
            permute_name(&p, number, name);
            assert_in_range(strlen(name), 7, PERMUTE_NAME_LEN);
            assert_in_range(name[0], '0', '9');
            assert_true(permute_number(&p, name, &back));
            assert_true(back == number);
        }
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void no_two_numbers_have_one_name(void **state)
{
    (void)state;
    enum { N = 50000 };
    struct permute p = keyed(9);
    char(*names)[PERMUTE_NAME_LEN + 1] = calloc(N, sizeof(*names));
    assert_non_null(names);
    for (size_t i = 0; i < N; i++)
        permute_name(&p, i, names[i]);
    qsort(names, N, sizeof(*names), compare_names);
    for (size_t i = 1; i < N; i++)
        assert_string_not_equal(names[i], names[i - 1]);
    free(names);
}

static void another_key_gives_other_names(void **state)
{
    (void)state;
    struct permute p = keyed(9), q = keyed(10);
    int same = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        char a[PERMUTE_NAME_LEN + 1], b[PERMUTE_NAME_LEN + 1];
        permute_name(&p, i, a);
        permute_name(&q, i, b);
        same += strcmp(a, b) == 0;
    }
    assert_int_equal(same, 0);
}

static void what_is_no_name_has_no_number(void **state)
{
    (void)state;
    static const char *const names[] = { "",        "123456",  "a234567",      "123456A",
                                         "123456-", "123 567", "0123456789012" };
    struct permute p = keyed(9);
    uint64_t number;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_false(permute_number(&p, names[i], &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_leads_back_to_its_number),
        cmocka_unit_test(no_two_numbers_have_one_name),
        cmocka_unit_test(another_key_gives_other_names),
        cmocka_unit_test(what_is_no_name_has_no_number),
    };
    return cmocka_run_group_tests_name("permute", tests, NULL, NULL);
}
