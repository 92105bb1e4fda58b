#include "api/request.h"

#include <jansson.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/plain.h"
#include "base/cleanup.h"

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* How deep the brackets nest, strings left out; what is no JSON gets some number. */
static unsigned depth_of(const char *body, size_t len)
{
    unsigned depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = body[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest)
                deepest = depth;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* Where a comment begins outside of strings; NULL: nowhere. */
static const char *find_comment(const char *body, size_t len)
{
    bool in_string = false;
    for (size_t i = 0; i + 1 < len; i++) {
        if (in_string && body[i] == '\\')
            i++;
        else if (body[i] == '"')
            in_string = !in_string;
        else if (!in_string && body[i] == '/' && (body[i + 1] == '/' || body[i + 1] == '*'))
            return body + i;
    }
    return NULL;
}

static unsigned line_of(const char *body, const char *at)
{
    unsigned line = 1;
    for (const char *p = body; p < at; p++)
        line += *p == '\n';
    return line;
}

/* What people paste and JSON does not know. The parser's own words would not help them. */
static bool explain_pasted(const char *body, size_t len, struct buf *detail)
{
    const char *at = memmem(body, len, "\xe2\x80\x9c", 3);
    if (!at)
        at = memmem(body, len, "\xe2\x80\x9d", 3);
    if (at) {
        (void)buf_addf(detail,
                       "The body is not JSON: it has curly quotes (\u201c \u201d) in line %u, "
                       "JSON wants straight ones (\").",
                       line_of(body, at));
        return true;
    }
    at = find_comment(body, len);
    if (at)
        (void)buf_addf(
            detail,
            "The body is not JSON: it has a comment (// or /*) in line %u, and JSON has none.",
            line_of(body, at));
    return at != NULL;
}

/* The parser knows the line, and no column, of a byte that is no UTF-8. */
static bool explain_utf8(const char *body, size_t len, struct buf *detail)
{
    size_t offset = buf_utf8_prefix(body, len);
    if (offset == len)
        return false;
    unsigned column = 1;
    for (size_t i = offset; i > 0 && body[i - 1] != '\n'; i--)
        column += (body[i - 1] & 0xc0) != 0x80; /* each character once, by its first byte */
    (void)buf_addf(detail,
                   "The body is not JSON: it is not UTF-8, for the byte 0x%02x at offset %zu "
                   "(line %u, column %u).",
                   (unsigned char)body[offset], offset, line_of(body, body + offset), column);
    return true;
}

static const char *explain_code(enum json_error_code code)
{
    switch (code) {
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "something follows the value";
    case json_error_invalid_utf8:
        return "it is not UTF-8";
    case json_error_duplicate_key:
        return "a key is repeated";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a string holds a NUL character";
    case json_error_numeric_overflow:
        return "a number is too large";
    default:
        return "there is a syntax error";
    }
}

static void explain(const char *body, size_t len, const json_error_t *error, struct buf *detail)
{
    if (len == 0)
        (void)buf_adds(detail, "The body is empty; a JSON object is expected.");
    else if (len >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0)
        (void)buf_adds(detail, "The body is not JSON: it begins with a byte order mark.");
    else if (json_error_code(error) == json_error_invalid_utf8 && explain_utf8(body, len, detail))
        return;
    else if (!explain_pasted(body, len, detail))
        (void)buf_addf(detail, "The body is not JSON: %s (line %d, column %d).",
                       explain_code(json_error_code(error)), error->line, error->column);
}

static void add_fault(struct buf *faults, const char *parent, const char *key, const char *detail)
{
    (void)buf_adds(faults, faults->len == 0 ? "[" : ",");
    struct buf pointer;
    buf_init(&pointer, 128 * 1024);
    (void)buf_adds(&pointer, parent);
    if (key) {
        (void)buf_adds(&pointer, "/");
        for (; *key; key++) /* RFC 6901 §3 */
            (void)buf_adds(&pointer, *key == '~' ? "~0" : *key == '/' ? "~1" : (char[]){ *key, 0 });
    }
    (void)buf_adds(faults, "{\"pointer\":");
    (void)buf_add_json(faults, buf_str(&pointer), pointer.len);
    (void)buf_addf(faults, ",\"detail\":\"%s\"}", detail);
    buf_release(&pointer);
}

/* Members of object that are none of names: a mistyped name would otherwise go unheard. */
static void refuse_others(json_t *object, const char *parent, const char *const names[],
                          struct buf *faults)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool known = false;
        for (size_t i = 0; names[i]; i++)
            known |= strcmp(names[i], key) == 0;
        if (!known)
            add_fault(faults, parent, key, "there is no such member");
    }
}

static struct plain_string string_of(const json_t *json)
{
    return (struct plain_string){ json_string_value(json), json_string_length(json) };
}

static void check_asset_path(json_t *root, struct plain_request *ret, struct buf *faults)
{
    static const char *const members[] = { "location", "path", NULL };
    json_t *asset_path = json_object_get(root, "assetPath");
    if (!asset_path) {
        add_fault(faults, "", "assetPath", "is missing");
        return;
    }
    if (!json_is_object(asset_path)) {
        add_fault(faults, "", "assetPath", "must be an object with location and path");
        return;
    }
    json_t *location = json_object_get(asset_path, "location");
    if (!location)
        add_fault(faults, "/assetPath", "location", "is missing");
    else if (!json_is_string(location) || strcmp(json_string_value(location), "local") != 0)
        add_fault(faults, "/assetPath", "location", "must be \\\"local\\\"");
    json_t *path = json_object_get(asset_path, "path");
    if (!path)
        add_fault(faults, "/assetPath", "path", "is missing");
    else if (!json_is_string(path))
        add_fault(faults, "/assetPath", "path", "must be a string");
    ret->path = string_of(path);
    refuse_others(asset_path, "/assetPath", members, faults);
}

static void check_notifications(json_t *root, struct plain_request *ret, struct buf *faults)
{
    static const char *const members[] = { "onStart", "onSuccess", "onFailure", NULL };
    json_t *notifications = json_object_get(root, "notifications");
    if (!notifications || json_is_null(notifications))
        return;
    if (!json_is_object(notifications)) {
        add_fault(faults, "", "notifications", "must be an object or null");
        return;
    }
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        json_t *url = json_object_get(notifications, members[i]);
        ret->urls[i] = string_of(url);
        if (url && !json_is_null(url) && !json_is_string(url))
            add_fault(faults, "/notifications", members[i], "must be a string or null");
    }
    refuse_others(notifications, "/notifications", members, faults);
}

/* Any JSON value. detail says what is wrong with it. */
static enum request_result load(const char *body, size_t len, unsigned max_depth, json_t **ret_root,
                                struct buf *detail)
{
    if (depth_of(body, len) > max_depth) {
        (void)buf_addf(detail, "The body is nested more than %u deep.", max_depth);
        return REQUEST_NOT_JSON;
    }
    json_error_t error = { 0 };
    *ret_root =
        json_loadb(len ? body : "", len,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
    if (!*ret_root && json_error_code(&error) == json_error_out_of_memory)
        return REQUEST_NO_MEMORY;
    if (!*ret_root) {
        explain(body, len, &error, detail);
        return REQUEST_NOT_JSON;
    }
    return REQUEST_OK;
}

/* Copies of what was found, in one block. */
static enum request_result keep(const struct plain_request *found, struct asset_request *ret)
{
    const struct plain_string *from[] = { &found->path, &found->urls[0], &found->urls[1],
                                          &found->urls[2] };
    *ret = (struct asset_request){ 0 };
    const char **to[] = { &ret->path, &ret->urls[0], &ret->urls[1], &ret->urls[2] };
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(from); i++)
        len += from[i]->data ? from[i]->len + 1 : 0;
    char *text = ret->text = malloc(len);
    if (!text)
        return REQUEST_NO_MEMORY;
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        if (!from[i]->data)
            continue;
        *to[i] = text;
        text = mempcpy(text, from[i]->data, from[i]->len);
        *text++ = '\0';
    }
    return REQUEST_OK;
}

static enum request_result check(json_t *root, struct asset_request *ret, struct buf *detail,
                                 struct buf *faults)
{
    static const char *const members[] = { "assetPath", "notifications", NULL };
    struct plain_request found = { 0 };
    if (!json_is_object(root)) {
        add_fault(faults, "", NULL, "must be an object");
    } else {
        check_asset_path(root, &found, faults);
        check_notifications(root, &found, faults);
        refuse_others(root, "", members, faults);
    }
    if (faults->len > 0 || buf_failed(faults)) {
        (void)buf_adds(faults, "]");
        (void)buf_adds(detail, "The body is not of the expected shape.");
        return REQUEST_WRONG_SHAPE;
    }
    return keep(&found, ret);
}

enum request_result asset_request_parse(const char *body, size_t len, struct asset_request *ret,
                                        struct buf *detail, struct buf *faults)
{
    CLEANUP(json_freep) json_t *root = NULL;
    struct plain_request plain;
    if (plain_read(body, len, &plain))
        return keep(&plain, ret);
    enum request_result result = load(body, len, REQUEST_MAX_DEPTH, &root, detail);
    return result == REQUEST_OK ? check(root, ret, detail, faults) : result;
}

enum request_result asset_array_parse(const char *body, size_t len, void **ret_array, size_t *ret_n,
                                      struct buf *detail)
{
    CLEANUP(json_freep) json_t *root = NULL;
    enum request_result result = load(body, len, REQUEST_MAX_DEPTH + 1, &root, detail);
    if (result != REQUEST_OK)
        return result;
    if (!json_is_array(root)) {
        (void)buf_adds(detail, "The body is not an array of assets.");
        return REQUEST_WRONG_SHAPE;
    }
    *ret_n = json_array_size(root);
    *ret_array = TAKE(root);
    return REQUEST_OK;
}

enum request_result asset_array_item(const void *array, size_t i, struct asset_request *ret,
                                     struct buf *detail, struct buf *faults)
{
    return check(json_array_get(array, i), ret, detail, faults);
}

void asset_array_digest(const void *array, size_t i, uint8_t ret_digest[static 32])
{
    char *text = json_dumps(json_array_get(array, i), JSON_COMPACT | JSON_SORT_KEYS);
    (void)SHA256((const uint8_t *)(text ? text : ""), text ? strlen(text) : 0, ret_digest);
    free(text);
}

void asset_array_release(void *array)
{
    json_decref((json_t *)array);
}

void asset_request_release(struct asset_request *request)
{
    free(request->text);
    request->text = NULL;
}
