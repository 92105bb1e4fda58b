/* Recognising and measuring a picture must not read beyond its input, must end soon, and must never
 * tell half a size. */
#include <stdint.h>
#include <stdlib.h>

#include "validate/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const size_t tail_len = len < 32 ? len : 32;
    const struct media media = { data, len, len, data + len - tail_len, tail_len };
    uint32_t width = 0, height = 0;

    (void)format_sniff(&media);
    for (unsigned format = 0; format < IMAGE_FORMATS; format++) {
        width = height = 0;
        if (format_size(format, &media, &width, &height) != (width && height))
            abort();
    }
    return 0;
}
