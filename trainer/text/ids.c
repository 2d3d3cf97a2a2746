/* A growable list of token ids. */
#include "carnot/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum cn_status cn_ids_append(struct cn_ids *ids, const int32_t *item, size_t count)
{
    if (count > ids->capacity - ids->count) {
        size_t capacity = ids->capacity ? ids->capacity : 64;
        while (capacity - ids->count < count) {
            if (capacity > SIZE_MAX / (2 * sizeof *item))
                return cn_fail(CN_ERR_MEMORY, "a list of %zu + %zu token ids is too long",
                               ids->count, count);
            capacity *= 2;
        }
        int32_t *grown = realloc(ids->item, capacity * sizeof *grown);
        if (!grown)
            return cn_fail(CN_ERR_MEMORY, "out of memory: a list of %zu token ids", capacity);
        ids->item = grown;
        ids->capacity = capacity;
    }
    if (count) memcpy(ids->item + ids->count, item, count * sizeof *item);
    ids->count += count;
    return CN_OK;
}

void cn_ids_free(struct cn_ids *ids)
{
    free(ids->item);
    *ids = (struct cn_ids){0};
}
