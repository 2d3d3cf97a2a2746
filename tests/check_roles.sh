#!/usr/bin/env bash
# ctest labels: mpi
# Ranks that sample beside ranks that learn: without staleness the bits of one rank; with staleness the same bits on any
# division, over checkpoints, kills and stops.  Then bad values, batches that are too old, and what ranks say of faults.
#   check_roles.sh SOURCE BIN [TYPE]        TYPE: table (default) or torch
set -u
source=$1 bin=$2 type=${3:-table}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
. "$source/tests/runs.sh"
failed=0
steps=12

case $type in
table) init='{"type": "table", "vocab_size": 259, "order": 3, "states": 4096}' lr=0.3 ;;
torch) init='{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264, "hidden_size": 32,
  "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
  "max_position_embeddings": 64, "tie_word_embeddings": true}' lr=3e-3 ;;
esac
cat > "$work/run.json" <<JSON
{
  "model": {"type": "$type", "init": $init},
  "env": {"type": "arithmetic", "format": "plain", "operators": "+", "largest": 4, "held_out": 0.2},
  "rewards": [{"type": "exact_answer", "policy": "whole", "compare": "text"},
              {"type": "length", "form": "target", "target": 2, "weight": 0.5}],
  "data": {"max_prompt_tokens": 16, "eval": [{"name": "held_out", "tasks": 4}]},
  "warm_start": {"steps": 20, "rows": 16, "lr": $lr},
  "train": {"steps": $steps, "prompts": 8, "samples": 4, "mini_batches": 2},
  "rollout": {"max_tokens": 6, "slots": 8}, "update": {"atom_tokens": 24},
  "optimizer": {"lr": $lr}, "eval": {"every": 6}, "checkpoint": {"every": 5, "keep": 3}, "record": {"samples": 2}
}
JSON

# train NAME RANKS [key=value...]
train() {
    local name=$1 ranks=$2
    shift 2
    timeout 120 "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n "$ranks" --threads 1 train "$work/run.json" \
        "run.dir=\"$work/$name\"" "$@" > "$work/$name.log" 2>&1
}
metric() { grep "\"step\": $2[,}]" "$work/$1/metrics.jsonl" | grep -oE "\"$3\": [^,}]*" | sed 's/.*: //'; }

# alike NAME OTHER: the same bits, and the same samples written down.
alike() {
    same "$1" "$2" || return 1
    diff -r "$work/$1/samples" "$work/$2/samples" > "$work/diff" || { head -4 "$work/diff" | cut -c1-600; return 1; }
}
differ() { ! alike "$1" "$2" > "$work/differ" 2>&1; }
tail_of() { tail -n 4 "$work/$1.log" | sed 's/^/  /'; }

# ---- in turns: the bits of ranks that do both ---------------------------------------------------
for method in '' 'algorithm=dapo algorithm.kl=k3 entropy=["aepo"] entropy.aepo.monitor=released' 'algorithm=ppo critic.type=model train.epochs=2 entropy=["remix"]'; do
    # shellcheck disable=SC2086 # a list of overrides
    train one 1 $method || { fault "one rank ($method):"; tail_of one; continue; }
    [ "$(metric one 3 update/atoms)" -ge 2 ] || fault "$method: fewer than 2 atoms: nothing is divided"
    for division in '2 1' '3 1' '4 2'; do
        read -r ranks rollout <<< "$division"
        # shellcheck disable=SC2086
        train turns "$ranks" "parallel.rollout_ranks=$rollout" $method && alike one turns ||
            { fault "$rollout of $ranks ranks sample ($method):"; tail_of turns; }
        [ "$(ls "$work/turns/tokens" | grep -c "rank_000$((ranks - 1))")" -eq 0 ] || fault "a rank that samples recorded"
        rm -rf "$work/turns"
    done
    echo "in turns: $(metric one 3 update/atoms) atoms, the same bits with 1 of 2, 1 of 3, 2 of 4 ranks (${method:-grpo})"
    rm -rf "$work/one"
done
train one 1 || fault "one rank"
grep -q 'time/rollout_wait_s' "$work/one/metrics.jsonl" && fault "ranks wait that are not there"

# ---- ahead --------------------------------------------------------------------------------------
ahead='parallel.max_staleness=2 algorithm.correction=truncate'
# shellcheck disable=SC2086
{
    train ahead 3 parallel.rollout_ranks=1 $ahead || { fault "ahead:"; tail_of ahead; }
    train again 3 parallel.rollout_ranks=1 $ahead && alike ahead again || { fault "a second run differs:"; tail_of again; }
    train other 4 parallel.rollout_ranks=2 parallel.shard_optimizer=true $ahead && alike ahead other || { fault "another division differs:"; tail_of other; }
}
differ one ahead || fault "sampling ahead changes nothing"
[ "$(metric ahead 1 rollout/staleness)$(metric ahead 2 rollout/staleness)$(metric ahead 3 rollout/staleness)$(metric ahead 9 rollout/staleness)" = 0122 ] ||
    fault "staleness is not that of the schedule"
grep -q 'ranks 0 to 1 learn, rank 2 samples, at most 2 steps ahead' "$work/ahead.log" || fault "who does what is not said"
grep -q 'as if they were the present' "$work/ahead.log" && fault "a warning although there is a correction"
"$bin/carnot" show "$work/ahead" > "$work/show"
grep -E 'ranks that sample waited [0-9.]+ s .* ranks that learn [0-9.]+ s' "$work/show" || fault "show does not say who waits"
train bare 2 parallel.rollout_ranks=1 parallel.max_staleness=1 train.steps=2 || { fault "bare:"; tail_of bare; }
"$bin/carnot" sft "$work/run.json" sft.steps=1 parallel.rollout_ranks=1 --dry-run 2>&1 | grep -q 'divides the ranks of carnot train only' ||
    fault "sft does not say that it has no use for parallel.rollout_ranks"
[ "$(grep -c 'as if they were the present' "$work/bare.log")" -eq 1 ] || fault "no warning without a correction"
# A plug-in that asks for earlier rollouts, and one whose plan reads what learning has written; both over an
# extension of a run that had ended.
for method in 'entropy=["remix"] train.epochs=2' 'algorithm=dapo entropy=["aepo"] entropy.aepo.monitor=released'; do
    # shellcheck disable=SC2086
    { train p1 3 parallel.rollout_ranks=1 $ahead $method && train p2 4 parallel.rollout_ranks=2 $ahead train.steps=7 $method &&
        train p2 2 parallel.rollout_ranks=1 $ahead $method; } || { fault "$method:"; tail_of p1; tail_of p2; }
    cmp -s "$work/p1/checkpoints/step_0000$steps/state/optimizer.safetensors" "$work/p2/checkpoints/step_0000$steps/state/optimizer.safetensors" &&
        cmp -s "$work/p1/checkpoints/step_0000$steps/state/state.json" "$work/p2/checkpoints/step_0000$steps/state/state.json" ||
        fault "$method: a run in two pieces differs"
    rm -rf "$work/p1" "$work/p2"
done

[ "$type" = table ] || exit $failed # the rest is about ranks, whatever they compute with

# ---- kills and stops ------------------------------------------------------------------------------
victim() { pgrep -f "carnot train .*$work/$1" | while read -r p; do [ "$(cat "/proc/$p/comm")" = carnot ] && echo "$p"; done | tail -n 1; }
# begin NAME [key=value...]: a run of 3 ranks in the background; returns once it has made some steps.
begin() {
    local name=$1
    shift
    # shellcheck disable=SC2086
    "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n 3 --threads 1 train "$work/run.json" "run.dir=\"$work/$name\"" \
        parallel.rollout_ranks=1 $ahead "$@" > "$work/$name.log" 2>&1 &
    launcher=$!
    for ((i = 0; i < 1200; i++)); do
        [ -e "$work/$name/metrics.jsonl" ] && [ "$(wc -l < "$work/$name/metrics.jsonl")" -ge 7 ] && return
        sleep 0.02
    done
    fault "$name: no steps within 24 s"
}
begin killed
kill -9 "$(victim killed)"
start=$SECONDS
wait $launcher
code=$?
[ $code -ne 0 ] && [ $((SECONDS - start)) -le 10 ] || fault "kill -9: exit code $code after $((SECONDS - start)) s"
# shellcheck disable=SC2086
train killed 4 parallel.rollout_ranks=1 $ahead && alike ahead killed || { fault "after kill -9:"; tail_of killed; }
begin stopped
kill -USR1 $launcher
wait $launcher
code=$?
[ $code -eq 75 ] || fault "USR1: exit code $code"
[ -s "$work/stopped/checkpoints/latest/state/ahead.bin" ] || fault "batches that wait are not in the checkpoint"
# shellcheck disable=SC2086
train stopped 3 parallel.rollout_ranks=2 $ahead && alike ahead stopped || { fault "after a stop:"; tail_of stopped; }

# ---- another staleness ----------------------------------------------------------------------------
# shellcheck disable=SC2086
train ahead 3 parallel.rollout_ranks=1 $ahead parallel.max_staleness=1 train.steps=20
[ $? -eq 2 ] && grep -q 'cannot be continued with another configuration: parallel.max_staleness = 1' "$work/ahead.log" ||
    fault "another staleness is not refused"
train fewer 2 parallel.rollout_ranks=1 parallel.max_staleness=1 train.steps=14 "run.resume=\"$work/ahead/checkpoints/step_0000$steps\"" ||
    { fault "fewer:"; tail_of fewer; }
[ "$(metric fewer 13 drop/stale)" = 32 ] && [ "$(metric fewer 13 rollout/staleness)" = 2 ] || fault "answers that are too old are not dropped"
train none 1 train.steps=14 "run.resume=\"$work/ahead/checkpoints/step_0000$steps\"" || { fault "none:"; tail_of none; }
[ "$(metric none 14 drop/stale)" = 32 ] || fault "one rank trains on answers that are too old"

# ---- faults ---------------------------------------------------------------------------------------
# scene NAME CODE SECONDS TEXT RANKS [key=value...]
scene() {
    local name=$1 code=$2 limit=$3 text=$4 ranks=$5 start found seconds
    shift 5
    start=$(date +%s)
    train "$name" "$ranks" "$@"
    found=$?
    seconds=$(took "$name" "$start")
    if [ $found -ne "$code" ] || [ $seconds -gt "$limit" ] || [ "$(grep -c -- "$text" "$work/$name.log")" -ne 1 ]; then
        fault "$name: exit code $found (expected $code) after $seconds s (at most $limit), not once '$text':"
        sed 's/^/  /' "$work/$name.log" | tail -12
    else
        echo "$name: $code after $seconds s: $(grep -- "$text" "$work/$name.log" | cut -c1-220)"
    fi
}
scene many 2 5 'parallel.rollout_ranks=3 of 3 ranks leaves none to learn: start more ranks' 3 parallel.rollout_ranks=3
scene negative 2 5 'parallel.rollout_ranks.* -1' 3 parallel.rollout_ranks=-1
scene alone 2 5 'parallel.max_staleness=1 lets sampling run ahead, which needs ranks' 3 parallel.max_staleness=1
scene skip 6 15 'ranks do different things: .*step [12], ' 4 parallel.rollout_ranks=2 parallel.fault=skip
scene stall 6 15 'rank 3 did not come to .*step [12], .* within 3 s' 4 parallel.rollout_ranks=2 parallel.fault=stall parallel.timeout_s=3
# A reward that drifts, which only the ranks that sample can notice.
cat > "$work/drift.sh" <<'PROGRAM'
n=0
while IFS= read -r line; do
    id=${line#*: }; id=${id%%,*}; n=$((n + 1))
    case $line in *canary*) [ $n -gt 20 ] && score=0 || score=1 ;; *) score=0.5 ;; esac
    echo "{\"id\": $id, \"score\": $score}"
done
PROGRAM
echo '{"response": "canary", "score": 1}' > "$work/drift.jsonl"
scene canary 7 15 'rank [23]: .*the canary in line 1 of .*drift.jsonl scores 0' 4 parallel.rollout_ranks=2 train.steps=50 \
    'rewards=[{"type": "command", "program": ["/bin/sh", "'"$work"'/drift.sh"], "canaries": "'"$work"'/drift.jsonl", "canary_every": 1}]'
exit $failed
