/* One row of a tabular softmax policy; see table_row.h. */
#include "table_row.h"

#include <math.h>
#include <stdlib.h>

enum cn_status table_row_init(struct table_row *row, size_t vocab)
{
    row->vocab = vocab;
    row->p = calloc(vocab, sizeof *row->p);
    row->log_p = calloc(vocab, sizeof *row->log_p);
    row->in = calloc(vocab, sizeof *row->in);
    row->rank = calloc(vocab, sizeof *row->rank);
    if (!row->p || !row->log_p || !row->in || !row->rank)
        return cn_fail(CN_ERR_MEMORY, "out of memory: a row of %zu tokens", vocab);
    return CN_OK;
}

void table_row_free(struct table_row *row)
{
    free(row->p);
    free(row->log_p);
    free(row->in);
    free(row->rank);
}

/* Larger logits first, then lower ids. */
static int by_rank(const void *left, const void *right)
{
    const struct table_rank *a = left, *b = right;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

/* Marks the most probable tokens until the mass reaches top.amount, or until there are as many as
 * wanted; without the one that reaches it if the form says so. */
static void restrict_row(struct table_row *row, const float *logits)
{
    for (size_t j = 0; j < row->vocab; j++) {
        row->rank[j] = (struct table_rank){logits[j], (int32_t)j};
        row->in[j] = false;
    }
    qsort(row->rank, row->vocab, sizeof *row->rank, by_rank);
    const bool below = row->top.form == CN_TOP_P_BELOW, mass = below || row->top.form == CN_TOP_P;
    const double want = mass ? row->top.amount : cn_top_count(&row->top, row->vocab);
    double taken = 0, sum = 0;
    row->mass = 0;
    for (size_t k = 0; k < row->vocab && (k == 0 || taken < want); k++) {
        const size_t j = (size_t)row->rank[k].id;
        if (below && taken + row->p[j] >= want) break;
        row->in[j] = true;
        row->mass += row->p[j];
        sum += row->p[j] * row->log_p[j];
        taken += mass ? row->p[j] : 1;
    }
    row->top_entropy = row->mass <= 0          ? 0
                       : row->top.renormalised ? log(row->mass) - sum / row->mass
                                               : -sum;
}

void table_row_forward(struct table_row *row, const float *logits, double temperature,
                       const struct cn_top *top)
{
    double largest = -INFINITY, sum = 0;
    row->temperature = temperature;
    row->top = *top;
    for (size_t j = 0; j < row->vocab; j++)
        largest = fmax(largest, (double)logits[j] / temperature);
    for (size_t j = 0; j < row->vocab; j++)
        sum += exp((double)logits[j] / temperature - largest);
    row->entropy = 0;
    for (size_t j = 0; j < row->vocab; j++) {
        row->log_p[j] = (double)logits[j] / temperature - largest - log(sum);
        row->p[j] = exp(row->log_p[j]);
        row->entropy -= row->p[j] * row->log_p[j];
    }
    row->top_entropy = row->entropy;
    if (top->form != CN_TOP_NONE) restrict_row(row, logits);
}

static double top_slope(const struct table_row *row, size_t j)
{
    const double p = row->p[j], log_p = row->log_p[j];
    if (row->top.form == CN_TOP_NONE) return -p * (log_p + row->entropy);
    if (row->top.renormalised)
        return row->in[j] ? -p / row->mass * (log_p - log(row->mass) + row->top_entropy) : 0;
    return p * (row->mass - row->top_entropy) - (row->in[j] ? p * (log_p + 1) : 0);
}

void table_row_backward(const struct table_row *row, const struct table_row_gradient *d,
                        float *d_logits)
{
    for (size_t j = 0; j < row->vocab; j++) {
        double g = -row->p[j] * (d->d_logp + d->d_entropy * (row->log_p[j] + row->entropy));
        if ((int32_t)j == d->target) g += d->d_logp;
        if (d->d_top != 0) g += d->d_top * top_slope(row, j);
        d_logits[j] += (float)(g / row->temperature);
    }
}
