# What the scripts that compare runs share.  Sourced: a folder $work and a program $bin/carnot are there.

# table_run STEPS PROMPTS: writes $work/run.json, a run of the table model: a few milliseconds a step.
table_run() {
    cat > "$work/run.json" <<JSON
{
  "model": {"type": "table", "init": {"type": "table", "vocab_size": 259, "order": 3, "states": ${3:-4096}}},
  "env": {"type": "arithmetic", "format": "plain", "operators": "+", "largest": 4, "held_out": 0.2},
  "rewards": [{"type": "exact_answer", "policy": "whole", "compare": "text"}],
  "data": {"max_prompt_tokens": 16, "eval": [{"name": "held_out", "tasks": 4}]},
  "warm_start": {"steps": 5, "rows": 16, "lr": 0.3},
  "train": {"steps": $1, "prompts": $2, "samples": 4, "mini_batches": 2},
  "rollout": {"max_tokens": 6, "slots": 8}, "update": {"atom_tokens": 48},
  "optimizer": {"lr": 0.3}, "eval": {"every": 50}, "checkpoint": {"every": 50, "keep": 3}, "record": {"samples": 1}
}
JSON
}

fault() {
    echo "FAILED: $*"
    failed=1
}

# The rows of a run, without what depends on the clock.
comparable() { sed -E 's/, "(time|perf)\/[^"]*": [^,}]*//g' "$work/$1/metrics.jsonl"; }

# same NAME OTHER: both runs end with the same bits: optimizer, state, metrics, tokens, weights.
same() {
    local file last
    last=checkpoints/$(readlink "$work/$1/checkpoints/latest")
    for file in $last/state/optimizer.safetensors $last/state/state.json; do
        cmp "$work/$1/$file" "$work/$2/$file" || return 1
    done
    diff <(comparable "$1") <(comparable "$2") > "$work/diff" || { head -4 "$work/diff" | cut -c1-600; return 1; }
    "$bin/carnot" diff "$work/$1" "$work/$2" > "$work/diff" 2>&1
    [ "$(grep -cE '^(tokens|metrics|weights) +same' "$work/diff")" -eq 3 ] || { cat "$work/diff"; return 1; }
}

# took NAME START: seconds since the run's last row, however slow what came before; if it has none, since START (date +%s).
took() {
    local last
    last=$(stat -c %Y "$work/$1/metrics.jsonl" 2> /dev/null) || last=$2
    echo $(($(date +%s) - last))
}

rows() { { wc -l < "$work/$1/metrics.jsonl"; } 2> /dev/null || echo 0; }

# await SECONDS WHAT COMMAND...: until the command succeeds; a fault if it does not.
await() {
    local what=$2
    for ((i = 0; i < 10 * $1; i++)); do
        "${@:3}" > /dev/null 2>&1 && return 0
        sleep 0.1
    done
    fault "$what: not within $1 s"
    return 1
}
