/* One pass of rows through the layers, all threads together.
 *
 *     norm | q k v | rotate, keep, attend | o, add | norm | gate up, gated | down, add
 *
 * and "|" is a barrier.
 *
 * Products are split by outputs, norms by rows, attention by (key head, rows).  Since kernels give
 * a row the same bits in any company, the split is free.
 *
 * Many rows of a small model are shared out instead: a thread takes its rows through all layers and
 * meets nobody (in a prompt: once a layer, when keys are stored), and their activations, keys and
 * values stay in its core's cache.  It reads all the weights for that, so they must fit the cache
 * that cores share. */
#include "forward.h"

#include <math.h>
#include <string.h>

/* This thread's part of a pass. */
struct worker {
    struct pass *pass;
    struct machine *m;
    size_t thread, threads;
    float *normed; /* (FEW_ROWS_MAX, hidden) */
    float *attention_scratch;
    void *own_packed; /* (FEW_ROWS_MAX, hidden) */
};

static const size_t SHARED_ROWS_LEAST = 8; /* of each thread */

static void worker_init(struct worker *w, struct pass *pass, size_t thread)
{
    struct machine *m = pass->machine;
    char *scratch = m->scratch + thread * m->scratch_bytes;
    *w = (struct worker){.pass = pass, .m = m, .thread = thread, .threads = pool_size(m->pool)};
    w->normed = (float *)(void *)scratch;
    w->attention_scratch = (float *)(void *)(scratch + m->attention_at);
    w->own_packed = scratch + m->packed_at;
}

static void pack_rectangle(const struct machine *m, const struct kernel_pack *pack)
{
    if (m->bf16)
        m->kernels->pack_bf16(pack);
    else
        m->kernels->pack(pack);
}

/* Norm of rows first .. first + n of x, packed as a product's input; returns where. */
static const void *normalise(const struct worker *w, const float *weight, size_t first, size_t n)
{
    const struct machine *m = w->m;
    const size_t hidden = m->shape->hidden;
    bool few = n <= FEW_ROWS_MAX; /* every thread for itself */
    float *normed = few ? w->normed : m->normed;
    struct kernel_pack pack = {.in = normed,
                               .stride = hidden,
                               .rows = n,
                               .k = hidden,
                               .row_end = n,
                               .out = few ? w->own_packed : m->packed,
                               .column_end = hidden};
    if (!few) pool_split(n, w->thread, w->threads, &pack.row, &pack.row_end);
    for (size_t r = pack.row; r < pack.row_end; r++)
        m->kernels->norm(m->x + (first + r) * hidden, weight, hidden, (float)m->shape->rms_eps,
                         normed + r * hidden);
    pack_rectangle(m, &pack);
    if (!few) pool_barrier(m->pool);
    return pack.out;
}

/* The products of a layer in order; HEAD follows the last layer. */
enum step { STEP_QKV, STEP_O, STEP_GATE, STEP_UP, STEP_DOWN, STEP_HEAD };

/* One matrix as a part of a product. */
static struct kernel_part part_of(const struct worker *w, int layer, enum tensor_role role,
                                  enum tensor_role bias, size_t n)
{
    const struct weights *from = &w->m->weights;
    const float *add = bias == TENSOR_ROLE_COUNT ? NULL : weights_get(from, layer, bias);
    return (struct kernel_part){
        .weights = weights_get(from, layer, role), .bias = add, .n = n, .stride = n};
}

/* Fills parts (3) with the matrices of a step and where their results go; returns the product
 * without its input. */
static struct kernel_product plan(const struct worker *w, enum step step, int layer,
                                  struct kernel_part *parts)
{
    const struct machine *m = w->m;
    const struct model_shape *s = m->shape;
    const size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    struct kernel_product product = {
        .rows = w->pass->n, .k = s->hidden, .parts = parts, .n_parts = 1};
    switch (step) {
    case STEP_QKV:
        parts[0] = part_of(w, layer, TENSOR_Q, TENSOR_Q_BIAS, q);
        parts[1] = part_of(w, layer, TENSOR_K, TENSOR_K_BIAS, kv);
        parts[2] = part_of(w, layer, TENSOR_V, TENSOR_V_BIAS, kv);
        parts[0].out = m->qkv;
        parts[1].out = m->qkv + q;
        parts[2].out = m->qkv + q + kv;
        parts[0].stride = parts[1].stride = parts[2].stride = q + 2 * kv;
        product.n_parts = 3;
        break;
    case STEP_GATE:
        parts[0] = part_of(w, layer, TENSOR_GATE, TENSOR_ROLE_COUNT, s->intermediate);
        parts[0].out = m->gate;
        break;
    case STEP_UP:
        parts[0] = part_of(w, layer, TENSOR_UP, TENSOR_ROLE_COUNT, s->intermediate);
        parts[0].out = m->up;
        break;
    case STEP_O:
    case STEP_DOWN:
        parts[0] = step == STEP_O ? part_of(w, layer, TENSOR_O, TENSOR_O_BIAS, s->hidden)
                                  : part_of(w, layer, TENSOR_DOWN, TENSOR_ROLE_COUNT, s->hidden);
        parts[0].out = m->x;
        parts[0].add = true; /* to the residual stream */
        product.k = step == STEP_O ? q : s->intermediate;
        break;
    case STEP_HEAD:
        parts[0] = (struct kernel_part){.weights = weights_head(&m->weights),
                                        .n = s->vocab,
                                        .out = m->logits,
                                        .stride = s->vocab};
    }
    return product;
}

/* This thread's column blocks of a product. */
static void share_of(const struct worker *w, const struct kernel_product *product, size_t *begin,
                     size_t *end)
{
    size_t blocks = 0;
    for (size_t i = 0; i < product->n_parts; i++)
        blocks += kernel_blocks(product->parts[i].n);
    pool_split(blocks, w->thread, w->threads, begin, end);
}

/* Where this thread's weights of a step begin. */
static const void *first_weights(const struct worker *w, enum step step, int layer)
{
    struct kernel_part parts[3];
    struct kernel_product product = plan(w, step, layer, parts);
    size_t begin, end, i = 0;
    share_of(w, &product, &begin, &end);
    for (; i + 1 < product.n_parts && begin >= kernel_blocks(parts[i].n); i++)
        begin -= kernel_blocks(parts[i].n);
    size_t row =
        w->m->bf16 ? kernel_depth(product.k) * sizeof(uint16_t) : product.k * sizeof(float);
    return (const char *)parts[i].weights + begin * KERNEL_COLUMNS * row;
}

/* This thread's outputs of a step; meanwhile its weights of the next step are asked for, so that
 * memory is not idle while threads meet. */
static void multiply(const struct worker *w, enum step step, int layer, const void *input,
                     size_t rows)
{
    const struct machine *m = w->m;
    struct kernel_part parts[3];
    struct kernel_product product = plan(w, step, layer, parts);
    size_t begin, end;
    share_of(w, &product, &begin, &end);
    product.input = input;
    product.rows = rows;
    if (step < STEP_DOWN)
        product.then = first_weights(w, (enum step)(step + 1), layer);
    else if (step == STEP_DOWN && layer + 1 < (int)m->shape->layers)
        product.then = first_weights(w, STEP_QKV, layer + 1);
    else if (step == STEP_DOWN)
        product.then = first_weights(w, STEP_HEAD, -1);
    if (m->bf16)
        m->kernels->product_bf16(&product, begin, end);
    else
        m->kernels->product(&product, begin, end);
}

/* Bytes of one head's keys and values in a block, and where the head of a layer begins in it. */
static size_t head_bytes(const struct machine *m)
{
    return 2 * KERNEL_TOKENS * m->head_unit * (m->bf16 ? 2 : sizeof(float));
}

static char *head_place(const struct machine *m, size_t layer, size_t kv_head, uint32_t block)
{
    return m->cache.memory + block * m->cache.block_bytes +
           (layer * m->shape->kv_heads + kv_head) * head_bytes(m);
}

/* Turns queries and keys of a piece and stores keys and values. */
static void keep_piece(const struct worker *w, int layer, const struct kernel_piece *piece)
{
    const struct machine *m = w->m;
    const struct model_shape *s = m->shape;
    const size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const size_t group = s->heads / s->kv_heads, heads = piece->kv_head_end - piece->kv_head;
    for (size_t r = piece->row; r < piece->row_end; r++) {
        size_t position = w->pass->rows[r].position;
        float *base = m->qkv + r * (q + 2 * kv), *key = base + q + piece->kv_head * s->head_dim;
        struct kernel_rotate rotate = {.x = base + piece->kv_head * group * s->head_dim,
                                       .heads = heads * group,
                                       .head_dim = s->head_dim,
                                       .eps = (float)s->rms_eps,
                                       .norm = weights_get(&m->weights, layer, TENSOR_Q_NORM),
                                       .cosine = m->cosine + position * (s->head_dim / 2),
                                       .sine = m->sine + position * (s->head_dim / 2)};
        m->kernels->rotate(&rotate);
        rotate.x = key;
        rotate.heads = heads;
        rotate.norm = weights_get(&m->weights, layer, TENSOR_K_NORM);
        m->kernels->rotate(&rotate);
        uint32_t block = w->pass->table[r][position / KERNEL_TOKENS];
        char *place = head_place(m, (size_t)layer, piece->kv_head, block);
        for (size_t h = 0; h < heads; h++, key += s->head_dim, place += head_bytes(m))
            m->kernels->keep(&(struct kernel_keep){.key = key,
                                                   .value = key + kv,
                                                   .key_block = place,
                                                   .value_block = place + head_bytes(m) / 2,
                                                   .at = position % KERNEL_TOKENS,
                                                   .head_dim = s->head_dim,
                                                   .head_unit = m->head_unit,
                                                   .bf16 = m->bf16});
    }
}

static void attend_piece(const struct worker *w, int layer, const struct kernel_piece *piece)
{
    const struct machine *m = w->m;
    const struct model_shape *s = m->shape;
    const size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const size_t group = s->heads / s->kv_heads;
    struct kernel_attention attention = {.q = m->qkv,
                                         .q_stride = q + 2 * kv,
                                         .out = m->attended,
                                         .out_stride = q,
                                         .group = group,
                                         .head_dim = s->head_dim,
                                         .head_unit = m->head_unit,
                                         .scale = (float)(1 / sqrt((double)s->head_dim)),
                                         .bf16 = m->bf16,
                                         .cache = head_place(m, (size_t)layer, 0, 0),
                                         .block_bytes = m->cache.block_bytes,
                                         .head_bytes = head_bytes(m),
                                         .table = w->pass->table,
                                         .length = w->pass->length};
    m->kernels->attention(&attention, piece, w->attention_scratch);
    struct kernel_pack pack = {.in = m->attended,
                               .stride = q,
                               .out = m->packed,
                               .rows = w->pass->n,
                               .k = q,
                               .row = piece->row,
                               .row_end = piece->row_end,
                               .column = piece->kv_head * group * s->head_dim,
                               .column_end = piece->kv_head_end * group * s->head_dim};
    pack_rectangle(m, &pack);
}

/* Pieces of attention into which the key heads of a row are divided. */
static size_t stacks_of(const struct model_shape *s)
{
    const size_t heads = kernel_heads(s->heads / s->kv_heads, s->kv_heads);
    return (s->kv_heads + heads - 1) / heads;
}

/* Rotation, cache and attention of a layer, in pieces (key heads, rows) that threads take as they
 * come. */
static void attend(const struct worker *w, int layer, bool wanted)
{
    const struct pass *pass = w->pass;
    const struct machine *m = w->m;
    const size_t kv_heads = m->shape->kv_heads, stacks = stacks_of(m->shape);
    const size_t pieces = stacks * ((pass->n + pass->chunk - 1) / pass->chunk);
    if (!pass->distinct || !wanted) { /* rows see each other's keys: all are stored first */
        struct kernel_piece own = {.kv_head_end = kv_heads};
        pool_split(pass->n, w->thread, w->threads, &own.row, &own.row_end);
        keep_piece(w, layer, &own);
        pool_barrier(m->meet);
        if (!wanted) return;
    }
    for (;;) {
        size_t i = atomic_fetch_add(&m->next_item[layer], 1);
        if (i >= pieces) break;
        struct kernel_piece piece;
        pool_split(kv_heads, i % stacks, stacks, &piece.kv_head, &piece.kv_head_end);
        piece.row = i / stacks * pass->chunk;
        piece.row_end = piece.row + pass->chunk < pass->n ? piece.row + pass->chunk : pass->n;
        if (pass->distinct) keep_piece(w, layer, &piece);
        attend_piece(w, layer, &piece);
    }
    pool_barrier(m->pool);
}

/* Gate and up projections of this thread's columns, joined and packed for the down projection. */
static void project_gate(const struct worker *w, int layer, const void *input)
{
    const struct machine *m = w->m;
    const size_t n = w->pass->n, width = m->shape->intermediate;
    multiply(w, STEP_GATE, layer, input, n);
    multiply(w, STEP_UP, layer, input, n);
    size_t begin, end;
    pool_split(kernel_blocks(width), w->thread, w->threads, &begin, &end);
    begin *= KERNEL_COLUMNS;
    end = end * KERNEL_COLUMNS < width ? end * KERNEL_COLUMNS : width;
    if (begin >= end) return;
    for (size_t r = 0; r < n; r++)
        m->kernels->gated(m->gate + r * width + begin, m->up + r * width + begin, end - begin);
    pack_rectangle(m, &(struct kernel_pack){.in = m->gate,
                                            .stride = width,
                                            .out = m->packed_gate,
                                            .rows = n,
                                            .k = width,
                                            .row = 0,
                                            .row_end = n,
                                            .column = begin,
                                            .column_end = end});
}

/* Logits of all rows, some at a time, and what the caller does with them. */
static void head(const struct worker *w)
{
    const struct pass *pass = w->pass;
    const struct machine *m = w->m;
    const size_t vocab = m->shape->vocab;
    for (size_t first = 0; first < pass->n; first += m->head_rows) {
        size_t n = pass->n - first < m->head_rows ? pass->n - first : m->head_rows;
        const void *input = normalise(w, weights_get(&m->weights, -1, TENSOR_FINAL_NORM), first, n);
        multiply(w, STEP_HEAD, -1, input, n);
        pool_barrier(m->pool);
        size_t begin, end;
        pool_split(n, w->thread, w->threads, &begin, &end);
        for (size_t r = begin; r < end; r++)
            pass->sink(pass, first + r, m->logits + r * vocab, pass->context);
        if (first + n < pass->n) pool_barrier(m->pool);
    }
}

static void forward_share(void *context, size_t thread)
{
    struct worker worker, *w = &worker;
    worker_init(w, context, thread);
    const struct pass *pass = w->pass;
    const struct machine *m = w->m;
    const struct weights *from = &m->weights;
    size_t begin, end;
    pool_split(pass->n, thread, w->threads, &begin, &end);
    for (size_t r = begin; r < end; r++)
        weights_embed(from, pass->rows[r].token, m->x + r * m->shape->hidden);
    pool_barrier(m->pool);
    const int layers = (int)m->shape->layers;
    for (int layer = 0; layer < layers; layer++) {
        bool wanted = layer + 1 < layers || pass->sink;
        const void *input = normalise(w, weights_get(from, layer, TENSOR_INPUT_NORM), 0, pass->n);
        multiply(w, STEP_QKV, layer, input, pass->n);
        pool_barrier(m->pool);
        attend(w, layer, wanted);
        if (!wanted)
            return; /* the last layer's keys and values are stored: nobody reads the rest */
        multiply(w, STEP_O, layer, m->packed, pass->n);
        pool_barrier(m->pool);
        project_gate(w, layer,
                     normalise(w, weights_get(from, layer, TENSOR_POST_NORM), 0, pass->n));
        pool_barrier(m->pool);
        multiply(w, STEP_DOWN, layer, m->packed_gate, pass->n);
        pool_barrier(m->pool);
    }
    head(w);
}

/* Where the rows' keys and values lie, and the pieces of attention among `threads`. */
static void prepare(struct pass *pass, size_t threads)
{
    struct machine *m = pass->machine;
    for (size_t r = 0; r < pass->n; r++) {
        pass->table[r] = cache_table(&m->cache, pass->rows[r].slot);
        pass->length[r] = pass->rows[r].position + 1;
    }
    for (size_t i = 0; i < m->shape->layers; i++)
        atomic_store(&m->next_item[i], 0);
    pass->chunk = ATTENTION_CHUNK;
    while (pass->chunk > 1 && stacks_of(m->shape) * (pass->n / pass->chunk) < 3 * threads)
        pass->chunk /= 2;
}

/* Rows of a buffer that a thread has if rows are shared out. */
static size_t slice_rows(size_t n, size_t threads)
{
    return kernel_round_up((n + threads - 1) / threads, KERNEL_ROW_UNIT);
}

static bool shares_rows(const struct pass *pass)
{
    const struct machine *m = pass->machine;
    const size_t threads = pool_size(m->pool);
    return threads > 1 && m->small && pass->n >= SHARED_ROWS_LEAST * threads &&
           threads * slice_rows(pass->n, threads) <= PASS_ROWS;
}

/* The machine as one thread of several sees it: buffers of its own, and a pool of itself but where
 * rows see each other's keys. */
static struct machine slice_of(const struct machine *m, size_t first, size_t thread)
{
    const struct model_shape *s = m->shape;
    const size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const size_t widest = q > s->hidden ? q : s->hidden;
    struct machine own = *m;
    own.pool = m->alone;
    own.head_rows = m->head_rows / pool_size(m->pool);
    own.x += first * s->hidden;
    own.normed += first * s->hidden;
    own.qkv += first * (q + 2 * kv);
    own.attended += first * q;
    own.gate += first * s->intermediate;
    own.up += first * s->intermediate;
    own.packed = (char *)own.packed + kernel_pack_bytes(first, widest);
    own.packed_gate = (char *)own.packed_gate + kernel_pack_bytes(first, s->intermediate);
    own.logits += thread * own.head_rows * s->vocab;
    own.scratch += thread * own.scratch_bytes;
    own.next_item += thread * s->layers;
    return own;
}

static void forward_rows(void *context, size_t thread)
{
    const struct pass *whole = context;
    const size_t threads = pool_size(whole->machine->pool);
    struct machine own = slice_of(whole->machine, thread * slice_rows(whole->n, threads), thread);
    struct pass part = {.machine = &own,
                        .distinct = whole->distinct,
                        .sink = whole->sink,
                        .context = whole->context};
    size_t begin, end;
    pool_split(whole->n, thread, threads, &begin, &end);
    part.rows = whole->rows + begin;
    part.n = end - begin;
    prepare(&part, 1);
    forward_share(&part, 0);
}

void forward_run(struct pass *pass)
{
    struct pool *pool = pass->machine->pool;
    if (shares_rows(pass)) {
        pool_run(pool, forward_rows, pass);
    } else {
        prepare(pass, pool_size(pool));
        pool_run(pool, forward_share, pass);
    }
}
