#!/usr/bin/env bash
# ctest labels: serial
# A run is killed just before a write, sync, rename or removal in its folder, and started again: the same bits as an
# unbroken run.  Every 16th such call; check_kills_all.sh takes every one.
#   check_kills.sh SOURCE BIN [EVERY]
set -u
source=$1 bin=$2 every=${3:-16}
work=$(realpath "$(mktemp -d)") || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
. "$source/tests/runs.sh"
table_run 4 4 64
sed -i 's/"every": 50, "keep": 3/"every": 2, "keep": 1/; s/"every": 50/"every": 2/; s/"steps": 5,/"steps": 1,/' "$work/run.json"

# train N NAME: killed before its Nth call; 0: not at all.
train() {
    "$bin/kill_at" "$1" "$work/$2/" "$bin/carnot" train "$work/run.json" "run.dir=\"$work/$2\"" parallel.threads=1 \
        >> "$work/log" 2>&1
}

if ! train 0 whole; then
    ! grep -q 'kill_at: ptrace' "$work/log" || { echo "SKIPPED: this machine lets nobody trace a process"; exit 77; }
    fault "the unbroken run"
    tail -n 3 "$work/log"
    exit 1
fi
calls=$(tail -n 1 "$work/log") kills=0 resumed=0
[ "$calls" -ge 100 ] || fault "only $calls calls: are they seen?"
for ((n = every > 1 ? 1 + $$ % every : 1; n <= calls; n += every)); do
    rm -rf "$work/hurt" && : > "$work/log"
    train "$n" hurt
    code=$?
    [ $code -ne 0 ] || [ "$n" -lt $((calls * 9 / 10)) ] || break # their number varies a little with the clock
    [ $code -eq 137 ] || { fault "call $n of $calls: exit code $code instead of a kill"; continue; }
    kills=$((kills + 1))
    train 0 hurt || { fault "call $n of $calls: does not go on:"; tail -n 2 "$work/log"; continue; }
    grep -q 'going on after step' "$work/log" && resumed=$((resumed + 1))
    same whole hurt || fault "call $n of $calls: other bits after a kill before it"
done
echo "$kills kills at $calls calls, $resumed went on from a checkpoint"
[ $kills -ge $((calls * 8 / 10 / every)) ] && [ $resumed -ge 1 ] || fault "too few kills"
exit $failed
