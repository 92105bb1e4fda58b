#ifndef VALIDATE_IMAGE_H
#define VALIDATE_IMAGE_H
/* image: what image.c shares with the checks of single formats (jpeg.c). Private to validate/. */
#include "validate/validator.h"

/* Record the size of the picture, as stored, and add too_wide and too_high where it is over limits. */
void image_judge_size(struct verdict *verdict, uint32_t width, uint32_t height,
                      const struct limits *limits);
#endif
