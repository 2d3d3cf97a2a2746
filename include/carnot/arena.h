/* Memory that is given back all at once: the step arena is reset after every step, the run arena at
 * the end. */
#ifndef CARNOT_ARENA_H
#define CARNOT_ARENA_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cn_arena_block;

/* Plain memory that the caller owns; zero-initialise or call cn_arena_init. */
struct cn_arena {
    struct cn_arena_block *first, *current; /* chain of blocks, in order of allocation */
    size_t used, peak;                      /* bytes handed out now, and at most since init */
};

/* A place to come back to: everything allocated after cn_arena_mark is given back by
 * cn_arena_release. */
struct cn_arena_mark {
    struct cn_arena_block *block;
    size_t block_used, used;
};

void cn_arena_init(struct cn_arena *arena);

/* Gives all memory back to the system; the arena can be used again. */
void cn_arena_free(struct cn_arena *arena);

/* Forgets all allocations but keeps the blocks for the next step. */
void cn_arena_reset(struct cn_arena *arena);

/* `count` zeroed elements of `size` bytes, aligned to 64 bytes, valid until the arena is reset.
 * count 0 gives a valid pointer that must not be dereferenced.
 * Fails: CN_ERR_MEMORY, naming the bytes asked for.  Not collective. */
enum cn_status cn_arena_alloc(struct cn_arena *arena, size_t count, size_t size, void *out);

/* The same without zeroing: work arrays that are written before they are read. */
enum cn_status cn_arena_alloc_raw(struct cn_arena *arena, size_t count, size_t size, void *out);

/* A zero-terminated copy of `length` bytes of `text`. */
enum cn_status cn_arena_text(struct cn_arena *arena, const char *text, size_t length, char **out);

struct cn_arena_mark cn_arena_mark(const struct cn_arena *arena);
void cn_arena_release(struct cn_arena *arena, struct cn_arena_mark mark);

/* cn_arena_alloc for a typed pointer: CN_NEW(arena, n, &pointer). */
#define CN_NEW(arena, count, out) cn_arena_alloc((arena), (count), sizeof **(out), (out))

#ifdef __cplusplus
}
#endif
#endif
