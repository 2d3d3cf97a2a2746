/* Blocks of the cache, counted by reference. */
#include "cache.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *cache_map(size_t bytes)
{
    if (bytes == 0) bytes = 1;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

void cache_unmap(void *memory, size_t bytes)
{
    if (memory) munmap(memory, bytes ? bytes : 1);
}

static size_t cache_bytes(const struct cache *cache)
{
    return cache->slots * cache->slot_blocks * cache->block_bytes;
}

enum cn_status cache_open(struct cache *cache, size_t slots, size_t context, size_t block_tokens,
                          size_t block_bytes)
{
    size_t slot_blocks = (context + block_tokens - 1) / block_tokens, blocks, bytes;
    memset(cache, 0, sizeof *cache);
    if (__builtin_mul_overflow(slots, slot_blocks, &blocks) || blocks >= UINT32_MAX ||
        __builtin_mul_overflow(blocks, block_bytes, &bytes))
        return cn_fail(CN_ERR_MEMORY,
                       "a cache of %zu slots x %zu tokens is beyond what can be addressed: "
                       "lower rollout.slots or the context",
                       slots, context);
    *cache = (struct cache){.slots = slots,
                            .slot_blocks = slot_blocks,
                            .n_spare = blocks,
                            .block_tokens = block_tokens,
                            .block_bytes = block_bytes};
    cache->memory = cache_map(bytes);
    cache->uses = calloc(blocks, sizeof *cache->uses);
    cache->spare = calloc(blocks, sizeof *cache->spare);
    cache->table = calloc(blocks, sizeof *cache->table);
    cache->length = calloc(slots, sizeof *cache->length);
    if (!cache->memory || !cache->uses || !cache->spare || !cache->table || !cache->length) {
        cache_close(cache);
        return cn_fail(CN_ERR_MEMORY,
                       "no memory for a cache of %zu slots x %zu tokens (%.1f GB): lower "
                       "rollout.slots or the context",
                       slots, context, (double)bytes / 1e9);
    }
    for (size_t i = 0; i < blocks; i++)
        cache->spare[i] = (uint32_t)(blocks - 1 - i);
    return CN_OK;
}

void cache_close(struct cache *cache)
{
    cache_unmap(cache->memory, cache_bytes(cache));
    free(cache->uses);
    free(cache->spare);
    free(cache->table);
    free(cache->length);
    memset(cache, 0, sizeof *cache);
}

void cache_rest(struct cache *cache)
{
    const size_t bytes = cache_bytes(cache);
    if (bytes < CACHE_REST || cache->n_spare < cache->slots * cache->slot_blocks) return;
    madvise(cache->memory, bytes, MADV_DONTNEED);
}

void cache_wake(const struct cache *cache)
{
    if (cache_bytes(cache) >= CACHE_REST) malloc_trim(0);
}

static enum cn_status take_block(struct cache *cache, uint32_t *out)
{
    CN_BUG_IF(cache->n_spare == 0);
    *out = cache->spare[--cache->n_spare];
    cache->uses[*out] = 1;
    return CN_OK;
}

static void drop_block(struct cache *cache, uint32_t block)
{
    if (--cache->uses[block] == 0) cache->spare[cache->n_spare++] = block;
}

enum cn_status cache_extend(struct cache *cache, size_t slot, size_t n)
{
    uint32_t *table = cache->table + slot * cache->slot_blocks;
    size_t length = cache->length[slot], begun = length % cache->block_tokens;
    CN_BUG_IF(n > cache->slot_blocks * cache->block_tokens - length);
    if (n > 0 && begun > 0) {
        uint32_t *last = &table[length / cache->block_tokens], copy = 0;
        if (cache->uses[*last] > 1) {
            CN_TRY(take_block(cache, &copy));
            memcpy(cache->memory + copy * cache->block_bytes,
                   cache->memory + *last * cache->block_bytes, cache->block_bytes);
            drop_block(cache, *last);
            *last = copy;
        }
    }
    size_t have = (length + cache->block_tokens - 1) / cache->block_tokens;
    size_t want = (length + n + cache->block_tokens - 1) / cache->block_tokens;
    for (; have < want; have++)
        CN_TRY(take_block(cache, &table[have]));
    cache->length[slot] = length + n;
    return CN_OK;
}

void cache_share(struct cache *cache, size_t from, size_t to)
{
    size_t blocks = (cache->length[from] + cache->block_tokens - 1) / cache->block_tokens;
    const uint32_t *source = cache_table(cache, from);
    uint32_t *table = cache->table + to * cache->slot_blocks;
    for (size_t i = 0; i < blocks; i++) {
        table[i] = source[i];
        cache->uses[source[i]]++;
    }
    cache->length[to] = cache->length[from];
}

void cache_release(struct cache *cache, size_t slot)
{
    size_t blocks = (cache->length[slot] + cache->block_tokens - 1) / cache->block_tokens;
    for (size_t i = blocks; i-- > 0;)
        drop_block(cache, cache_table(cache, slot)[i]);
    cache->length[slot] = 0;
}
