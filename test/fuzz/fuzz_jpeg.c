/* Any bytes at all as a JPEG: a verdict that is sane, no crash, no endless work. */
#include <stdlib.h>

#include "validate/jpeg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct limits limits = { 1000, 1000, UINT64_MAX };
    const struct media media = { .data = data, .len = size, .file_len = size };
    struct verdict verdict;
    struct err err;
    if (size < 3 || data[0] != 0xFF || data[1] != 0xD8 || data[2] != 0xFF)
        return 0; /* the caller's business */
    verdict_init(&verdict, size);
    if (jpeg_check(&media, &limits, &verdict, &err) < 0 || !verdict_is_sane(&verdict))
        abort();
    return 0;
}
