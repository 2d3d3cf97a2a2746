/* The term that all bonuses share: an entropy channel, aggregated as the policy loss is. */
#ifndef CARNOT_ENTROPY_TERM_H
#define CARNOT_ENTROPY_TERM_H

#include "carnot/entropy.h"

struct entropy_term {
    const struct cn_batch *batch;
    struct cn_span atom;
    const double *weight;  /* the aggregation's c (T) */
    double coefficient;    /* reward per nat */
    const double *channel; /* (T) nats */
    double *d_channel;     /* (T) */
};

/* Subtracts coefficient c_t from d_channel_t of every trained token of the atom; returns what is
 * added to the loss, -coefficient sum c_t channel_t. */
static inline double entropy_term_add(const struct entropy_term *term)
{
    double loss = 0;
    for (size_t s = term->atom.begin; s < term->atom.end; s++)
        for (size_t t = term->batch->seq_start[s]; t < term->batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(term->batch, s, t)) continue;
            double weight = term->coefficient * term->weight[t];
            loss -= weight * term->channel[t];
            term->d_channel[t] -= weight;
        }
    return loss;
}

#endif
