#include "api/plain.h"

#include <string.h>

struct cursor {
    const char *at, *end;
};

static bool next_is(struct cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t'))
        c->at++;
}

static bool token(struct cursor *c, char wanted)
{
    skip_space(c);
    return next_is(c, wanted);
}

static bool string(struct cursor *c, struct plain_string *ret)
{
    if (!token(c, '"'))
        return false;
    const char *begin = c->at;
    while (c->at < c->end && *c->at >= ' ' && *c->at <= '~' && *c->at != '"' && *c->at != '\\')
        c->at++;
    *ret = (struct plain_string){ begin, (size_t)(c->at - begin) };
    return next_is(c, '"');
}

static bool is(const struct plain_string *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}

/* An object of strings, of which names are all there may be. */
static bool strings(struct cursor *c, const char *const names[], size_t n,
                    struct plain_string ret[])
{
    if (!token(c, '{'))
        return false;
    do {
        struct plain_string name;
        size_t i = 0;
        if (!string(c, &name) || !token(c, ':'))
            return false;
        while (i < n && !is(&name, names[i]))
            i++;
        if (i == n || ret[i].data || !string(c, &ret[i]))
            return false;
    } while (token(c, ','));
    return token(c, '}');
}

bool plain_read(const char *body, size_t len, struct plain_request *ret)
{
    static const char *const in_path[] = { "location", "path" };
    static const char *const in_notifications[] = { "onStart", "onSuccess", "onFailure" };
    struct cursor c = { body, body + len };
    struct plain_string asset_path[2] = { 0 };
    bool notified = false;
    *ret = (struct plain_request){ 0 };
    if (!token(&c, '{'))
        return false;
    do {
        struct plain_string name;
        if (!string(&c, &name) || !token(&c, ':'))
            return false;
        if (is(&name, "assetPath") && !asset_path[0].data) {
            if (!strings(&c, in_path, 2, asset_path) || !asset_path[0].data || !asset_path[1].data)
                return false;
        } else if (is(&name, "notifications") && !notified) {
            notified = true;
            if (!strings(&c, in_notifications, NOTIFY_COUNT, ret->urls))
                return false;
        } else {
            return false;
        }
    } while (token(&c, ','));
    if (!token(&c, '}'))
        return false;
    skip_space(&c);
    ret->path = asset_path[1];
    return c.at == c.end && ret->path.data && is(&asset_path[0], "local");
}
