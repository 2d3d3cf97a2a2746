#!/usr/bin/env bash
# ctest labels: torch serial
# carnot bench prints a row with its numbers for each part; the numbers themselves are no test's business.
set -u
carnot=$2/carnot
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# row WHAT PATTERN ARGUMENTS...: the command ends well and prints a line like PATTERN.
row() {
    local what=$1 pattern=$2 said
    shift 2
    if said=$("$carnot" bench "$@" 2>&1) && printf '%s\n' "$said" | grep -qE "$pattern"; then
        echo "ok $what"
    else
        printf 'FAILED %s: bench %s\n%s\n' "$what" "$*" "$said"
        failed=1
    fi
}

row decode '^decode bf16 slots +4: +[1-9][0-9.]* tok/s, .* % of [0-9.]+ GB/s read' \
    decode --model 1m --dtype bf16 --batch 4 --tokens 16
row train '^train f32  4 x \(20 \+ 12\): +[1-9][0-9.]* tok/s.*times as fast as with a prompt for each' \
    train --model 1m --dtype f32 --batch 4 --prompt 20 --tokens 12 --steps 1
row step '^step  f32 *: [0-9.]+ s = rollout .* passes for methods [0-9.]+ s, algorithm [0-9.]+ %; .* start to first step [0-9.]+ s; peak [1-9][0-9]* MB, planned [1-9][0-9]* MB \([+-][0-9]+ %\)' \
    step --model 1m --dtype f32 --steps 2 rollout.max_tokens=8 train.prompts=2 train.samples=2
# --steps counts beside a file; a million steps would not come to an end.
cat >"$work/long.json" <<'JSON'
{"env": "sort", "rewards": ["exact_answer"], "algorithm": "grpo", "train": {"steps": 1000000, "prompts": 2, "samples": 2}}
JSON
row file '^step  f32 ' step --model 1m --dtype f32 --steps 2 "$work/long.json" rollout.max_tokens=8
if "$carnot" bench step --dtype f32 train.prompts=2 "$work/long.json" >"$work/out" 2>&1 || ! grep -q 'files come first' "$work/out"; then
    echo "FAILED a file behind a key is refused"
    failed=1
fi
row start '^start f32 *: [0-9.]+ s to the end of the first step' start --dtype f32
row machine '[0-9]+ in the affinity mask, 1 threads; libtorch [0-9.]+' train --model 1m --dtype f32 --batch 1 --tokens 8 --steps 1 --threads 1
if "$carnot" bench train --threads 4096 >"$work/out" 2>&1 || ! grep -q 'affinity mask' "$work/out"; then
    echo "FAILED more threads than cores are refused"
    failed=1
fi
if "$carnot" grade --reward math </dev/null >/dev/null 2>&1; then
    row rewards '^math hostile: [0-9]+ pairs, mean [0-9.]+ us, .* worst [0-9.]+' rewards "$1/tests/data"
fi
if "$carnot" bench speed >"$work/out" 2>&1 || [ $? -ne 2 ] || ! grep -q 'choose one of decode' "$work/out"; then
    echo "FAILED an unknown part is refused"
    failed=1
fi
exit $failed
