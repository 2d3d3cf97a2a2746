#!/usr/bin/env bash
# ctest labels: mpi slow
# Every debug configuration (one per algorithm and entropy method) has the same bits on 3 ranks as on one.
#   check_ranks_debug.sh SOURCE BIN
set -u
source=$1 bin=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 n=0
comparable() { sed -E 's/, "(time|perf)\/[^"]*": [^,}]*//g' "$1/metrics.jsonl"; }
for config in "$source"/configs/debug/*.json; do
    name=$(basename "$config" .json)
    "$bin/carnot" train "$config" "run.dir=\"$work/one\"" parallel.threads=1 checkpoint.every=2 > "$work/log" 2>&1 &&
        timeout 60 "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n 3 --threads 1 train "$config" \
            "run.dir=\"$work/three\"" checkpoint.every=2 > "$work/log" 2>&1 ||
        { echo "FAILED: $name"; tail -4 "$work/log"; failed=1; rm -rf "$work/one" "$work/three"; continue; }
    for file in optimizer.safetensors state.json; do
        cmp "$work"/{one,three}/checkpoints/step_000002/state/$file || { echo "FAILED: $name: $file differs"; failed=1; }
    done
    diff <(comparable "$work/one") <(comparable "$work/three") > "$work/diff" ||
        { echo "FAILED: $name: metrics differ"; head -4 "$work/diff" | cut -c1-500; failed=1; }
    rm -rf "$work/one" "$work/three"
    n=$((n + 1))
done
echo "$n configurations on 1 and 3 ranks"
[ $n -ge 20 ] || failed=1
exit $failed
