#!/usr/bin/env bash
# A tabular policy learns a small task from its own answers; steps that are not finite are skipped, counted, kept and at
# last end the run.
#   check_train.sh SOURCE BIN
set -u
bin=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }

cat > "$work/run.json" <<JSON
{
  "model": {"type": "table", "init": {"type": "table", "vocab_size": 259, "order": 4, "states": 16384}},
  "env": {"type": "sort", "digits": 2},
  "rewards": [{"type": "exact_answer", "policy": "whole", "compare": "text"}],
  "data": {"max_prompt_tokens": 8, "eval": [{"name": "held_out", "tasks": 10}]},
  "warm_start": {"steps": 6, "rows": 64, "lr": 0.5},
  "train": {"steps": 60, "prompts": 32, "samples": 8},
  "rollout": {"max_tokens": 6, "slots": 32}, "optimizer": {"lr": 0.1, "weight_decay": 0},
  "checkpoint": {"every": 0}, "record": {"tokens": "none", "samples": 0}
}
JSON

# metric RUN STEP NAME: a number of metrics.jsonl
metric() { sed -n "s/^{\"step\": $2, .*\"$3\": \([^,}]*\).*/\1/p" "$work/$1/metrics.jsonl"; }

# 1. Reward rises for every algorithm that this build has a row for.
for algorithm in reinforce rloo grpo dr_grpo dapo ppo; do
    if ! "$bin/carnot" train "$work/run.json" "run.dir=\"$work/$algorithm\"" algorithm=$algorithm > "$work/log" 2>&1; then
        fail "$algorithm: $(tail -1 "$work/log")"; continue
    fi
    first=$(metric $algorithm 1 reward\\/mean) last=$(metric $algorithm 60 reward\\/mean)
    echo "$algorithm: reward $first -> $last"
    awk "BEGIN { exit !($last > $first + 0.15) }" || fail "$algorithm: reward did not rise by 0.15"
done

# 2. A reward of 1e300 makes the gradient overflow: skipped, counted, the batch kept, exit code 5 after three in a row.
"$bin/carnot" train "$work/run.json" "run.dir=\"$work/bad\"" algorithm=dr_grpo rewards.0.correct=1e300 > "$work/log" 2>&1
code=$?
[ $code = 5 ] || fail "exit code $code instead of 5: $(tail -1 "$work/log")"
grep -q 'update.bad_steps_max' "$work/log" || fail "the message does not name update.bad_steps_max"
[ "$(wc -l < "$work/bad/bad_batches.jsonl")" -ge 3 ] || fail "no bad batches were kept"
grep -q '"state": "failed"' "$work/bad/STATUS.json" || fail "STATUS.json does not say failed"
head -1 "$work/bad/bad_batches.jsonl" | "$bin/carnot" gradient "$work/run.json" algorithm=dr_grpo > "$work/out" 2>&1 ||
    fail "carnot gradient cannot read a kept batch: $(head -c 300 "$work/out")"
exit $failed
