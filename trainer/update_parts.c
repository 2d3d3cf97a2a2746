/* How a batch is cut: mini-batches, and atoms within them. */
#include "update.h"

/* Prompt tokens at the start of a sequence. */
static size_t prompt_length(const struct cn_batch *batch, size_t s)
{
    size_t t = batch->seq_start[s];
    while (t < batch->seq_start[s + 1] && batch->role[t] == CN_ROLE_PROMPT)
        t++;
    return t - batch->seq_start[s];
}

enum cn_status update_atoms(const struct cn_batch *batch, struct cn_span span, size_t atom_tokens,
                            struct cn_arena *arena, struct cn_spans *out)
{
    struct cn_span *atoms;
    CN_TRY(CN_NEW(arena, span.end - span.begin, &atoms));
    size_t used = 0, n = 0;
    for (size_t s = span.begin; s < span.end;) {
        size_t end = s, tokens = 0;
        for (; end < span.end && batch->group[end] == batch->group[s]; end++) {
            size_t length = batch->seq_start[end + 1] - batch->seq_start[end];
            size_t own = end > s ? length - prompt_length(batch, end) : length;
            if (tokens + own > atom_tokens && end > s) break;
            tokens += own;
        }
        if (n && used + tokens <= atom_tokens) {
            atoms[n - 1].end = end;
            used += tokens;
        } else {
            atoms[n++] = (struct cn_span){s, end};
            used = tokens;
        }
        s = end;
    }
    *out = (struct cn_spans){atoms, n};
    return CN_OK;
}

/* Sequence before which `wanted` trained ones stand. */
static size_t cut_after(const struct cn_batch *batch, size_t wanted)
{
    size_t s = 0, trained = 0;
    while (s < batch->n_sequences && trained < wanted)
        trained += batch->drop[s++] == CN_DROP_NONE;
    return s;
}

struct cn_span update_part(const struct cn_batch *batch, size_t part, size_t parts)
{
    size_t trained = 0;
    for (size_t s = 0; s < batch->n_sequences; s++)
        trained += batch->drop[s] == CN_DROP_NONE;
    const struct cn_span span = {
        cut_after(batch, trained * part / parts),
        part + 1 == parts ? batch->n_sequences : cut_after(batch, trained * (part + 1) / parts)};
    return span;
}
