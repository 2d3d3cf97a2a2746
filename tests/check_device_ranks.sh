#!/usr/bin/env bash
# ctest labels: torch mpi
# Ranks on the device path: a run has the same bits on 1 and 2 ranks.  On CPU tensors everywhere; where there are GPUs also
# on those: two ranks on one GPU are refused, and two GPUs give the bits of one.
#   check_device_ranks.sh SOURCE BIN
set -u
source=$1 bin=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
. "$source/tests/runs.sh"
failed=0

cat > "$work/run.json" <<'JSON'
{
  "model": {"type": "torch", "init": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264,
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": true}},
  "env": {"type": "arithmetic", "format": "plain", "operators": "+", "largest": 4, "held_out": 0.2},
  "rewards": [{"type": "exact_answer", "policy": "whole", "compare": "text"},
              {"type": "length", "form": "target", "target": 2, "weight": 0.5}],
  "data": {"max_prompt_tokens": 16, "eval": [{"name": "held_out", "tasks": 4}]},
  "warm_start": {"steps": 4, "rows": 16, "lr": 3e-3},
  "train": {"steps": 4, "prompts": 8, "samples": 4},
  "rollout": {"max_tokens": 6, "slots": 8}, "update": {"atom_tokens": 48},
  "optimizer": {"lr": 3e-3}, "eval": {"every": 4}, "checkpoint": {"every": 4, "keep": 1}
}
JSON

# train NAME RANKS DEVICE [key=value...]
train() {
    local name=$1 ranks=$2 device=$3
    shift 3
    timeout 300 "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n "$ranks" --threads 1 train "$work/run.json" \
        "run.dir=\"$work/$name\"" "run.device=$device" "$@" > "$work/$name.log" 2>&1
}

# compare NAME DEVICE: one rank and two, exactly and as floats.
compare() {
    train "$1.1" 1 "$2" || { fault "one rank on $2:"; tail -3 "$work/$1.1.log"; return; }
    train "$1.2" 2 "$2" || { fault "two ranks on $2:"; tail -3 "$work/$1.2.log"; return; }
    same "$1.1" "$1.2" || fault "two ranks on $2 differ from one"
    train "$1.f" 2 "$2" run.deterministic=false || { fault "sums of floats on $2:"; tail -3 "$work/$1.f.log"; }
    norms=$(grep -oE '"optim/grad_norm": [^,}]*' "$work/$1.1/metrics.jsonl" | sed 's/.*: //' | paste -sd ' ' -)
    [[ $norms =~ [1-9] ]] || fault "the gradient on $2 is zero"
    echo "$2: two ranks have the bits of one, gradient norms $norms"
}

compare tensors cpu-operators
gpus=$(nvidia-smi -L 2> /dev/null | grep -c '^GPU')
if [ "$gpus" -eq 0 ]; then
    echo "SKIPPED: this machine has no NVIDIA GPU"
elif [ "$gpus" -eq 1 ]; then
    train alone 1 cuda || { fault "one rank on a GPU:"; tail -3 "$work/alone.log"; }
    if [ ! -e "$bin/libcarnot_nccl.so" ]; then
        echo "SKIPPED: this build has no NCCL"
    elif train shared 2 cuda || ! grep -q 'ranks 0 and 1 have the same GPU' "$work/shared.log"; then
        fault "two ranks on one GPU:"; tail -3 "$work/shared.log"
    fi
    echo "SKIPPED: two ranks on two GPUs (this machine has one)"
else
    compare gpus cuda
fi
exit $failed
