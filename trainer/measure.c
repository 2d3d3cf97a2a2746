/* Numbers of a finished step. */
#include "measure.h"

#include "carnot/json.h"

#include <math.h>
#include <stdio.h>

static bool counted(const struct cn_batch *batch, size_t s)
{
    return batch->part[s] == CN_PART_MAIN;
}

static size_t policy_tokens(const struct cn_batch *batch, size_t s)
{
    size_t n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        n += batch->role[t] == CN_ROLE_POLICY;
    return n;
}

static enum cn_status measure_sequence(const struct cn_batch *b, size_t s, struct cn_metrics *m)
{
    char name[64];
    double length = (double)policy_tokens(b, s);
    CN_TRY(cn_metrics_mean(m, "response/len_mean", length));
    CN_TRY(cn_metrics_max(m, "response/len_max", length));
    CN_TRY(cn_metrics_mean(m, "response/clip_ratio", b->stop[s] == CN_STOP_LENGTH));
    snprintf(name, sizeof name, "verdict/%s", cn_verdict_name(b->verdict[s]));
    CN_TRY(cn_metrics_sum(m, name, 1));
    if (b->drop[s]) {
        snprintf(name, sizeof name, "drop/%s", cn_drop_name(b->drop[s]));
        CN_TRY(cn_metrics_sum(m, name, 1));
    }
    if (b->drop[s] == CN_DROP_UNSCORED) return CN_OK;
    CN_TRY(cn_metrics_mean(m, "reward/mean", b->reward[s]));
    return cn_metrics_mean(m, "reward/score", b->score[s]);
}

enum cn_status measure_rewards(const struct cn_batch *b, struct cn_metrics *m)
{
    struct cn_sum squares = {0};
    for (size_t s = 0; s < b->n_sequences; s++)
        if (counted(b, s)) CN_TRY(measure_sequence(b, s, m));
    double mean = cn_metrics_value(m, "reward/mean", 0);
    for (size_t s = 0; s < b->n_sequences; s++)
        if (counted(b, s) && b->drop[s] != CN_DROP_UNSCORED)
            cn_sum_add(&squares, (b->reward[s] - mean) * (b->reward[s] - mean));
    if (squares.count == 0) return CN_OK;
    return cn_metrics_set(m, "reward/std", sqrt(cn_sum_mean(&squares)));
}

enum cn_status measure_mismatch(const struct cn_batch *b, struct cn_metrics *m)
{
    struct cn_sum gap = {0}, kl = {0}, entropy = {0};
    double largest = 0;
    for (size_t s = 0; s < b->n_sequences; s++)
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
            /* Other parts come from other temperatures or older weights. */
            if (!counted(b, s) || !cn_batch_trained(b, s, t) || !isfinite(b->logp_old[t])) continue;
            double d = b->logp_old[t] - b->logp_sampled[t];
            cn_sum_add(&gap, fabs(d));
            cn_sum_add(&kl, expm1(d) - d);
            cn_sum_add(&entropy, b->entropy_sampled[t]);
            if (fabs(d) > largest) largest = fabs(d);
        }
    if (gap.count == 0) return CN_OK; /* no token was trained on: there is nothing to compare */
    CN_TRY(cn_metrics_merge(m, "mismatch/logprob_abs_mean", &gap));
    CN_TRY(cn_metrics_max(m, "mismatch/logprob_abs_max", largest));
    CN_TRY(cn_metrics_merge(m, "mismatch/kl", &kl));
    return cn_metrics_merge(m, "policy/entropy_sampled", &entropy);
}

enum cn_status measure_touched(const struct cn_batch *b, struct cn_metrics *m)
{
    struct cn_sum share = {0};
    for (size_t s = 0; s < b->n_sequences; s++)
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++)
            if (cn_batch_trained(b, s, t)) cn_sum_add(&share, b->touched[t] != 0);
    return share.count ? cn_metrics_merge(m, "entropy/touched_frac", &share) : CN_OK;
}

/* One array of a sequence. */
static enum cn_status dump_column(const struct cn_batch *b, size_t s, enum cn_column column,
                                  struct cn_str *out)
{
    const struct cn_column_info *info = &cn_column_table[column];
    CN_TRY(cn_str_format(out, ", \"%s\": [", info->name));
    for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
        if (t > b->seq_start[s]) CN_TRY(cn_str_add(out, ", "));
        if (info->is_double)
            CN_TRY(cn_json_real(out, ((const double *)cn_batch_column(b, column))[t], 17));
        else if (column == CN_COLUMN_token)
            CN_TRY(cn_str_format(out, "%d", (int)b->token[t]));
        else
            CN_TRY(cn_str_format(out, "%d", (int)b->role[t]));
    }
    return cn_str_add(out, "]");
}

enum cn_status measure_dump(const struct cn_batch *b, uint64_t step, struct cn_str *out)
{
    static const enum cn_column columns[] = {CN_COLUMN_role,         CN_COLUMN_token,
                                             CN_COLUMN_logp_sampled, CN_COLUMN_logp_old,
                                             CN_COLUMN_entropy_old,  CN_COLUMN_logp_ref};
    CN_TRY(cn_str_format(out, "{\"step\": %llu, \"sequences\": [", (unsigned long long)step));
    for (size_t s = 0; s < b->n_sequences; s++) {
        CN_TRY(cn_str_format(
            out, "%s{\"group\": %u, \"prompt\": %llu, \"sample\": %u, \"reward\": ", s ? ", " : "",
            b->group[s], (unsigned long long)b->prompt[s], b->sample[s]));
        CN_TRY(cn_json_real(out, b->reward[s], 17));
        CN_TRY(cn_str_add(out, ", \"score\": "));
        CN_TRY(cn_json_real(out, b->score[s], 17));
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
            if (b->written & CN_BIT(columns[c])) CN_TRY(dump_column(b, s, columns[c], out));
        CN_TRY(cn_str_add(out, "}"));
    }
    return cn_str_add(out, "]}\n");
}
