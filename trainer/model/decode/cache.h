/* Memory for keys and values: blocks of 32 tokens that slots refer to and share.
 *
 *     slot 0: [ 7 | 3 | 9 ]      a fork refers to the blocks of its parent; whoever writes into a
 *     slot 1: [ 7 | 3 | 4 ]      block that others refer to gets a copy first (only the last,
 *                                unfinished block is ever written)
 *
 * Every block in use is referred to by a slot and a slot refers to at most `slot_blocks`, so slots
 * x slot_blocks blocks always suffice.  Pages that were never written take no memory. */
#ifndef CARNOT_DECODE_CACHE_H
#define CARNOT_DECODE_CACHE_H

#include "carnot/status.h"

struct cache {
    size_t slots, slot_blocks; /* blocks of one slot */
    size_t block_tokens, block_bytes;
    char *memory;    /* (slots slot_blocks, block_bytes), zero at first */
    uint32_t *uses;  /* per block: slots that refer to it */
    uint32_t *spare; /* stack of blocks that nobody refers to */
    size_t n_spare;
    uint32_t *table; /* (slots, slot_blocks) */
    size_t *length;  /* per slot: tokens */
};

/* Fails: CN_ERR_MEMORY naming bytes, slots and context. */
enum cn_status cache_open(struct cache *cache, size_t slots, size_t context, size_t block_tokens,
                          size_t block_bytes);
void cache_close(struct cache *cache);

/* Makes the next n tokens of a slot writable and counts them as its own. */
enum cn_status cache_extend(struct cache *cache, size_t slot, size_t n);

/* An empty slot refers to what `from` holds. */
void cache_share(struct cache *cache, size_t from, size_t to);

/* The slot is empty again. */
void cache_release(struct cache *cache, size_t slot);

/* Gives the pages back if no slot is in use; a cache below CACHE_REST bytes stays, since touching
 * it anew would cost a small model more than its memory is worth. */
enum { CACHE_REST = 64 << 20 };
void cache_rest(struct cache *cache);

/* Before a cache that rests is used again: what others freed meanwhile goes back to the system. */
void cache_wake(const struct cache *cache);

static inline const uint32_t *cache_table(const struct cache *cache, size_t slot)
{
    return cache->table + slot * cache->slot_blocks;
}

/* `bytes` zeroed bytes of whole pages, large ones where the system has them; NULL if refused. */
void *cache_map(size_t bytes);
void cache_unmap(void *memory, size_t bytes);

#endif
