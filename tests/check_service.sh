#!/usr/bin/env bash
# carnot serve-rewards and the trainer's three ways to score: in process, a service of its own, services at addresses.
#   check_service.sh SOURCE BIN
# ctest labels: serial
set -u
source=$(realpath "$1") carnot=$(realpath "$2")/carnot
work=$(mktemp -d) || exit 1
pids=()
finish() { for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null; done; rm -rf "$work"; }
trap finish EXIT
cd "$work" || exit 1
failed=0
fail() { echo "FAILED: $*"; failed=1; }

"$carnot" serve-rewards service.port=0 service.workers=1 service.host=256.0.0.1 >out 2>&1
if grep -q CN_WITH_SERVICE out; then
    echo 'SKIPPED: this build has no service (CN_WITH_SERVICE=OFF)'
    exit 77
fi
grep -q 'service.host="256.0.0.1"' out || fail "a host that is none: $(cat out)"

# serve NAME ARGUMENT...: starts a service; its address is in $url, its process in $pid
serve() {
    local name=$1
    shift
    rm -f "$name.url"
    mkfifo "$name.url"
    "$carnot" serve-rewards "$@" service.port=0 --announce 3 3>"$name.url" 2>"$name.log" &
    pid=$!
    pids+=("$pid")
    read -r url <"$name.url"
    [ -n "$url" ] || fail "$name: no address: $(cat "$name.log")"
}

# 1. The same rewards, scored three ways: the same numbers in every step.
config=$source/configs/debug/grpo.json
train() { # train NAME ARGUMENT...
    local name=$1
    shift
    "$carnot" train "$config" "run.dir=\"$work/$name\"" train.steps=6 \
        'rewards=[{"type": "exact_answer", "policy": "whole", "compare": "text"}, {"type": "length", "weight": 0.1, "form": "target", "target": 2}]' \
        "$@" >"$name.log" 2>&1 || fail "$name: exit code $?: $(tail -3 "$name.log")"
    sed 's/"time\/[a-z_]*": [^,}]*//g; s/"perf\/tok_s": [^,}]*//g' "$work/$name/metrics.jsonl" >"$name.numbers"
}
train in_process
train spawned service.mode=spawn service.workers=2
serve one "$config" 'rewards=[{"type": "exact_answer", "policy": "whole", "compare": "text"}, {"type": "length", "weight": 0.1, "form": "target", "target": 2}]' service.workers=1
first=$url
serve two "$config" 'rewards=[{"type": "exact_answer", "policy": "whole", "compare": "text"}, {"type": "length", "weight": 0.1, "form": "target", "target": 2}]' service.workers=1
train at_urls service.mode=urls "service.urls=[\"$first\", \"$url\"]" service.batch=2
for name in spawned at_urls; do
    cmp -s in_process.numbers $name.numbers || fail "$name: other numbers than in_process: $(diff in_process.numbers $name.numbers | head -c 600)"
done
grep -q 'reward/length/mean' in_process.numbers || fail 'no reward/length/mean'
grep -q 'time/reward_busy_s' in_process/metrics.jsonl || fail 'no time/reward_busy_s'
port=$(sed -n 's/^scoring at http:.*:\([0-9]*\) .*/\1/p' spawned.log)
[ -n "$port" ] || fail "the spawned service says nothing: $(cat spawned.log)"
(: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && fail 'the spawned service outlived its run'

# 2. Without a service answers are masked, not 0: nothing is trained on, and the run goes on.
"$carnot" train "$config" "run.dir=\"$work/nobody\"" train.steps=1 eval.every=0 'data.eval=[]' service.mode=urls \
    'service.urls=["http://127.0.0.1:1"]' service.timeout_s=0.3 >nobody.log 2>&1
grep -q '"verdict/unscored": 16' nobody/metrics.jsonl 2>/dev/null || fail "masked answers: $(tail -2 nobody.log; tail -c 400 nobody/metrics.jsonl)"
grep -q '"reward/mean"' nobody/metrics.jsonl && fail 'unscored answers have a mean reward'

# 3. A run whose service's workers are killed under it ends well.
"$carnot" train "$config" "run.dir=\"$work/killed\"" train.steps=40 service.mode=spawn service.workers=1 >killed.log 2>&1 &
run=$!
pids+=("$run")
kills=0
for _ in $(seq 40); do
    sleep 0.05
    for service in $(cat /proc/$run/task/*/children 2>/dev/null); do
        for worker in $(cat /proc/"$service"/task/*/children 2>/dev/null); do kill -9 "$worker" 2>/dev/null && kills=$((kills + 1)); done
    done
done
[ $kills -ge 1 ] || fail 'no worker was there to be killed'
wait $run || fail "killed: exit code $?: $(tail -3 killed.log)"

# 4. A reward service stops gracefully, says what it scores, and refuses bad keys.
kill -TERM "$pid"
wait "$pid" || fail "serve-rewards: exit code $? after SIGTERM"
"$carnot" serve-rewards service.prot=1 >out 2>&1
[ $? = 2 ] && grep -q 'service.port' out || fail "a misspelt key: $(cat out)"
"$carnot" serve-rewards 'rewards=["nonsense"]' >out 2>&1
[ $? = 2 ] && grep -q 'nonsense' out || fail "an unknown reward: $(cat out)"
"$carnot" config explain service.item_timeout_s >out 2>&1 || fail "config explain: $(cat out)"
[ $failed = 0 ] && echo 'the service and the trainer agree'
exit $failed
