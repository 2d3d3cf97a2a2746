#!/usr/bin/env bash
# ctest labels: serial
# A run that is killed with SIGKILL at random moments and started again ends with the same bits as one that is not:
# weights, optimizer, metrics (times left out), evaluations.
#   check_resume.sh SOURCE BIN [TYPE [MORE]]      TYPE: table (default) or torch
#   MORE, what a run must remember beside the policy: nothing (default), head or model: a critic with a reference that
#   is replaced and an adapted coefficient, remix: past rollouts and the policy of the rollout before
set -u
source=$1 bin=$2 type=${3:-table} more=${4:-nothing}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

case $type in
table) init='{"type": "table", "vocab_size": 259, "order": 3, "states": 4096}' lr=0.3 ;;
torch) init='{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264, "hidden_size": 32,
  "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
  "max_position_embeddings": 64, "tie_word_embeddings": true}' lr=1e-3 ;;
esac
algorithm='{"type": "grpo", "kl": {"type": "none"}}' entropy='["adaptive"]' critic='' steps=60 undisturbed=0
case $more in
head | model)
    algorithm='{"type": "ppo", "kl": {"type": "k1", "target": 0.01, "horizon": 100}, "critic": {"warmup_steps": 5}}'
    critic='"critic": {"type": "'$more'"}, "critic_optimizer": {"lr": '$lr'},'
    frozen=', "frozen": {"replace_every": 7}'
    ;;
remix) # which looks at the last policy from step 51 on: only then it is killed
    entropy='{"methods": ["remix"], "remix": {"kl": 0.5, "steps": 58}}' steps=75 undisturbed=54
    ;;
esac
cat > "$work/run.json" <<JSON
{
  "model": {"type": "$type", "init": $init${frozen:-}}, $critic
  "env": {"type": "sort", "digits": 3},
  "rewards": [{"type": "exact_answer", "policy": "whole", "compare": "text"}],
  "data": {"max_prompt_tokens": 8, "eval": [{"name": "held_out", "tasks": 20}]},
  "warm_start": {"steps": 5, "rows": 16, "lr": $lr},
  "train": {"steps": $steps, "prompts": 8, "samples": 4, "mini_batches": 2},
  "rollout": {"max_tokens": 6, "slots": 8},
  "algorithm": $algorithm, "entropy": $entropy,
  "optimizer": {"lr": $lr}, "eval": {"every": 15}, "checkpoint": {"every": 5, "keep": 3}, "record": {"samples": 1}
}
JSON

train() { "$bin/carnot" train "$work/run.json" "run.dir=\"$work/$1\"" >> "$work/$1.log" 2>&1; }

# Metrics without what depends on the clock.
comparable() { sed -E 's/, "(time|perf)\/[^"]*": [^,}]*//g' "$1/metrics.jsonl"; }

train whole || { echo "the undisturbed run failed:"; tail -5 "$work/whole.log"; exit 1; }

# Kills come by progress, not by the clock, so that a slow machine is interrupted as often as a fast one: each
# start gets 7 to 12 rows further, which is past at least one checkpoint; and, at first, over what is to be undisturbed.
rows() { { wc -l < "$work/killed/metrics.jsonl"; } 2> /dev/null || echo 0; }
kills=0
for attempt in 1 2 3 4 5 6; do
    target=$(( $(rows) + 7 + attempt * 7919 % 6 ))
    [ $target -ge $undisturbed ] || target=$undisturbed
    "$bin/carnot" train "$work/run.json" "run.dir=\"$work/killed\"" >> "$work/killed.log" 2>&1 & pid=$!
    while kill -0 $pid 2> /dev/null && [ "$(rows)" -lt $target ]; do sleep 0.01; done
    if kill -9 $pid 2> /dev/null; then kills=$((kills + 1)); fi
    wait $pid 2> /dev/null && break
done
train killed || { echo "the resumed run failed:"; tail -5 "$work/killed.log"; exit 1; }

failed=0
resumed=$(grep -c 'going on after step' "$work/killed.log")
echo "$kills kills, $resumed resumptions"
[ "$kills" -ge 1 ] && [ "$resumed" -ge 1 ] || { echo "FAILED: nothing was killed and resumed"; failed=1; }
last=checkpoints/step_0000$steps
for file in $last/state/optimizer.safetensors $last/state/state.json $last/model.safetensors $last/last/model.safetensors \
    $last/state/value_head.safetensors $last/critic/state/optimizer.safetensors \
    $last/critic/state/value_head.safetensors checkpoints/reference_000056/model.safetensors; do
    [ -e "$work/whole/$file" ] || continue
    cmp "$work/whole/$file" "$work/killed/$file" || { echo "FAILED: $file differs"; failed=1; }
done
first=$work/whole/checkpoints/step_0000$((steps - 5))/state/optimizer.safetensors
cmp -s "$first" "$work/whole/$last/state/optimizer.safetensors" && { echo "FAILED: weights did not move"; failed=1; }
if ! diff <(comparable "$work/whole") <(comparable "$work/killed") > "$work/diff"; then
    echo "FAILED: metrics differ"; head -6 "$work/diff" | cut -c1-400; failed=1
fi
case $more in
head) needed=$last/state/value_head.safetensors ;;
model) needed=$last/critic/state/value_head.safetensors ;;
remix) needed=$last/last/model.safetensors ;;
*) needed=$last/state/state.json ;;
esac
[ -e "$work/killed/$needed" ] || { echo "FAILED: no $needed"; failed=1; }
exit $failed
