#!/usr/bin/env bash
# ctest labels: slow
# Errors planted into each entropy method must be caught by the self-test or a test of the method.
#   check_mutations.sh SOURCE BIN [NAME]
#
# Each line of the table below changes one expression of one file; the changed file is compiled and linked into a copy
# of the program, whose self-test is run family by family, and then into the tests of the methods.  What caught the
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
TABLE
}

# The changed copy of a file: OUT FILE EXPRESSION REPLACEMENT; fails if nothing changes.
mutate() {
    awk -v from="$3" -v to="$4" 'BEGIN { gsub(/\\&/, "\\&", to) }
        !done && (i = index($0, from)) {
            plain = to; gsub(/\\&/, "\\&", plain)
            $0 = substr($0, 1, i - 1) plain substr($0, i + length(from)); done = 1
        }
        { print }
        END { exit !done }' "$source/algorithms/entropy/$2" >"$1"
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
    for stage in carnot test_asking test_entropy test_update rest; do # the quick ones first
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

declare -A links
for test in carnot test_asking test_entropy test_update; do
    links[$test]=$(link_line $test)
done
[ -n "${links[carnot]}" ] || { echo "SKIPPED: cannot tell how the program is linked"; exit 77; }

# Without an error nothing may be caught.
for test in carnot test_asking test_entropy test_update; do
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
