#!/usr/bin/env bash
# ctest labels: mpi
# An optimizer that is shared out among the ranks (parallel.shard_optimizer) changes no bit: weights, checkpoints and
# metrics are those of one rank, for every number of ranks and threads, and a run goes on under any other division.
#   check_shard.sh SOURCE BIN [TYPE]        TYPE: table (default) or torch
set -u
source=$1 bin=$2 type=${3:-table}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
. "$source/tests/runs.sh"
failed=0 runs=0
steps=4 last=checkpoints/step_000004

case $type in
table) init='{"type": "table", "vocab_size": 259, "order": 3, "states": 512}' lr=0.3 dtypes=f32 ;;
torch) init='{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264, "hidden_size": 64,
  "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
  "max_position_embeddings": 64, "tie_word_embeddings": true}' lr=3e-3 dtypes='f32 bf16' ;;
esac
cat > "$work/run.json" <<JSON
{
  "model": {"type": "$type", "init": $init},
  "env": {"type": "arithmetic", "format": "plain", "operators": "+", "largest": 4, "held_out": 0.2},
  "rewards": [{"type": "exact_answer", "policy": "whole", "compare": "text"},
              {"type": "length", "form": "target", "target": 2, "weight": 0.5}],
  "data": {"max_prompt_tokens": 16, "eval": [{"name": "held_out", "tasks": 4}]},
  "warm_start": {"steps": 4, "rows": 16, "lr": $lr},
  "train": {"steps": $steps, "prompts": 8, "samples": 4, "mini_batches": 2},
  "rollout": {"max_tokens": 6, "slots": 8}, "update": {"atom_tokens": 48},
  "optimizer": {"lr": $lr}, "eval": {"every": 2}, "checkpoint": {"every": 2, "keep": 3}, "record": {"tokens": "none"}
}
JSON

# train NAME RANKS THREADS [key=value...]
train() {
    local name=$1 ranks=$2 threads=$3
    shift 3
    runs=$((runs + 1))
    timeout 120 "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n "$ranks" --threads "$threads" train \
        "$work/run.json" "run.dir=\"$work/$name\"" "$@" > "$work/$name.log" 2>&1
}
files() { (cd "$work/$1/checkpoints" && find step_00000? -name '*.safetensors' -o -name state.json | sort); }

# same NAME OTHER: every file of every checkpoint, and every metric.
same() {
    local file
    [ "$(files "$1")" = "$(files "$2")" ] && [ "$(files "$1" | wc -l)" -ge 6 ] || return 1
    for file in $(files "$1"); do cmp "$work/$1/checkpoints/$file" "$work/$2/checkpoints/$file" || return 1; done
    diff <(comparable "$1") <(comparable "$2") > "$work/diff" || { head -4 "$work/diff" | cut -c1-600; return 1; }
}
# try NAME OTHER RANKS THREADS [key=value...]: one more run, with the bits of another.
try() {
    local name=$1 other=$2
    shift 2
    train "$name" "$@" || { fault "$name ($*):"; tail -5 "$work/$name.log"; return; }
    same "$other" "$name" || fault "$name ($*) differs from $other"
}

shard=parallel.shard_optimizer=true
n=0
for dtype in $dtypes; do
    for method in algorithm=grpo algorithm=gspo algorithm=ppo 'algorithm=ppo critic.type=model algorithm.kl=k3'; do
        # What is new in bf16 is the second copy of the weights, of policy and critic.
        [[ $dtype = bf16 && $method =~ ^algorithm=(gspo|ppo)$ ]] && continue
        name=m$((++n)) options="model.dtype=\"$dtype\" $method"
        # shellcheck disable=SC2086 # a list of overrides
        train $name 1 1 $options || { fault "one rank ($options):"; tail -5 "$work/$name.log"; continue; }
        cmp -s "$work/$name/checkpoints/step_000002/state/optimizer.safetensors" \
            "$work/$name/$last/state/optimizer.safetensors" && fault "$options: weights did not move"
        # shellcheck disable=SC2086
        {
            try $name.1x1 $name 1 1 $options $shard
            try $name.2x1 $name 2 1 $options $shard
            try $name.4x1 $name 4 1 $options $shard update.checkpoint_activations=true
            try $name.2x2 $name 2 2 $options $shard
        }
        echo "$options: $(sha256sum < "$work/$name/$last/state/optimizer.safetensors" | cut -c1-16)"
    done
done

# ---- a run goes on with another division ---------------------------------------------------------
for name in m1 m4; do
    options=$([ $name = m1 ] && echo algorithm=grpo || echo algorithm=ppo critic.type=model algorithm.kl=k3)
    options="$options model.dtype=\"${dtypes%% *}\""
    # shellcheck disable=SC2086
    {
        train $name.moved 4 1 $options train.steps=2 $shard && try $name.moved $name 3 1 $options $shard
        train $name.off 2 1 $options train.steps=2 $shard && try $name.off $name 1 1 $options
        train $name.on 1 1 $options train.steps=2 && try $name.on $name 2 1 $options $shard
    }
done
echo "$runs runs"
exit $failed
