/* Byte-pair encoding of one piece of text.
 *
 * Short pieces look for the best pair by a scan over at most SHORT_MAX ranks; long ones keep the
 * pairs in a heap, so a hostile megabyte without a break costs n log n.  Both give the same ids.
 * Pieces of up to CACHED_BYTES bytes are remembered in a direct-mapped cache of one cache line
 * each. */
#include "bpe.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_MAX = 64, CACHED_BYTES = 30, CACHED_IDS = 8, CACHE_LINES = 1 << 15 };

struct bpe_cache_line {
    uint8_t length, n_ids; /* length 0: free */
    char bytes[CACHED_BYTES];
    int32_t id[CACHED_IDS];
};

/* A symbol of a long piece: a linked list in an array. */
struct symbol {
    int32_t id;           /* VOCAB_NONE: merged into its left neighbour */
    uint32_t left, right; /* index of the neighbour; UINT32_MAX: none */
};

/* A pair that may merge: `at` is its left symbol.  Ordered by rank, then place. */
struct candidate {
    uint32_t rank, at;
    int32_t id;
};

struct bpe_scratch {
    struct vocab_merge byte_pair[256][256]; /* of two single bytes: the first look at a piece */
    struct cn_ids start;                    /* ids of the single bytes */
    struct symbol *symbol;
    size_t symbol_capacity;
    struct candidate *heap;
    size_t n_heap, heap_capacity;
};

/* Token of a byte, the unknown one if it has none; VOCAB_NONE if there is no unknown one either. */
static int32_t byte_id(const struct bpe *bpe, int byte)
{
    int32_t id = bpe->vocab->byte_id[byte];
    return id == VOCAB_NONE ? bpe->unknown : id;
}

enum cn_status bpe_open(struct bpe *bpe)
{
    bpe->cache = calloc(CACHE_LINES, sizeof *bpe->cache);
    bpe->scratch = calloc(1, sizeof *bpe->scratch);
    if (!bpe->cache || !bpe->scratch) {
        bpe_close(bpe);
        return cn_fail(CN_ERR_MEMORY, "out of memory: the tokenizer's word cache");
    }
    for (int left = 0; left < 256; left++)
        for (int right = 0; right < 256; right++)
            bpe->scratch->byte_pair[left][right] =
                vocab_merge(bpe->vocab, byte_id(bpe, left), byte_id(bpe, right));
    return CN_OK;
}

void bpe_close(struct bpe *bpe)
{
    free(bpe->cache);
    if (bpe->scratch) {
        cn_ids_free(&bpe->scratch->start);
        free(bpe->scratch->symbol);
        free(bpe->scratch->heap);
        free(bpe->scratch);
    }
    bpe->cache = NULL;
    bpe->scratch = NULL;
}

/* One id per byte.  Runs of bytes without a token become one unknown token per byte, or per run if
 * fused. */
static enum cn_status split_bytes(const struct bpe *bpe, struct cn_text piece, struct cn_ids *out)
{
    bool unknown_before = false;
    for (size_t i = 0; i < piece.length; i++) {
        int32_t id = bpe->vocab->byte_id[(unsigned char)piece.data[i]];
        bool unknown = id == VOCAB_NONE;
        if (unknown) id = bpe->unknown;
        if (!unknown || (id != VOCAB_NONE && !(unknown_before && bpe->fuse_unknown)))
            CN_TRY(cn_ids_append(out, &id, 1));
        unknown_before = unknown;
    }
    return CN_OK;
}

/* Merges the ids of scratch->start in place; returns how many are left.  There are at most
 * SHORT_MAX, one for every byte of `piece` unless bytes were unknown. */
static size_t merge_short(const struct vocab *vocab, struct bpe_scratch *scratch,
                          struct cn_text piece)
{
    struct vocab_merge merge[SHORT_MAX];
    int32_t *id = scratch->start.item;
    size_t n = scratch->start.count;
    const unsigned char *byte = (const unsigned char *)piece.data;
    bool one_each = n == piece.length;
    for (size_t i = 0; i + 1 < n; i++)
        merge[i] = one_each ? scratch->byte_pair[byte[i]][byte[i + 1]]
                            : vocab_merge(vocab, id[i], id[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (merge[i].rank < merge[best].rank) best = i;
        if (merge[best].rank == UINT32_MAX) break;
        id[best] = merge[best].id;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        memmove(merge + best, merge + best + 1, (n - best - 1) * sizeof *merge);
        if (best > 0) merge[best - 1] = vocab_merge(vocab, id[best - 1], id[best]);
        if (best + 1 < n) merge[best] = vocab_merge(vocab, id[best], id[best + 1]);
    }
    return n;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* Puts the pair (at, its right neighbour) on the heap if it merges.  The heap has room: each symbol
 * starts with one pair and each merge adds at most two. */
static void heap_push(const struct vocab *vocab, struct bpe_scratch *scratch, uint32_t at)
{
    const struct symbol *left = &scratch->symbol[at];
    if (left->right == UINT32_MAX) return;
    struct vocab_merge merge = vocab_merge(vocab, left->id, scratch->symbol[left->right].id);
    if (merge.rank == UINT32_MAX) return;
    struct candidate new = {merge.rank, at, merge.id};
    size_t hole = scratch->n_heap++;
    for (size_t up; hole > 0; hole = up) {
        up = (hole - 1) / 2;
        if (!before(&new, &scratch->heap[up])) break;
        scratch->heap[hole] = scratch->heap[up];
    }
    scratch->heap[hole] = new;
}

static struct candidate heap_pop(struct bpe_scratch *scratch)
{
    struct candidate top = scratch->heap[0], last = scratch->heap[--scratch->n_heap];
    size_t hole = 0;
    for (size_t child; (child = 2 * hole + 1) < scratch->n_heap; hole = child) {
        if (child + 1 < scratch->n_heap && before(&scratch->heap[child + 1], &scratch->heap[child]))
            child++;
        if (!before(&scratch->heap[child], &last)) break;
        scratch->heap[hole] = scratch->heap[child];
    }
    scratch->heap[hole] = last;
    return top;
}

static enum cn_status scratch_reserve(struct bpe_scratch *scratch, size_t n)
{
    if (n >= UINT32_MAX / 4)
        return cn_fail(CN_ERR_DATA, "a text of %zu bytes without a break is too long", n);
    if (n > scratch->symbol_capacity) {
        free(scratch->symbol);
        free(scratch->heap);
        scratch->symbol = malloc(n * sizeof *scratch->symbol);
        scratch->heap = malloc(3 * n * sizeof *scratch->heap);
        scratch->symbol_capacity = scratch->symbol && scratch->heap ? n : 0;
        if (!scratch->symbol_capacity)
            return cn_fail(CN_ERR_MEMORY, "out of memory: merging %zu bytes", n);
    }
    scratch->n_heap = 0;
    return CN_OK;
}

static enum cn_status merge_long(const struct vocab *vocab, struct bpe_scratch *scratch,
                                 struct cn_ids *out)
{
    size_t n = scratch->start.count;
    CN_TRY(scratch_reserve(scratch, n));
    struct symbol *symbol = scratch->symbol;
    for (uint32_t i = 0; i < n; i++)
        symbol[i] = (struct symbol){scratch->start.item[i], i ? i - 1 : UINT32_MAX,
                                    i + 1 < n ? i + 1 : UINT32_MAX};
    for (uint32_t i = 0; i < n; i++)
        heap_push(vocab, scratch, i);
    while (scratch->n_heap) {
        struct candidate best = heap_pop(scratch);
        struct symbol *left = &symbol[best.at];
        if (left->id == VOCAB_NONE || left->right == UINT32_MAX) continue;
        struct symbol *right = &symbol[left->right];
        /* The pair may have changed since it was pushed. */
        if (vocab_merge(vocab, left->id, right->id).id != best.id) continue;
        left->id = best.id;
        left->right = right->right;
        right->id = VOCAB_NONE;
        if (left->right != UINT32_MAX) symbol[left->right].left = best.at;
        heap_push(vocab, scratch, best.at);
        if (left->left != UINT32_MAX) heap_push(vocab, scratch, left->left);
    }
    for (uint32_t i = 0; i != UINT32_MAX; i = symbol[i].right)
        CN_TRY(cn_ids_append(out, &symbol[i].id, 1));
    return CN_OK;
}

static enum cn_status merge_piece(struct bpe *bpe, struct cn_text piece, struct cn_ids *out)
{
    if (bpe->ignore_merges) {
        int32_t whole = vocab_find(bpe->vocab, piece);
        if (whole != VOCAB_NONE) return cn_ids_append(out, &whole, 1);
    }
    struct cn_ids *start = &bpe->scratch->start;
    start->count = 0;
    CN_TRY(split_bytes(bpe, piece, start));
    if (start->count == 0) return CN_OK;
    if (start->count > SHORT_MAX) return merge_long(bpe->vocab, bpe->scratch, out);
    return cn_ids_append(out, start->item, merge_short(bpe->vocab, bpe->scratch, piece));
}

enum cn_status bpe_piece(struct bpe *bpe, struct cn_text piece, struct cn_ids *out)
{
    if (piece.length == 0) return CN_OK;
    if (piece.length > CACHED_BYTES) return merge_piece(bpe, piece, out);
    uint64_t hash = vocab_hash(piece.data, piece.length);
    struct bpe_cache_line *line = &bpe->cache[hash % CACHE_LINES];
    if (line->length == piece.length && memcmp(line->bytes, piece.data, piece.length) == 0)
        return cn_ids_append(out, line->id, line->n_ids);
    size_t before = out->count;
    CN_TRY(merge_piece(bpe, piece, out));
    size_t made = out->count - before;
    if (made <= CACHED_IDS) {
        line->length = (uint8_t)piece.length;
        line->n_ids = (uint8_t)made;
        memcpy(line->bytes, piece.data, piece.length);
        if (made) memcpy(line->id, out->item + before, made * sizeof *line->id);
    }
    return CN_OK;
}
