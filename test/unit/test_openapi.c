/* openapi.json says the paths and methods that the API has: all of them, and no others. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "api/parts.h"

static json_t *document(void)
{
    json_error_t error;
    json_t *json = json_load_file("src/api/openapi.json", JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("line %d: %s", error.line, error.text);
    return json;
}

static const struct route *route_of_path(const char *path)
{
    for (size_t i = 0; i < API_ROUTES && api_routes[i].path; i++)
        if (strcmp(api_routes[i].path, path) == 0)
            return &api_routes[i];
    return NULL;
}

static void every_route_is_described(void **state)
{
    (void)state;
    json_t *json = document(), *paths = json_object_get(json, "paths");
    for (size_t i = 0; i < API_ROUTES && api_routes[i].path; i++) {
        const struct route *route = &api_routes[i];
        json_t *item = json_object_get(paths, route->path);
        if (!item || !json_object_get(item, "get") != !route->get ||
            !json_object_get(item, "post") != !route->post)
            fail_msg("%s is not described as it is", route->path);
        json_t *operation = json_object_get(item, route->get ? "get" : "post");
        bool open = json_is_array(json_object_get(operation, "security"));
        if (open != route->open)
            fail_msg("%s: whether it needs a key", route->path);
    }
    json_decref(json);
}

static void nothing_else_is_described(void **state)
{
    (void)state;
    json_t *json = document(), *item;
    const char *path;
    json_object_foreach(json_object_get(json, "paths"), path, item)
    {
        if (!route_of_path(path))
            fail_msg("there is no %s", path);
        const char *method;
        json_t *operation;
        json_object_foreach(item, method, operation) if (strcmp(method, "get") != 0 &&
                                                         strcmp(method, "post") != 0)
            fail_msg("%s has no %s", path, method);
    }
    json_decref(json);
}

/* All references lead somewhere. */
static void check_references(json_t *root, json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;
    json_array_foreach(json, i, value) check_references(root, value);
    json_object_foreach(json, key, value)
    {
        check_references(root, value);
        if (strcmp(key, "$ref") != 0)
            continue;
        char where[256], *rest = where;
        (void)strncpy(where, json_string_value(value), sizeof(where) - 1);
        where[sizeof(where) - 1] = '\0';
        json_t *at = root;
        for (const char *step; (step = strsep(&rest, "/"));)
            at = strcmp(step, "#") == 0 ? root : json_object_get(at, step);
        if (!at)
            fail_msg("%s leads nowhere", json_string_value(value));
    }
}

static void references_lead_somewhere(void **state)
{
    (void)state;
    json_t *json = document();
    check_references(json, json);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_described),
        cmocka_unit_test(nothing_else_is_described),
        cmocka_unit_test(references_lead_somewhere),
    };
    return cmocka_run_group_tests_name("openapi", tests, NULL, NULL);
}
