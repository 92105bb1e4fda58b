#include "validate/image.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "validate/format.h"
#include "validate/jpeg.h"
#include "validate/span.h"

void image_judge_size(struct verdict *verdict, uint32_t width, uint32_t height,
                      const struct limits *limits)
{
    struct finding *f;

    verdict->width = width;
    verdict->height = height;
    if (width > limits->max_width) {
        f = verdict_add(verdict, FINDING_TOO_WIDE);
        f->measured = width;
        f->allowed = limits->max_width;
    }
    if (height > limits->max_height) {
        f = verdict_add(verdict, FINDING_TOO_HIGH);
        f->measured = height;
        f->allowed = limits->max_height;
    }
}

/* What people send in place of an image, most often by mistake of a download or a script. */
static const struct {
    uint8_t at, len;
    const char *bytes, *what;
} impostors[] = {
    { 0, 34, "version https://git-lfs.github.com",
      "a Git LFS pointer: fetch the file it stands for" },
    { 0, 2, "\x1f\x8b", "gzip data: unpack it first" },
    { 0, 4, "PK\3\4", "a zip archive: unpack it first" },
    { 0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first" },
    { 0, 4, "Rar!", "a rar archive: unpack it first" },
    { 0, 3, "BZh", "bzip2 data: unpack it first" },
    { 0, 4, "\x28\xb5\x2f\xfd", "Zstandard data: unpack it first" },
    { 0, 6,
      "\xfd"
      "7zXZ",
      "xz data: unpack it first" },
    { 0, 5, "%PDF-", "a PDF document" },
    { 0, 4, "%!PS", "a PostScript document" },
    { 0, 4, "\xc5\xd0\xd3\xc6", "a PostScript document" },
    { 4, 4, "ftyp", "a video (MP4 or a relative of it)" },
    { 0, 4, "\x1a\x45\xdf\xa3", "a video (Matroska or WebM)" },
    { 8, 4, "AVI ", "a video (AVI)" },
    { 8, 4, "WAVE", "sound (WAV)" },
    { 0, 3, "ID3", "sound (MP3)" },
    { 0, 4, "OggS", "sound or video (Ogg)" },
    { 0, 4, "fLaC", "sound (FLAC)" },
    { 0, 4,
      "\x7f"
      "ELF",
      "a program" },
    { 0, 2, "MZ", "a program" },
    { 0, 5, "/9j/4", "a JPEG in base64: decode it first" },
    { 0, 5, "data:", "a data: URL: decode it first" },
    { 0, 9, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
      "binary data that were read as text (UTF-8) and are lost" },
};

/* Ignoring case, and not followed by more letters: "<html", "<!doctype html". */
static bool tag_at(struct span s, uint64_t at, const char *tag)
{
    size_t n = strlen(tag);

    if (!span_has(s, at, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (tolower(s.data[at + i]) != tag[i])
            return false;
    return !isalnum(span_u8(s, at + n));
}

static const char *text_kind(struct span s)
{
    static const char *const tags[] = { "<html",  "<!doctype html", "<head", "<body",  "<script",
                                        "<style", "<div",           "<p",    "<title", "<h1" };
    const struct span head = span_part(s, 0, 512);
    uint64_t at = span_is(s, 0, "\xef\xbb\xbf", 3) ? 3 : 0;

    while (at < head.len && isspace(head.data[at]))
        at++;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
        if (tag_at(head, at, tags[i]))
            return "an HTML page, perhaps an error page in the image's place";
    if (tag_at(head, at, "<?xml") || tag_at(head, at, "<error"))
        return "an XML document";
    for (uint64_t i = at; i < head.len; i++) /* FF: no character of UTF-8, hardly one of others */
        if ((head.data[i] < 0x20 && !isspace(head.data[i])) || head.data[i] == 0x7f ||
            head.data[i] == 0xff)
            return NULL;
    if (head.len == at)
        return head.len == s.len ? "nothing but white space" : NULL;
    if (head.data[at] == '{' || head.data[at] == '[')
        return "JSON, perhaps an error message in the image's place";
    if (span_says(head, at, "--") && memmem(head.data, head.len, "Content-Disposition", 19))
        return "a multipart upload that was stored as it is";
    return "plain text";
}

/* Room that was set aside for the file and never written: zeros of a file system, FF of a flash. */
static const char *blank_kind(struct span s)
{
    if (s.len < 2 || memcmp(s.data, s.data + 1, s.len - 1) != 0)
        return NULL;
    return s.data[0] == 0      ? "nothing but zero bytes, perhaps of an unfinished transfer"
           : s.data[0] == 0xff ? "nothing but bytes FF, perhaps of an unfinished transfer"
                               : NULL;
}

/* A JPEG that something was put in front of: a byte order mark, a newline, a script's warning. */
static bool jpeg_behind(struct span s, uint64_t *ret_at)
{
    const struct span head = span_part(s, 0, 4096);
    const uint8_t *found = memmem(head.data, head.len, "\xff\xd8\xff", 3);

    if (!found)
        return false;
    *ret_at = (uint64_t)(found - head.data);
    return true;
}

static void describe_impostor(const struct media *media, struct finding *f)
{
    const struct span s = { media->data, media->len };
    const char *what = NULL;
    uint64_t at;

    for (size_t i = 0; !what && i < sizeof(impostors) / sizeof(impostors[0]); i++)
        if (span_is(s, impostors[i].at, impostors[i].bytes, impostors[i].len))
            what = impostors[i].what;
    if (!what && media->len == media->file_len)
        what = blank_kind(s);
    if (!what)
        what = text_kind(s);
    if (jpeg_behind(s, &at) && (at <= 16 || !what || strcmp(what, "plain text") == 0))
        (void)snprintf(f->detail, sizeof(f->detail),
                       "a JPEG begins only after %" PRIu64 " other bytes", at);
    else if (what)
        (void)snprintf(f->detail, sizeof(f->detail), "this is %s", what);
}

static void judge_other_format(enum image_format format, const struct media *media,
                               const struct limits *limits, struct verdict *verdict)
{
    uint32_t width, height;
    struct finding *f;

    if (format == IMAGE_UNKNOWN) {
        describe_impostor(media, verdict_add(verdict, FINDING_NOT_AN_IMAGE));
        verdict_add(verdict, FINDING_NOT_A_JPEG);
        return;
    }
    f = verdict_add(verdict, FINDING_NOT_A_JPEG);
    (void)snprintf(f->detail, sizeof(f->detail), "this is %s", image_format_name(format));
    if (format_size(format, media, &width, &height))
        image_judge_size(verdict, width, height, limits);
}

static int image_check(const struct media *media, const struct limits *limits,
                       struct verdict *verdict, struct err *err)
{
    struct finding *f;

    if (media->file_len == 0) {
        verdict_add(verdict, FINDING_EMPTY);
        return 0;
    }
    if (media->file_len > limits->max_bytes) {
        f = verdict_add(verdict, FINDING_TOO_LARGE);
        f->measured = (int64_t)media->file_len;
        f->allowed = (int64_t)limits->max_bytes;
    }
    verdict->format = format_sniff(media);
    if (verdict->format == IMAGE_JPEG)
        return jpeg_check(media, limits, verdict, err);
    judge_other_format(verdict->format, media, limits, verdict);
    return 0;
}

const struct validator validator_image = { .kind = "image", .check = image_check };
