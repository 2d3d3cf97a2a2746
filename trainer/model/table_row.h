/* One row of a tabular softmax policy in double: statistics, channels and their exact gradients.
 * The formulas and their source stand in kernels/head_body.h; this is the plain form of the same.
 */
#ifndef CARNOT_MODEL_TABLE_ROW_H
#define CARNOT_MODEL_TABLE_ROW_H

#include "carnot/entropy.h"

struct table_rank {
    float logit;
    int32_t id;
};

/* Work space of one row; what forward leaves is what backward reads. */
struct table_row {
    size_t vocab;
    double *p, *log_p;       /* (vocab) of softmax(logits / temperature) */
    bool *in;                /* (vocab): member of the restricted set */
    struct table_rank *rank; /* (vocab) */
    double temperature, entropy;
    double mass,
        top_entropy; /* of the restricted set; top_entropy is entropy if there is no restriction */
    struct cn_top top;
};

/* Allocates for `vocab` tokens.  Fails: CN_ERR_MEMORY; table_row_free is then still allowed. */
enum cn_status table_row_init(struct table_row *row, size_t vocab);
void table_row_free(struct table_row *row);

void table_row_forward(struct table_row *row, const float *logits, double temperature,
                       const struct cn_top *top);

/* dL/dchannel of one token of the row. */
struct table_row_gradient {
    int32_t target;
    double d_logp, d_entropy, d_top;
};

/* d_logits (vocab) += what the last forward's row passes back. */
void table_row_backward(const struct table_row *row, const struct table_row_gradient *d,
                        float *d_logits);

#endif
