#ifndef VALIDATE_FORMAT_PARTS_H
#define VALIDATE_FORMAT_PARTS_H
/* format_parts: the formats that need more than a line each, for format.c and format_size.c. Private
 * to validate/. Each _size tells true with both numbers above 0, or false. */
#include "validate/format.h"
#include "validate/span.h"

struct picture_size {
    uint32_t width, height; /* pixels */
};

static inline struct span media_span(const struct media *media)
{
    return (struct span){ media->data, media->len };
}

/* format_tiff.c: TIFF 6.0, BigTIFF and the camera raws that are built on them. */
bool tiff_begins(struct span s);
enum image_format tiff_kind(struct span s); /* of a file that begins like a TIFF */
bool tiff_size(struct span s, struct picture_size *ret_size);

/* format_boxes.c: files made of boxes (ISO/IEC 14496-12): HEIF and AVIF, CR3, JPEG 2000, JPEG XL. */
enum image_format boxes_kind(struct span s);
bool heif_size(struct span s, struct picture_size *ret_size);
bool cr3_size(struct span s, struct picture_size *ret_size);
bool jp2_size(struct span s, struct picture_size *ret_size);
bool jxl_size(struct span s, struct picture_size *ret_size);

/* format_text.c: formats that begin with text: SVG, the PNM family, Radiance HDR. */
bool svg_begins(struct span s);
bool svg_size(struct span s, struct picture_size *ret_size);
bool pnm_size(struct span s, struct picture_size *ret_size); /* also: is it one? */
bool hdr_size(struct span s, struct picture_size *ret_size);

/* format_tga.c: a TGA is known by its footer; without one only if its header leaves no doubt. */
bool tga_is(const struct media *media);
bool tga_size(struct span s, struct picture_size *ret_size);
#endif
