/* Numbers of a finished step: rewards, lengths, verdicts, and how far the sampler is from the
 * trainer. */
#ifndef CARNOT_MEASURE_H
#define CARNOT_MEASURE_H

#include "carnot/batch.h"
#include "carnot/metrics.h"

/* After REWARD: reward/mean, reward/std, reward/score, response/len_mean, response/len_max,
 * response/clip_ratio, verdict/<name>, drop/<name>.  Main part only. */
enum cn_status measure_rewards(const struct cn_batch *batch, struct cn_metrics *metrics);

/* After the update: mismatch/logprob_abs_mean, mismatch/logprob_abs_max, mismatch/kl (k3 of sampler
 * to trainer) over the policy tokens whose logp_old is known, and policy/entropy if the loss did
 * not report it. */
enum cn_status measure_mismatch(const struct cn_batch *batch, struct cn_metrics *metrics);

/* After the update, if entropy methods act: entropy/touched_frac, the share of the trained tokens
 * that at least one of them touched. */
enum cn_status measure_touched(const struct cn_batch *batch, struct cn_metrics *metrics);

/* The batch as one object that `carnot gradient` reads: what is saved when a step was not finite.
 */
struct cn_str;
enum cn_status measure_dump(const struct cn_batch *batch, uint64_t step, struct cn_str *out);

#endif
