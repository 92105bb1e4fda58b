#ifndef VALIDATE_FORMAT_H
#define VALIDATE_FORMAT_H
/* format: which image format do these bytes claim by their signature, and how large is the picture
 * by its header? Names and types given by others count for nothing. */
#include "validate/validator.h"

enum image_format format_sniff(const struct media *media);
/* The size that the header of a picture of this format tells: true and *ret_… set, or false when it
 * does not tell (or lies beyond the data). Not for JPEG: jpeg_check() does that. */
bool format_size(enum image_format format, const struct media *media, uint32_t *ret_width,
                 uint32_t *ret_height);
#endif
