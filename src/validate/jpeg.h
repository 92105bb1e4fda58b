#ifndef VALIDATE_JPEG_H
#define VALIDATE_JPEG_H
/* jpeg: is this a JPEG that every browser shows whole? (ITU-T T.81) Called by image.c when the data
 * begin FF D8 FF. Fills in width, height and orientation and adds every finding. */
#include "validate/validator.h"

int jpeg_check(const struct media *media, const struct limits *limits, struct verdict *verdict,
               struct err *err);
#endif
