/* redis_lua: the text of redis.lua, as a part of the program. */
#include "store/redis.h"

__asm__(".pushsection .rodata\n"
        ".global redis_lua\n"
        "redis_lua:\n"
        ".incbin \"src/store/redis.lua\"\n"
        ".byte 0\n"
        ".popsection\n");
