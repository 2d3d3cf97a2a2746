/* What the decode engine allocates once: activations, rotations, scratch of each thread. */
#include "forward.h"

#include <math.h>

static const size_t SMALL_WEIGHTS = (size_t)8 << 20; /* bytes: a part of any shared cache */

static enum cn_status fill_rotations(struct machine *m, size_t context)
{
    const size_t half = m->shape->head_dim / 2;
    float *frequency;
    CN_TRY(CN_NEW(&m->arena, half, &frequency));
    CN_TRY(CN_NEW(&m->arena, context * half, &m->cosine));
    CN_TRY(CN_NEW(&m->arena, context * half, &m->sine));
    shape_rope_frequencies(m->shape, frequency);
    for (size_t p = 0; p < context; p++)
        for (size_t i = 0; i < half; i++) {
            float angle = (float)p * frequency[i];
            m->cosine[p * half + i] = (float)cos((double)angle);
            m->sine[p * half + i] = (float)sin((double)angle);
        }
    return CN_OK;
}

static enum cn_status allocate_scratch(struct machine *m)
{
    const struct model_shape *s = m->shape;
    const size_t group = s->heads / s->kv_heads, queries = kernel_heads(group, s->kv_heads) * group;
    const size_t floats = kernel_attention_scratch(ATTENTION_CHUNK, queries, m->head_unit);
    m->attention_at = kernel_round_up(FEW_ROWS_MAX * s->hidden * sizeof(float), 64);
    m->packed_at = m->attention_at + kernel_round_up(floats * sizeof(float), 64);
    m->scratch_bytes =
        m->packed_at + kernel_round_up(kernel_pack_bytes(FEW_ROWS_MAX, s->hidden), 64);
    return cn_arena_alloc(&m->arena, pool_size(m->pool) * m->scratch_bytes, 1, &m->scratch);
}

enum cn_status machine_open(struct machine *m, size_t context)
{
    const struct model_shape *s = m->shape;
    const size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const size_t widest = q > s->hidden ? q : s->hidden;
    cn_arena_init(&m->arena);
    m->head_rows = HEAD_ROWS;
    m->small = shape_parameters(s) * (m->bf16 ? 2 : sizeof(float)) <= SMALL_WEIGHTS;
    CN_TRY(fill_rotations(m, context));
    CN_TRY(CN_NEW(&m->arena, PASS_ROWS * s->hidden, &m->x));
    CN_TRY(CN_NEW(&m->arena, PASS_ROWS * s->hidden, &m->normed));
    CN_TRY(CN_NEW(&m->arena, PASS_ROWS * (q + 2 * kv), &m->qkv));
    CN_TRY(CN_NEW(&m->arena, PASS_ROWS * q, &m->attended));
    CN_TRY(CN_NEW(&m->arena, PASS_ROWS * s->intermediate, &m->gate));
    CN_TRY(CN_NEW(&m->arena, PASS_ROWS * s->intermediate, &m->up));
    CN_TRY(CN_NEW(&m->arena, HEAD_ROWS * s->vocab, &m->logits));
    CN_TRY(CN_NEW(&m->arena, pool_size(m->pool) * s->layers, &m->next_item));
    CN_TRY(cn_arena_alloc(&m->arena, kernel_pack_bytes(PASS_ROWS, widest), 1, &m->packed));
    CN_TRY(cn_arena_alloc(&m->arena, kernel_pack_bytes(PASS_ROWS, s->intermediate), 1,
                          &m->packed_gate));
    return allocate_scratch(m);
}
