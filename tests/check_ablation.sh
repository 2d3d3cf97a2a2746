#!/usr/bin/env bash
# ctest labels: torch serial
# launch/ablation trains every method from one start, prints the table and the curves, and runs nothing twice.
#   check_ablation.sh SOURCE BIN
set -u
source=$1 bin=$(realpath "$2")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }

ablation() {
    CARNOT=$bin/carnot "$source/launch/ablation" --dir "$work/runs" --methods "clip_higher bonus" --seeds 2 \
        sft.steps=20 sft.rows=16 train.steps=4 train.prompts=8 eval.samples=4 'eval.k=[1,4]' "$@" > "$work/out" 2>&1
}

ablation || fail "exit code $?: $(tail -n 3 "$work/out")"
[ "$(grep -c ': [0-9]* s$' "$work/out")" = 8 ] || fail "8 runs expected: $(cat "$work/out")"
for method in plain clip_higher bonus; do
    grep -qE "^$method +2 " "$work/out" || fail "the table lacks two seeds of $method"
done
grep -qE '^bonus .*[+-][0-9.]+ \([0-9.]+\)' "$work/out" || fail "no paired difference with a standard error"
grep -q 'pass@4' "$work/out" || fail "the table lacks pass@4"
grep -q '</svg>' "$work/runs/entropy.svg" || fail "entropy.svg is not whole"
[ "$(grep -c '<polyline' "$work/runs/entropy.svg")" = 3 ] || fail "entropy.svg needs three curves"
start=$(sed -n 's/.*"path": "\(.*start-1[^"]*\)".*/\1/p' "$work/runs/bonus-1/config.resolved.json")
[ -n "$start" ] || fail "seed 1 did not start from start-1"

ablation || fail "the second start: exit code $?"
grep -q ': [0-9]* s$' "$work/out" && fail "the second start ran something again"
CARNOT=$bin/carnot "$source/launch/ablation" --methods steeer > "$work/out" 2>&1 && fail "an unknown method passed"
grep -q 'unknown method steeer' "$work/out" || fail "the unknown method is not named"

# What the script sets for a method belongs to a method, and every method of this build can run.
for file in "$source"/configs/ablation/*.json; do
    name=$(basename "$file" .json)
    [ "$name" = clip_higher ] || "$bin/carnot" config list entropies | grep -q "^  ${name%_low} " || fail "nothing is called ${name%_low}"
    "$bin/carnot" train "$source/configs/ablation.json" "$file" --dry-run > "$work/out" 2>&1 ||
        fail "$file: $(tail -n 1 "$work/out")"
done
for name in $("$bin/carnot" config list entropies | sed -n 's/^  \([a-z_][a-z_0-9]*\) .*/\1/p'); do
    [ -e "$source/configs/ablation/$name.json" ] && continue
    "$bin/carnot" train "$source/configs/ablation.json" entropy=$name --dry-run > "$work/out" 2>&1 && continue
    # Only the method itself may refuse the task, with its reason; the script then says so and leaves it out.
    grep -q "^error: $name " "$work/out" || fail "entropy=$name: $(tail -n 1 "$work/out")"
    CARNOT=$bin/carnot "$source/launch/ablation" --dir "$work/none" --methods $name sft.steps=1 sft.rows=2 \
        train.steps=1 train.prompts=8 eval.samples=4 'eval.k=[1,4]' > "$work/out" 2>&1
    grep -q "^left out $name: " "$work/out" || fail "$name is refused, but launch/ablation does not say so"
done
exit $failed
