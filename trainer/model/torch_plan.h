/* How an atom is packed: which tokens are computed, where their rows are, and which rows predict
 * which tokens.
 *
 *   sequences of one group   P P P a b | P P P c d e           prompt P P P is the same
 *   packed rows              P P P | a | c d                   computed once; last tokens predict
 *                                                              nothing
 *   segments                 [prompt] [a -> prompt] [c d -> prompt]
 *   head rows                last P (predicts a and c), a (b), c (d), d (e) */
#ifndef CARNOT_MODEL_TORCH_PLAN_H
#define CARNOT_MODEL_TORCH_PLAN_H

#include "carnot/model.h"
#include "kernels/kernels.h"

#include <vector>

struct plan_item {
    int32_t target; /* token id that is predicted */
    size_t token;   /* its index in the batch */
};

struct torch_plan {
    size_t rows = 0; /* computed tokens */
    size_t padded =
        0; /* rows, rounded up to 8: MKL's bits of a row then do not depend on the number of rows */
    std::vector<int32_t> ids, position; /* (padded); padding has id -1 */
    std::vector<kernel_segment>
        segments;       /* a prompt comes just before the segments that continue it */
    size_t pool = 0;    /* floats of the attention gradient pool, for key heads x head_dim = 1 */
    size_t longest = 0; /* most keys that one segment sees */
    std::vector<int32_t> head_row;  /* packed row of each head row, ascending */
    std::vector<size_t> item_start; /* (head rows + 1) cuts `items` */
    std::vector<plan_item> items;
    size_t token_begin = 0, token_end = 0; /* of the batch */
};

/* Plans the sequences [begin, end) of the atom.  Throws torch_failure: CN_ERR_MODEL for an id
 * outside the vocabulary or a sequence longer than the context. */
torch_plan torch_plan_atom(const cn_atom &atom, const struct cn_model_info &info, size_t kv_width);

/* Plans plain sequences for their logits: of every position, or of the last. */
torch_plan torch_plan_rows(const int32_t *ids, const size_t *start, size_t n, bool all,
                           const struct cn_model_info &info);

#endif
