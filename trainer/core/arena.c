/* Arena: a chain of blocks that only grows; reset keeps the blocks for the next step. */
#include "carnot/arena.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, BLOCK_MIN = 1 << 20 };

struct cn_arena_block {
    struct cn_arena_block *next;
    size_t size, used; /* of the bytes behind this header */
};

static const size_t header =
    (sizeof(struct cn_arena_block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

void cn_arena_init(struct cn_arena *arena)
{
    memset(arena, 0, sizeof *arena);
}

void cn_arena_free(struct cn_arena *arena)
{
    for (struct cn_arena_block *b = arena->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    cn_arena_init(arena);
}

void cn_arena_reset(struct cn_arena *arena)
{
    for (struct cn_arena_block *b = arena->first; b; b = b->next)
        b->used = 0;
    arena->current = arena->first;
    arena->used = 0;
}

/* Makes `arena->current` a block with room for `size` bytes. */
static enum cn_status make_room(struct cn_arena *arena, size_t size)
{
    struct cn_arena_block **link = arena->current ? &arena->current->next : &arena->first;
    while (*link && (*link)->size < size) { /* a block left by an earlier step that is too small */
        struct cn_arena_block *small = *link;
        *link = small->next;
        free(small);
    }
    if (!*link) {
        size_t grown = arena->current ? 2 * arena->current->size : BLOCK_MIN;
        size_t bytes = size > grown ? size : grown;
        struct cn_arena_block *block =
            aligned_alloc(ALIGNMENT, header + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        if (!block)
            return cn_fail(CN_ERR_MEMORY, "out of memory: an arena needs %zu more bytes", bytes);
        block->next = NULL;
        block->size = bytes;
        block->used = 0;
        *link = block;
    }
    arena->current = *link;
    return CN_OK;
}

enum cn_status cn_arena_alloc_raw(struct cn_arena *arena, size_t count, size_t size, void *out)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 4)
        return cn_fail(CN_ERR_MEMORY, "out of memory: %zu elements of %zu bytes asked for", count,
                       size);
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!bytes) bytes = ALIGNMENT;
    if (!arena->current || arena->current->size - arena->current->used < bytes)
        CN_TRY(make_room(arena, bytes));
    void *place = (char *)arena->current + header + arena->current->used;
    arena->current->used += bytes;
    arena->used += bytes;
    if (arena->used > arena->peak) arena->peak = arena->used;
    memcpy(out, &place, sizeof place);
    return CN_OK;
}

enum cn_status cn_arena_alloc(struct cn_arena *arena, size_t count, size_t size, void *out)
{
    void *place = NULL;
    CN_TRY(cn_arena_alloc_raw(arena, count, size, &place));
    memset(place, 0, count * size);
    memcpy(out, &place, sizeof place);
    return CN_OK;
}

enum cn_status cn_arena_text(struct cn_arena *arena, const char *text, size_t length, char **out)
{
    char *copy;
    CN_TRY(cn_arena_alloc(arena, length + 1, 1, &copy));
    if (length) memcpy(copy, text, length);
    *out = copy;
    return CN_OK;
}

struct cn_arena_mark cn_arena_mark(const struct cn_arena *arena)
{
    struct cn_arena_mark mark = {arena->current, arena->current ? arena->current->used : 0,
                                 arena->used};
    return mark;
}

void cn_arena_release(struct cn_arena *arena, struct cn_arena_mark mark)
{
    struct cn_arena_block *from = mark.block ? mark.block->next : arena->first;
    for (struct cn_arena_block *b = from; b; b = b->next)
        b->used = 0;
    if (mark.block) mark.block->used = mark.block_used;
    arena->current = mark.block ? mark.block : arena->first;
    arena->used = mark.used;
}
