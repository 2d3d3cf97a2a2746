#!/usr/bin/env bash
# ctest labels: slow
# Errors planted into each axis entry and entropy method must be caught by the self-test or a test of the algorithms.
#   check_mutations.sh SOURCE BIN [NAME]
#
# Each line of the table below changes one expression of one file; the changed file is compiled and linked into a copy
# of the program, whose self-test is run family by family, and then into the tests of the algorithms.  What caught the
# error is printed.  A mutant that nothing catches, or a line that changes nothing, fails the test.
set -u
source=$1 bin=$2 only=${3:-}
build=$(dirname "$bin")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc}

# The command that links a target of the build, from ninja or from make's link.txt.
link_line() {
    if [ -f "$build/build.ninja" ] && command -v ninja >/dev/null; then
        ninja -C "$build" -t commands "bin/$1" | tail -1 | sed 's/^: && //; s/ && :$//'
    else
        cat "$build/CMakeFiles/$1.dir/link.txt" 2>/dev/null
    fi
}

# file @ name of the error @ expression @ what it becomes (both literal)
mutations() {
    cat <<'TABLE'
tokens.c @ covariance: sign @ (logp[t] - logp_mean) * @ (logp_mean - logp[t]) *
tokens.c @ covariance: advantage not centred @ (set->batch->advantage[t] - advantage_mean) @ set->batch->advantage[t]
tokens.c @ sets: parts mixed @ #include "tokens.h" @ #include "tokens.h"\n#define token_in(set, s, t) cn_batch_trained((set)->batch, s, t)
tokens.c @ sets: per atom instead of per step @ const size_t spans = @ scope = SCOPE_MICRO; const size_t spans =
tokens.c @ quota: rounding down @ floor(exact + 0.5 + slack) @ floor(exact + slack)
tokens.c @ quota: of the rank's tokens, not the set's @ const double exact = quota->fraction * tokens @ const double exact = quota->fraction * (tokens - 1)
tokens.c @ weight: added instead of multiplied @ batch->weight[t] *= factor @ batch->weight[t] += factor - 1; batch->weight[t] *= batch->weight[t]
clip_cov.c @ keeps what it should cut @ drawn ? 0 : 1 @ drawn ? 1 : 0
clip_cov.c @ candidates: lower bound missing @ settings->low < c && @
clip_cov.c @ candidates: upper bound missing @ c < settings->high && @
clip_cov.c @ candidates: stopped tokens too @ && !stopped; @ ;
clip_cov.c @ quota: all candidates @ quota_of(&settings->quota, set->tokens), @ (size_t)set->tokens,
kl_cov.c @ gradient: sign @ ((x > 0) - (x < 0)) @ ((x < 0) - (x > 0))
kl_cov.c @ gradient and loss: sign @ const double weight = settings->coefficient @ const double weight = -settings->coefficient
kl_cov.c @ aggregation missing @ settings->coefficient * context->coefficient[t] @ settings->coefficient
kl_cov.c @ coefficient missing @ settings->coefficient * context->coefficient[t] @ context->coefficient[t]
kl_cov.c @ all tokens instead of the selected @ || !(batch->touched[t] & context->bit) @
steer.c @ paper: factor p missing @ ratio * p * -expm1 @ ratio * -expm1
steer.c @ paper: ratio missing @ -a * ratio * p @ -a * p
steer.c @ paper: stopped tokens count @ && context->stopped[t]) @ \&\& false)
steer.c @ released: a factor p too many @ a / old * p * @ a / old * p * p *
steer.c @ released: present entropy @ log(p) + batch->entropy_old[t] @ log(p) + 2 * batch->entropy_old[t]
steer.c @ exp: sign @ exp(log(settings->minimum) * mu / top) @ exp(-log(settings->minimum) * mu / top)
steer.c @ exp: floor missing @ fmax(high, isnan(settings->floor) ? usual : settings->floor) @ high
steer.c @ linear: upside down @ settings->maximum - span * from_low @ settings->minimum + span * from_low
steer.c @ maximum not over the whole step @ token_sets(context, batch, span, settings->scope, &sets) @ token_sets(context, batch, span, SCOPE_MICRO, \&sets)
siren.c @ factor 2 missing @ = 2 * settings->coefficient * error @ = settings->coefficient * error
siren.c @ sign @ const double error = mean - state->anchor @ const double error = state->anchor - mean
siren.c @ answers missing in the denominator @ share = 1 / fmax(1, state->answers) @ share = 1
siren.c @ places missing in the denominator @ error * share / n @ error * share
siren.c @ quantile: the lower part @ : entropy[t] >= threshold @ : entropy[t] <= threshold
siren.c @ empty answers do not count @ cn_sum_add(&look->means, n > 0 ? sum / n : 0) @ if (n > 0) cn_sum_add(\&look->means, sum / n)
siren.c @ Hbar of the atom @ settings->scope == SIREN_MICRO ? @ true ?
siren.c @ anchor: of the first mini-batch @ cn_batch_all(batch) @ context->counts[0].span
siren.c @ nucleus: always inclusive @ s->nucleus == NUCLEUS_EXCLUSIVE ? CN_TOP_P_BELOW : CN_TOP_P @ CN_TOP_P
forking.c @ the most certain tokens @ fork ? kept : 0 @ fork ? 0 : kept
forking.c @ denominator: always the selected @ const bool all = @ const bool all = false \&\&
forking.c @ denominator: never the selected @ const bool all = @ const bool all = true ||
forking.c @ stale entropy @ values.entropy + set->begin @ batch->entropy_old + set->begin
entropy_advantage.c @ sign @ (a + psi) / a @ (a - psi) / a
entropy_advantage.c @ bound times kappa @ fabs(a) / settings->kappa @ fabs(a) * settings->kappa
entropy_advantage.c @ coefficient missing @ settings->coefficient * values.entropy[t] @ values.entropy[t]
entropy_advantage.c @ scales the penalty, not raises it @ (a + psi) / a @ (fabs(a) + psi) / fabs(a)
archer.c @ high and low exchanged @ batch->entropy_old[t] > threshold @ batch->entropy_old[t] < threshold
archer.c @ KL over all tokens @ settings->kl_low / state->low @ settings->kl_low / (state->low + state->high)
archer.c @ KL: sign @ grad->d_logp[t] += beta * k3.d_u @ grad->d_logp[t] -= beta * k3.d_u
archer.c @ narrow clip @ {1 - settings->clip, 1 + settings->clip, @ {0.8, 1.2,
archer.c @ correction missing @ context->coefficient[t] * batch->correction[t] @ context->coefficient[t]
aent.c @ the wrong share of the vocabulary @ 1 - ((const struct aent_settings *)settings)->clamp @ ((const struct aent_settings *)settings)->clamp
aent.c @ coefficient moves the wrong way @ state->coefficient - settings->rate * outside @ state->coefficient + settings->rate * outside
aent.c @ coefficient unbounded @ settings->largest) @ 1e9)
term.h @ bonus: sign @ double weight = term->coefficient * @ double weight = -term->coefficient *
term.h @ bonus: aggregation missing @ term->coefficient * term->weight[t] @ term->coefficient
term.h @ bonus: gradient half @ term->d_channel[t] -= weight @ term->d_channel[t] -= weight / 2
adaptive.c @ controller: wrong way @ e < settings->target ? settings->step : @ e < settings->target ? -settings->step :
adaptive.c @ acts above the target @ ? entropy <= settings->target @ ? entropy > settings->target
adaptive.c @ mixes parts @ batch->part[s] == CN_PART_MAIN && @
aepo.c @ wrong answers too @ batch->advantage[t] > 0, &report @ true, \&report
aepo.c @ length missing @ weight / length @ weight
aepo.c @ answers missing in the denominator @ settings->coefficient / context->counts[CN_PART_AUXILIARY].sequences @ settings->coefficient
aepo.c @ sign @ {-logp, -1} @ {logp, 1}
aepo.c @ clip: lower bound instead of upper @ {0, 1 + settings->clip, NAN} @ {1 - settings->clip, 1e9, NAN}
aepo.c @ hot above the target @ entropy < s->target ? s->high : s->low @ entropy < s->target ? s->low : s->high
aepo.c @ linear: wrong way @ 1 + s->target - entropy @ 1 - s->target + entropy
aepo.c @ trained twice: in the surrogate as well @ token_touch(context, batch, t, !own, @ token_touch(context, batch, t, 1,
cure.c @ cuts at the first token @ batch->branch_at[s] + 1 @ batch->branch_at[s]
cure.c @ not at uncertain tokens @ random || (size_t)settings->candidates > n @ true
cure.c @ stage 2 branches @ = branch ? (int64_t)s : -1 @ = (int64_t)s
cure.c @ one branch too many @ b < settings->branches; @ b <= settings->branches;
cure.c @ critical: cuts at short tokens @ (CN_TOKEN_SPECIAL | CN_TOKEN_SHORT) @ CN_TOKEN_SPECIAL
cure.c @ critical: cuts at special tokens @ (CN_TOKEN_SPECIAL | CN_TOKEN_SHORT) @ CN_TOKEN_SHORT
cure.c @ critical: any token whatever is chosen @ settings->critical == CRITICAL_LONG && @ false \&\&
cure.c @ branches as auxiliary samples @ .part = CN_PART_MAIN @ .part = CN_PART_AUXILIARY
remix.c @ bounds do not move @ const double rho = exp(fmax(-20, fmin(20, batch->logp_old[t] - batch->logp_sampled[t]))) @ const double rho = 1
remix.c @ ratio to the wrong policy @ logp - batch->logp_sampled[t]); @ logp - batch->logp_old[t]);
remix.c @ KLC: sign @ settings->kl * (lambda * base.d_u @ -settings->kl * (lambda * base.d_u
remix.c @ KLC: base and last exchanged @ lambda * base.loss + (1 - lambda) * last.loss @ lambda * last.loss + (1 - lambda) * base.loss
remix.c @ entropy: sign @ grad->d_entropy[t] -= @ grad->d_entropy[t] +=
remix.c @ entropy and loss: sign @ settings->bonus * @ -settings->bonus *
remix.c @ lambda: too early @ (double)step - 50 @ (double)step - 40
remix.c @ stale answers weigh in the surrogate too @ batch->part[s] != CN_PART_REPLAY && state @ state
remix.c @ stale answers after step T @ context->step < (uint64_t)settings->steps @ context->step < (uint64_t)settings->steps + 9
co_reward.c @ votes for itself @ settings->vote == VOTE_OWN ? part @ true ? part
co_reward.c @ nothing is right when nothing was said @ vote != 0 && batch->answer[s] == vote @ batch->answer[s] == vote
co_reward.c @ minority @ votes <= best && !earlier @ best \&\& votes >= best
co_reward.c @ rewards turned round @ batch->reward[s] = vote != 0 && batch->answer[s] == vote @ batch->reward[s] = !(vote != 0 \&\& batch->answer[s] == vote)
surrogate.c @ reinforce: sign @ {-p->advantage * p->u, -p->advantage, 0} @ {p->advantage * p->u, p->advantage, 0}
surrogate.c @ importance: ratio missing @ double loss = -p->advantage * guarded_exp(p->u) @ double loss = -p->advantage * (1 + p->u)
surrogate.c @ is_reinforce: the weight is differentiated @ return weighted_logp(p, guarded_exp(p->u_frozen), 0) @ return weighted_logp(p, guarded_exp(p->u), 0)
surrogate.c @ weighted: advantage missing in the slope @ live_logp(p), -weight * p->advantage, @ live_logp(p), -weight,
surrogate.c @ ppo: clipped on both sides whatever the advantage @ if (a > 0 && r > 1 + s->clip_high) @ if (r > 1 + s->clip_high)
surrogate.c @ ppo: lower bound ignored @ if (a < 0 && r < 1 - s->clip_low) @ if (false \&\& r < 1 - s->clip_low)
surrogate.c @ ppo: dual clip ignored @ if (a < 0 && r > s->dual_clip) @ if (false \&\& r > s->dual_clip)
surrogate.c @ ppo: clip_high is clip_low @ r > 1 + s->clip_high) slope @ r > 1 + s->clip_low) slope
surrogate.c @ cispo: the clipped token loses its gradient @ return weighted_logp(p, 1 + s->clip_high, 1) @ return weighted_logp(p, 0, 1)
surrogate.c @ sapo: factor 4 / tau missing @ -p->advantage * gate * 4 / tau @ -p->advantage * gate
surrogate.c @ sapo: the temperatures exchanged @ p->advantage > 0 ? s->tau_positive : s->tau_negative @ p->advantage > 0 ? s->tau_negative : s->tau_positive
surrogate.c @ dppo: bounds the ratio, not the probability @ p->advantage > 0 ? now - old : old - now @ p->advantage > 0 ? now / old - 1 : 1 - now / old
surrogate.c @ dppo: cap missing @ fmin(guarded_exp(p->u_frozen), s->cap) @ guarded_exp(p->u_frozen)
surrogate.c @ dppo: divergence the other way round @ return old * (p->logp_old - p->logp) @ return now * (p->logp - p->logp_old)
surrogate.c @ dro: half missing @ 0.5 * s->beta * p->u * p->u @ s->beta * p->u * p->u
surrogate.c @ vespo: exponent of the wrong sign @ p->advantage < 0 ? s->k_negative : s->k_positive @ p->advantage < 0 ? s->k_positive : s->k_negative
ratio.c @ seq_geo: a product instead of a mean @ sum_log_ratio(&run, live->logp) / (double)n : 0, u) @ sum_log_ratio(\&run, live->logp) : 0, u)
ratio.c @ seq_geo: gradient not spread @ sum_gradient(&run, d_u) / (double)n, d_logp) @ sum_gradient(\&run, d_u), d_logp)
ratio.c @ seq_geo_token: the gradient of seq_geo @ u[t] += live->logp[t] - context->frozen->logp[t] @ u[t] += 0
ratio.c @ clipped_geo: clipped on the other side @ if (advantage > 0) return fmin(x, settings->clip_high) @ if (advantage > 0) return fmax(x, -settings->clip_low)
ratio.c @ clipped_geo: clipped tokens keep their gradient @ if (pessimistic(context->settings, x, batch->advantage[t]) == x) @ if (true)
ratio.c @ sums: untrained tokens too @ return cn_batch_trained(run->batch, run->s, t) @ return run->batch->role[t] != CN_ROLE_PROMPT
aggregate.c @ token_mean: over sequences @ inverse(counts_of(context, batch, s)->tokens) @ inverse(counts_of(context, batch, s)->sequences)
aggregate.c @ seq_mean_token_mean: length missing @ ->sequences * (double)groups_trained(batch, s)) @ ->sequences)
aggregate.c @ seq_mean_token_sum_norm: sequences missing @ inverse(counts->sequences * counts->length_max) @ inverse(counts->length_max)
aggregate.c @ prompt_mean: groups missing @ inverse(counts->groups * tokens) @ inverse(tokens)
aggregate.c @ counts of another part @ &context->counts[batch->part[s]] @ \&context->counts[CN_PART_MAIN]
kl.c @ k2: half missing @ struct term term = {0.5 * d * d, d} @ struct term term = {d * d, d}
kl.c @ k3: sign of the slope @ -expm1(-d)} @ expm1(-d)}
kl.c @ k3, importance: the ratio is not differentiated @ ratio * (term.value + term.slope) @ ratio * term.slope
kl.c @ straight_through: the gradient of k3 @ k3_value(d_frozen) - 0.5 * d_frozen * d_frozen @ k3_value(d) - 0.5 * d_frozen * d_frozen
kl.c @ loss: aggregation missing @ settings->coefficient * a->coefficient[t] @ settings->coefficient
kl.c @ reward: added @ batch->token_reward[t] -= coefficient * d @ batch->token_reward[t] += coefficient * d
kl.c @ controller: wrong way @ kl / settings->target - 1) @ 1 - kl / settings->target)
kl.c @ controller: unbounded @ fmax(-0.2, fmin(0.2, kl / settings->target - 1)) @ kl / settings->target - 1
correction.c @ truncate: no cap @ return fmin(ratio, settings->cap) @ return ratio
correction.c @ ratio upside down @ return batch->logp_old[t] - batch->logp_sampled[t] @ return batch->logp_sampled[t] - batch->logp_old[t]
correction.c @ geometric: a product @ level == LEVEL_GEOMETRIC && n > 0 ? sum / n : sum @ sum
correction.c @ normalise: not divided @ batch->correction[t] /= mean @ batch->correction[t] /= 1
correction.c @ m2po: mean over all tokens @ sum <= threshold * (double)(i + 1) @ sum <= threshold * (double)n
correction.c @ reject: estimate of the other direction @ return expm1(fmax(-20, fmin(20, d))) - d @ return expm1(fmax(-20, fmin(20, -d))) + d
correction.c @ reject: upper bound ignored @ && !(value > settings->high) @ ;
correction.c @ opsm: right answers, too @ if (!(advantage < 0 && moved @ if (!(moved
correction.c @ opsm: the old policy @ batch->logp_sampled[t] - live->logp[t] @ batch->logp_sampled[t] - batch->logp_old[t]
correction.c @ effective sample size: of the sum @ squares > 0 ? *mean * *mean / squares : 0 @ squares > 0 ? *mean / squares : 0
critic.c @ clipped branch: the smaller @ 0.5 * fmax(error * error, free_error * free_error) @ 0.5 * fmin(error * error, free_error * free_error)
critic.c @ gradient where it is stopped @ stopped ? 0 : weight * free_error @ weight * free_error
critic.c @ scale missing @ settings->scale * coefficient[t] @ coefficient[t]
advantage.c @ whitening: mean kept @ batch->advantage[t] -= mean; @ batch->advantage[t] -= 0 * mean;
advantage.c @ whitening: the biased variance @ (form == WHITEN_UNBIASED ? n - 1 : n) @ n
advantage.c @ whitening: parts mixed @ batch->part[s] == part && cn_batch_trained(batch, s, t)) @ cn_batch_trained(batch, s, t))
advantage.c @ rescale: upside down @ cn_sum_value(&all[p]) / n : 1 @ n / cn_sum_value(\&all[p]) : 1
advantage.c @ scale=batch: of n @ cn_sum_value(&squares[p]) / (n - 1) @ cn_sum_value(\&squares[p]) / n
advantage_group.c @ deviation: of n @ (double)(n - 1)); @ (double)n);
advantage_group.c @ group_mean: rescale missing @ group->rescale * (group->reward[i] - mean) @ (group->reward[i] - mean)
advantage_group.c @ loo: own reward counts @ cn_sum_add(&others, -group->reward[i]) @ cn_sum_add(\&others, 0)
advantage_group.c @ length_weighted: a plain mean @ group->length[i] * group->reward[i] @ group->reward[i]
advantage_group.c @ mean_scaled: not scaled @ (group->reward[i] - mean) / mean : 0 @ group->reward[i] - mean : 0
advantage_group.c @ quantile: one place too far @ ceil(q * (double)n - 1e-9) - 1 @ ceil(q * (double)n - 1e-9)
advantage_group.c @ quantile: linear over n @ q * (double)(n - 1) @ q * (double)n
advantage_group.c @ confidence: upside down @ mean / fmax(group->entropy[i], 1e-6) @ group->entropy[i] / fmax(mean, 1e-6)
advantage_group.c @ pass_at_k: of n right ones @ 1 - choose_ratio(n - c, k, n, k) @ 1 - choose_ratio(c, k, n, k)
advantage_group.c @ pass_at_k: PKPO, wrong answers get nothing @ k / n * pass_rate(n - 1, c, k - 1) : 0 @ 0 : 0
advantage_group.c @ pass_at_k: leave one out @ right = choose_ratio(n - c, k - 1, n, k) @ right = choose_ratio(n - c, k, n, k)
advantage_group.c @ pass_at_k: analytic, wrong answers @ choose_ratio(n - c - 1, k - 1, n - 1, k - 1)) / std @ choose_ratio(n - c, k - 1, n - 1, k - 1)) / std
advantage_group.c @ signed_reward: wrong answers get nothing @ s->positive : -1 @ s->positive : 0
advantage_token.c @ reward on the first token @ last ? reward + batch->reward[s] : reward @ !last ? reward + batch->reward[s] : reward
advantage_token.c @ rtg: gamma missing @ token_reward(batch, s, t, last) + gamma * sum @ token_reward(batch, s, t, last) + sum
advantage_token.c @ greedy: baseline of another group @ batch->group[s] != group || @ false ||
advantage_token.c @ gae: lambda missing @ error + gamma * lambda * sum @ error + gamma * sum
advantage_token.c @ gae: value of the next token missing @ + gamma * next_value - batch->value_old[t] @ - batch->value_old[t]
advantage_token.c @ gae: target without the old value @ batch->value_target[t] += batch->value_old[t] @ batch->value_target[t] += 0
advantage_token.c @ vapo: lambda of the policy for the critic @ isnan(settings->critic_lambda) ? lambda : settings->critic_lambda @ lambda
advantage_token.c @ vapo: lambda by length of all answers @ 1 - 1 / (settings->lambda_alpha * (double)n) @ 1 - 1 / settings->lambda_alpha
advantage_token.c @ vapo: imitation of wrong answers, too @ || !is_right(context, batch, s)) continue @ ) continue
advantage_token.c @ vapo: imitation, sign @ grad->d_logp[t] -= weight @ grad->d_logp[t] += weight
advantage_token.c @ explained variance: of the values @ 1 - variance[ERROR] / (variance[TARGET] + 1e-5) @ 1 - variance[ERROR] / (variance[VALUE] + 1e-5)
sampling.c @ dynamic: looks at the shaped reward @ batch->score[member[i]] != batch->score[member[0]] @ batch->reward[member[i]] != batch->reward[member[0]]
sampling.c @ dynamic: surplus trained @ if (n_all <= target) return CN_OK @ if (true) return CN_OK
sampling.c @ dynamic: asks beyond the first round's number @ fmin(ceil(missing / rate), (double)state->target) @ ceil(missing / rate)
sampling.c @ dynamic: the last groups kept @ >= sorted[target] @ < sorted[n_all - target]
TABLE
}

# Where a file of the table stands.
file_of() { [ -e "$source/algorithms/$1" ] && echo "$source/algorithms/$1" || echo "$source/algorithms/entropy/$1"; }

# The changed copy of a file: OUT FILE EXPRESSION REPLACEMENT; fails if nothing changes.
mutate() {
    awk -v from="$3" -v to="$4" 'BEGIN { gsub(/\\&/, "\\&", to) }
        !done && (i = index($0, from)) {
            plain = to; gsub(/\\&/, "\\&", plain)
            $0 = substr($0, 1, i - 1) plain substr($0, i + length(from)); done = 1
        }
        { print }
        END { exit !done }' "$(file_of "$2")" >"$1"
}

# One mutant: NUMBER FILE NAME FROM TO.  Prints its line.
one() {
    local dir=$work/$1 file=$2 name=$3 unit caught=""
    mkdir "$dir"
    if ! mutate "$dir/$file" "$file" "$4" "$5"; then
        echo "FAILED $file: $name: the expression is not in the file: $4"
        return
    fi
    unit=$file
    if [ "${file%.h}" != "$file" ]; then # a header: in the first file that includes it
        unit=$(basename "$(grep -l "\"$file\"" "$source"/algorithms/entropy/*.c | head -1)")
        cp "$source/algorithms/entropy/$unit" "$dir/$unit"
    fi
    if ! $cc -std=c11 -D_GNU_SOURCE -O1 -w -fPIC -I"$source/include" -I"$source/algorithms" \
        -I"$source/algorithms/entropy" -c "$dir/$unit" -o "$dir/mutant.o" 2>"$dir/log"; then
        echo "FAILED $file: $name: does not compile: $(grep -m1 error "$dir/log")"
        return
    fi
    for stage in $programs rest; do # the quick ones first
        local test=$stage families="golden"
        [ $stage = rest ] && test=carnot && families="split gradient mask permutation options"
        local line=${links[$test]}
        line=${line/-o bin\/$test/-o $dir\/$test $dir\/mutant.o}
        [ -x "$dir/$test" ] || (cd "$build" && eval "$line") >"$dir/log" 2>&1 ||
            { echo "FAILED $file: $name: does not link: $(head -1 "$dir/log")"; return; }
        if [ $test = carnot ]; then
            for family in $families; do
                "$dir/carnot" selftest $family >"$dir/log" 2>&1 && continue
                caught="$family: $(tail -1 "$dir/log" | sed 's/^error: \(golden vector [^:]*: \)\?selftest: //' | cut -c1-90)"
                break
            done
        else
            "$dir/$test" >"$dir/log" 2>&1 ||
                caught="$test: $(grep -m1 FAILED "$dir/log" | sed 's/.*FAILED [^:]*:[0-9]*: //' | cut -c1-90)"
        fi
        [ -n "$caught" ] && break
    done
    rm -rf "$dir"
    if [ -n "$caught" ]; then echo "caught $file: $name  <-  $caught"; else echo "FAILED $file: $name: nothing notices it"; fi
}

programs="carnot test_asking test_entropy test_update test_advantage test_shaping test_algorithms test_recipe"
declare -A links
for test in $programs; do
    links[$test]=$(link_line $test)
done
[ -n "${links[carnot]}" ] || { echo "SKIPPED: cannot tell how the program is linked"; exit 77; }

# Without an error nothing may be caught.
for test in $programs; do
    arguments=$([ $test = carnot ] && echo selftest)
    "$bin/$test" $arguments >"$work/log" 2>&1 || { echo "FAILED: $test fails without a planted error"; exit 1; }
done

number=0
while IFS= read -r row; do
    [ -z "$only" ] || [[ $row == *"$only"* ]] || continue
    number=$((number + 1))
    IFS=$'\x01' read -r file name from to <<<"$(printf '%s' "$row" | sed 's/ @ /\x01/g; s/ @$/\x01/')"
    one "$number" "$file" "$name" "$from" "${to:-}" >"$work/result.$number" &
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
done < <(mutations)
wait
cat $(printf "$work/result.%d " $(seq "$number")) | tee "$work/all"
failed=$(grep -c '^FAILED' "$work/all")
echo "$number planted errors, $((number - failed)) caught"
[ "$failed" = 0 ]
