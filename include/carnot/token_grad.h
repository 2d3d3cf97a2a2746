/* Live channels: what the model gives an algorithm per token, and what it takes back.
 *
 * If the loss depends on the weights only through these, the chain rule gives
 *     dL/dtheta = sum over t and channels of d_channel[t] * d channel[t] / dtheta,
 * so the model back-propagates that weighted sum.  C never sees a graph, C++ never sees an
 * algorithm. */
#ifndef CARNOT_TOKEN_GRAD_H
#define CARNOT_TOKEN_GRAD_H

#include "carnot/batch.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CN_LIVE(X)                                                                                 \
    X(logp, "log pi(token[t] | earlier), nats")                                                    \
    X(entropy, "entropy of the full distribution, nats")                                           \
    X(entropy_top, "entropy of a restricted, renormalised or partial, distribution, nats")         \
    X(value, "critic's estimate, reward units")

enum cn_channel {
#define X(name, text) CN_CHANNEL_##name,
    CN_LIVE(X)
#undef X
        CN_CHANNEL_COUNT
};

/* A set of channels: CN_LIVE_BIT(entropy) | ... */
#define CN_LIVE_BIT(channel) (1u << CN_CHANNEL_##channel)

extern const char *const cn_channel_name[CN_CHANNEL_COUNT];

/* Arrays over the tokens of the WHOLE batch (T), so that one index serves every stage; an atom
 * fills its own part. NULL if nobody needs the channel.  Entries of tokens that have no predecessor
 * are 0. */
struct cn_live {
#define X(name, text) const double *name;
    CN_LIVE(X)
#undef X
};

/* dL/dchannel per token, same indexing; NULL where the live channel is.  `loss` is the sum of what
 * was added. */
struct cn_token_grad {
    double loss;
#define X(name, text) double *d_##name;
    CN_LIVE(X)
#undef X
};

#ifdef __cplusplus
}
#endif
#endif
