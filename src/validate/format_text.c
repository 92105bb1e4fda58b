/* format_text: formats that begin with text: SVG (XML), the PNM family (Netpbm), Radiance HDR. Only
 * the first TEXT_MAX bytes are read. */
#include "validate/format_parts.h"

#include <math.h>

enum { TEXT_MAX = 64 * 1024, UTF16_MAX = 8 * 1024 };

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static uint64_t skip_space(struct span s, uint64_t at)
{
    while (at < s.len && is_space(s.data[at]))
        at++;
    return at;
}

/* Behind the next occurrence of text, or the end of s. */
static uint64_t skip_past(struct span s, uint64_t at, const char *text)
{
    const size_t len = strlen(text);
    const uint8_t *found = at < s.len ? memmem(s.data + at, s.len - at, text, len) : NULL;

    return found ? (uint64_t)(found - s.data) + len : s.len;
}

/* Behind a <!DOCTYPE …>, which may hold quoted texts and a subset in [ ]. */
static uint64_t skip_doctype(struct span s, uint64_t at)
{
    uint8_t quote = 0;
    bool in_subset = false;

    for (; at < s.len; at++) {
        uint8_t c = s.data[at];
        if (quote) {
            quote = c == quote ? 0 : quote;
        } else if (in_subset && span_says(s, at, "<!--")) {
            at = skip_past(s, at + 4, "-->") - 1;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '[') {
            in_subset = true;
        } else if (c == ']') {
            in_subset = false;
        } else if (c == '>' && !in_subset) {
            return at + 1;
        }
    }
    return s.len;
}

/* An SVG in UTF-16 as ASCII, what is not ASCII as '?'; s itself when it is not UTF-16. */
static struct span without_utf16(struct span s, uint8_t room[static UTF16_MAX])
{
    bool big = span_is(s, 0, "\xfe\xff", 2) || span_is(s, 0, "\0<", 2);
    struct span out = { room, 0 };

    if (!big && !span_is(s, 0, "\xff\xfe", 2) && !span_is(s, 0, "<\0", 2))
        return s;
    for (uint64_t at = 0; span_has(s, at, 2) && out.len < UTF16_MAX; at += 2) {
        uint64_t c = span_number(s, at, 2, big);
        if (at > 0 || c != 0xfeff)
            room[out.len++] = c < 0x80 ? (uint8_t)c : '?';
    }
    return out;
}

/* The name of the root element is svg, perhaps with a prefix: where it ends, or 0. */
static uint64_t svg_name_end(struct span s, uint64_t at)
{
    uint64_t start = at;

    for (; at < s.len && !is_space(s.data[at]) && s.data[at] != '>' && s.data[at] != '/'; at++)
        if (s.data[at] == ':')
            start = at + 1;
    return at < s.len && at - start == 3 && span_says(s, start, "svg") ? at : 0;
}

/* Behind "<svg" of the root element, or 0: what comes before may only be what XML allows there. */
static uint64_t svg_root(struct span s)
{
    uint64_t at = span_is(s, 0, "\xef\xbb\xbf", 3) ? 3 : 0;

    for (;;) {
        at = skip_space(s, at);
        if (span_says(s, at, "<?"))
            at = skip_past(s, at + 2, "?>");
        else if (span_says(s, at, "<!--"))
            at = skip_past(s, at + 4, "-->");
        else if (span_says(s, at, "<!DOCTYPE") && !span_says(s, skip_space(s, at + 9), "html"))
            at = skip_doctype(s, at + 9);
        else if (span_says(s, at, "<"))
            return svg_name_end(s, at + 1);
        else
            return 0;
    }
}

bool svg_begins(struct span s)
{
    uint8_t room[UTF16_MAX];

    return svg_root(without_utf16(span_part(s, 0, TEXT_MAX), room)) != 0;
}

/* "120", "120.5", "120px": pixels, rounded up; 0: another unit, or no such number. */
static uint32_t pixels(struct span text)
{
    double v = 0, unit = 1;
    uint64_t at = skip_space(text, 0);

    if (!is_digit(span_u8(text, at)))
        return 0;
    for (; is_digit(span_u8(text, at)) && v < 1e9; at++)
        v = v * 10 + (text.data[at] - '0');
    if (span_u8(text, at) == '.')
        for (at++; is_digit(span_u8(text, at)); at++)
            v += (text.data[at] - '0') * (unit /= 10);
    if (span_says(text, at, "px"))
        at += 2;
    return skip_space(text, at) == text.len && v < 1e9 ? (uint32_t)ceil(v) : 0;
}

bool svg_size(struct span s, struct picture_size *ret_size)
{
    uint8_t room[UTF16_MAX];
    struct picture_size size = { 0, 0 };
    uint64_t at, name, name_len, end;

    s = without_utf16(span_part(s, 0, TEXT_MAX), room);
    at = svg_root(s);
    for (;;) {
        at = skip_space(s, at);
        name = at;
        while (at < s.len && !is_space(s.data[at]) && !strchr("=>/", s.data[at]))
            at++;
        name_len = at - name;
        at = skip_space(s, at);
        if (name_len == 0 || span_u8(s, at) != '=')
            break;
        at = skip_space(s, at + 1);
        if (span_u8(s, at) != '"' && span_u8(s, at) != '\'')
            break;
        end = skip_past(s, at + 1, s.data[at] == '"' ? "\"" : "'");
        if (name_len == 5 && span_says(s, name, "width"))
            size.width = pixels(span_part(s, at + 1, end - at - 2));
        else if (name_len == 6 && span_says(s, name, "height"))
            size.height = pixels(span_part(s, at + 1, end - at - 2));
        at = end;
    }
    *ret_size = size;
    return size.width && size.height;
}

/* The next number of a PNM header, comments skipped; 0: none, or too large to be true. */
static uint32_t pnm_number(struct span s, uint64_t *at)
{
    uint64_t v = 0;

    for (;;) {
        *at = skip_space(s, *at);
        if (span_u8(s, *at) != '#')
            break;
        *at = skip_past(s, *at, "\n");
    }
    for (; is_digit(span_u8(s, *at)) && v <= UINT32_MAX; (*at)++)
        v = v * 10 + (s.data[*at] - '0');
    return v <= INT32_MAX ? (uint32_t)v : 0;
}

/* P7 (PAM): lines of a word and its value, to ENDHDR. */
static bool pam_size(struct span s, struct picture_size *ret_size)
{
    uint64_t at = 3, word;

    *ret_size = (struct picture_size){ 0, 0 };
    while (at < s.len && !span_says(s, at, "ENDHDR")) {
        word = at;
        if (span_says(s, word, "WIDTH ")) {
            at += 6;
            ret_size->width = pnm_number(s, &at);
        } else if (span_says(s, word, "HEIGHT ")) {
            at += 7;
            ret_size->height = pnm_number(s, &at);
        }
        at = skip_past(s, at, "\n");
    }
    return ret_size->width && ret_size->height;
}

bool pnm_size(struct span s, struct picture_size *ret_size)
{
    uint8_t kind = span_u8(s, 1);
    uint64_t at = 2;

    s = span_part(s, 0, TEXT_MAX);
    if (span_says(s, 0, "P7\n"))
        return pam_size(s, ret_size);
    if (span_u8(s, 0) != 'P' || !((kind >= '1' && kind <= '6') || kind == 'F' || kind == 'f') ||
        !(is_space(span_u8(s, 2)) || span_u8(s, 2) == '#'))
        return false;
    ret_size->width = pnm_number(s, &at);
    if (!is_space(span_u8(s, at)) && span_u8(s, at) != '#')
        return false;
    ret_size->height = pnm_number(s, &at);
    return ret_size->width && ret_size->height &&
           (at == s.len || is_space(s.data[at]) || s.data[at] == '#');
}

/* Lines of text, an empty one, then "-Y height +X width" (or in the other order, with other signs). */
bool hdr_size(struct span s, struct picture_size *ret_size)
{
    uint64_t at;

    s = span_part(s, 0, TEXT_MAX);
    at = skip_past(s, 0, "\n\n");
    *ret_size = (struct picture_size){ 0, 0 };
    for (int i = 0; i < 2; i++) {
        uint8_t sign = span_u8(s, at), axis = span_u8(s, at + 1);
        if ((sign != '-' && sign != '+') || (axis != 'X' && axis != 'Y') ||
            span_u8(s, at + 2) != ' ')
            return false;
        at += 3;
        *(axis == 'X' ? &ret_size->width : &ret_size->height) = pnm_number(s, &at);
        at = skip_space(s, at);
    }
    return ret_size->width && ret_size->height;
}
