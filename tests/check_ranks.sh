#!/usr/bin/env bash
# ctest labels: mpi
# A run has the same bits on 1, 2, 4 and 8 ranks, with 1 and 2 threads each: weights, optimizer, every sampled token,
# every metric that is not a time; a normaliser that is local to a rank is noticed.  Then what ranks say of faults.
#   check_ranks.sh SOURCE BIN [TYPE]        TYPE: table (default) or torch
set -u
source=$1 bin=$2 type=${3:-table}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
. "$source/tests/runs.sh"
failed=0 number=0
steps=20

case $type in
table) init='{"type": "table", "vocab_size": 259, "order": 3, "states": 4096}' lr=0.3 layouts='2x1 4x1 8x1 2x2' ;;
torch) init='{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264, "hidden_size": 32,
  "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
  "max_position_embeddings": 128, "tie_word_embeddings": true}' lr=3e-3 layouts='1x2 2x1 4x1 8x1 2x2' ;;
esac
cat > "$work/run.json" <<JSON
{
  "model": {"type": "$type", "init": $init},
  "env": {"type": "arithmetic", "format": "plain", "operators": "+", "largest": 4, "held_out": 0.2},
  "rewards": [{"type": "exact_answer", "policy": "whole", "compare": "text"},
              {"type": "length", "form": "target", "target": 2, "weight": 0.5}],
  "data": {"max_prompt_tokens": 16, "eval": [{"name": "held_out", "tasks": 4}]},
  "warm_start": {"steps": 30, "rows": 16, "lr": $lr},
  "train": {"steps": $steps, "prompts": 8, "samples": 4, "mini_batches": 2},
  "rollout": {"max_tokens": 6, "slots": 8}, "update": {"atom_tokens": 48},
  "optimizer": {"lr": $lr}, "eval": {"every": 10}, "checkpoint": {"every": 10, "keep": 3}, "record": {"samples": 1}
}
JSON

# train NAME RANKS THREADS [key=value...]
train() {
    local name=$1 ranks=$2 threads=$3
    shift 3
    timeout 120 "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n "$ranks" --threads "$threads" train \
        "$work/run.json" "run.dir=\"$work/$name\"" "$@" > "$work/$name.log" 2>&1
}
metric() { grep "\"step\": $2[,}]" "$work/$1/metrics.jsonl" | grep -oE "\"$3\": [^,}]*" | sed 's/.*: //'; }
weights() { sha256sum < "$work/$1/checkpoints/step_0000$steps/state/optimizer.safetensors"; }

# ---- the same bits ----------------------------------------------------------------------------
for method in '' 'algorithm=gspo algorithm.kl=k3 entropy=["adaptive"]' \
    'algorithm=dapo entropy=["clip_cov"] update.checkpoint_activations=true'; do
    name=m$((++number))
    # shellcheck disable=SC2086 # a list of overrides
    train $name 1 1 $method || { fault "one rank ($method):"; tail -5 "$work/$name.log"; continue; }
    [ "$(metric $name 2 update/atoms)" -ge 2 ] || fault "$method: fewer than 2 atoms: nothing is divided"
    awk -v n="$(metric $name 2 optim/grad_norm)" 'BEGIN { exit !(n > 0) }' || fault "$method: the gradient is zero"
    cmp -s "$work/$name/checkpoints/step_000010/state/optimizer.safetensors" \
        "$work/$name/checkpoints/step_0000$steps/state/optimizer.safetensors" && fault "$method: weights did not move"
    for layout in $layouts; do
        train $name.$layout "${layout%x*}" "${layout#*x}" $method ||
            { fault "$layout ($method):"; tail -5 "$work/$name.$layout.log"; continue; }
        same $name $name.$layout || fault "$layout ranks x threads differ from 1x1 ($method)"
        [ "$(ls "$work/$name.$layout/tokens" | grep -c 'rank_0001')" -ge 1 ] || [ "${layout%x*}" = 1 ] ||
            fault "$layout: rank 1 recorded nothing"
    done
    echo "${method:-grpo}: $(weights $name | cut -c1-16), $(metric $name 2 update/atoms) atoms, gradient norm $(metric $name 2 optim/grad_norm)"
done
train m1.local 2 1 parallel.fault=local_mean || fault "local_mean did not run"
[ "$(weights m1)" != "$(weights m1.local)" ] || fault "a local mean was not noticed"
"$bin/carnot" diff "$work/m1" "$work/m1.local" > "$work/diff" 2>&1
[ $? -eq 3 ] && grep -q 'the runs differ; first in ' "$work/diff" || fault "carnot diff does not see the local mean: $(cat "$work/diff")"
tail -n 1 "$work/diff"

# A rank that is slow leaves answers to the others: more than half of them, with the same bits.
train m1.slow 2 1 parallel.fault=slow && same m1 m1.slow || { fault "a slow rank changes the bits:"; tail -3 "$work/m1.slow.log"; }
share=$(metric m1.slow '[0-9]*' perf/largest_share | sort -g | sed -n "$((steps / 2))p") # the median: one step may be disturbed
awk -v share="$share" 'BEGIN { exit !(share > 0.6) }' || fault "beside a slow rank the other one samples only $share of the answers"
echo "slow rank: the other one of 2 samples $share of the answers"
train m1.float 2 1 run.deterministic=false || { fault "float sums:"; tail -3 "$work/m1.float.log"; }

# ---- one run, many layouts: it goes on elsewhere with the same bits -----------------------------
train moved 4 1 train.steps=10 && train moved 2 2 && same m1 moved || { fault "10 steps on 4 ranks, 10 on 2:"; tail -3 "$work/moved.log"; }

# ---- damage, deaths and signals -----------------------------------------------------------------
cp -r "$work/m1" "$work/hurt"
printf 'x' | dd of="$work/hurt/checkpoints/step_0000$steps/state/optimizer.safetensors" bs=1 seek=5000 conv=notrunc 2> /dev/null
train hurt 2 1 && same m1 hurt || { fault "a damaged checkpoint:"; tail -3 "$work/hurt.log"; }
grep -q 'is damaged and passed over: .*optimizer.safetensors holds other bytes than were written' "$work/hurt.log" ||
    fault "the damaged file is not named"
[ "$(readlink "$work/hurt/checkpoints/latest")" = "step_0000$steps" ] || fault "latest does not point to the newest"

# begin NAME [launch/mpirun option...]: a run of 3 ranks in the background; returns once it has made 3 steps.
begin() {
    local name=$1
    shift
    "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n 3 --threads 1 "$@" train "$work/run.json" \
        "run.dir=\"$work/$name\"" checkpoint.every=2 $long > "$work/$name.log" 2>&1 &
    launcher=$!
    for ((i = 0; i < 600; i++)); do
        [ -e "$work/$name/metrics.jsonl" ] && [ "$(wc -l < "$work/$name/metrics.jsonl")" -ge 4 ] && return
        sleep 0.05
    done
    fault "$name: no step within 30 s"
}
long=train.steps=100000
begin stopped
kill -USR1 $launcher
wait $launcher
code=$?
[ $code -eq 75 ] && grep -q '"state": "stopped"' "$work/stopped/STATUS.json" || fault "USR1: exit code $code"
[ "$(grep -c 'stopped by signal' "$work/stopped.log")" -eq 1 ] || fault "USR1: not said once"

victim() { pgrep -f "carnot train .*$work/$1" | while read -r p; do [ "$(cat "/proc/$p/comm")" = carnot ] && echo "$p"; done | tail -n 1; }
begin killed
kill -9 "$(victim killed)"
start=$SECONDS
wait $launcher
code=$?
[ $code -ne 0 ] && [ $((SECONDS - start)) -le 10 ] || fault "kill -9 of a rank: exit code $code after $((SECONDS - start)) s"
echo "kill -9 of one rank of 3: exit code $code after $((SECONDS - start)) s"
long="train.steps=$steps parallel.fault=slow" # so that it is not done before it is killed
begin again --restarts 2
kill -9 "$(victim again)"
wait $launcher
code=$?
[ $code -eq 0 ] && grep -q 'start 2 of 3' "$work/again.log" && same m1 again || { fault "restart after a kill: exit code $code"; tail -3 "$work/again.log"; }

# Rank 0 keeps the counter of the queue of answers, but takes need it not: the others go on while it is stopped.  If it
# comes back in time nothing is lost; if not, it is named.  There a step begins with a rollout of 0.8 s and more (40 tokens
# of the slow rank), and rank 0 is stopped as soon as the step before is reported: while the others sample.
freeze() { # NAME: stops rank 0 of the run
    frozen=
    for p in $(pgrep -f "carnot train .*$work/$1"); do
        grep -qzE '^(OMPI_COMM_WORLD_RANK|PMI_RANK)=0$' "/proc/$p/environ" && [ "$(cat "/proc/$p/comm")" = carnot ] && frozen=$p
    done
    [ -n "$frozen" ] && kill -STOP "$frozen" || fault "$1: no rank 0 to stop"
}
long="train.steps=$steps checkpoint.every=10 parallel.fault=slow parallel.timeout_s=20"
begin paused
freeze paused
sleep 1
kill -CONT "$frozen"
wait $launcher
code=$?
[ $code -eq 0 ] && same m1 paused || { fault "rank 0 rested for 1 s: exit code $code"; tail -3 "$work/paused.log"; }
long='train.steps=100000 checkpoint.every=100000 rollout.max_tokens=40 rollout.ignore_eos=true parallel.fault=slow
    parallel.timeout_s=3'
begin frozen
freeze frozen
start=$SECONDS
wait $launcher
code=$?
[ $code -eq 6 ] && [ $((SECONDS - start)) -le 9 ] &&
    [ "$(grep -c 'rank 0 did not come to .*step [0-9]*, sampling) within 3 s (parallel.timeout_s); 2 of 3 ranks wait there' "$work/frozen.log")" -eq 1 ] ||
    { fault "rank 0 stands still: exit code $code after $((SECONDS - start)) s"; tail -5 "$work/frozen.log"; }
echo "rank 0 of 3 stands still while others take from the queue: exit code $code after $((SECONDS - start)) s"

# ---- faults -----------------------------------------------------------------------------------
# scene NAME CODE SECONDS TEXT [key=value...]
scene() {
    local name=$1 code=$2 limit=$3 text=$4 start found seconds
    shift 4
    start=$(date +%s)
    train "$name" 3 1 "$@"
    found=$?
    seconds=$(took "$name" "$start")
    if [ $found -ne "$code" ] || [ $seconds -gt "$limit" ] ||
        [ "$(grep -c -- "$text" "$work/$name.log")" -ne 1 ]; then
        fault "$name: exit code $found (expected $code) after $seconds s (at most $limit), not once '$text':"
        sed 's/^/  /' "$work/$name.log" | tail -12
    else
        echo "$name: $code after $seconds s: $(grep -- "$text" "$work/$name.log" | cut -c1-220)"
    fi
}
scene skip 6 15 'ranks do different things: .*step 2, ' parallel.fault=skip
scene stall 6 13 'rank 2 did not come to .*step 2, sampling) within 3 s' parallel.fault=stall parallel.timeout_s=3
scene threads 2 5 'share the .* at most .* threads each' parallel.oversubscribe=false parallel.threads=64
scene config 2 5 'unknown key' train.step=3
scene data 3 5 'nowhere' 'model.path="/nowhere"' model.init=null
exit $failed
