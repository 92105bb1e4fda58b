#ifndef API_JSON_ARENA_H
#define API_JSON_ARENA_H
/* json_arena: memory for a JSON document that is read and dropped at once. jansson takes a block for each
 * member, string and number, some thirty for one request; malloc() and free() of them cost as much as the
 * parsing. */

/* From here to the end the calling thread's documents are made in its arena. */
void json_arena_begin(void);
/* All of them are gone, whether or not they were released. */
void json_arena_end(void);
#endif
