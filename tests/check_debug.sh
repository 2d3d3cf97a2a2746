#!/usr/bin/env bash
# Every algorithm and entropy method has a tiny configuration in configs/debug, and each of them trains two steps.
#   check_debug.sh SOURCE BIN
set -u
source=$1 bin=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

names=$({ "$bin/carnot" config list algorithms && "$bin/carnot" config list entropies; } | awk '/^  / {print $1}')
[ "$(echo "$names" | wc -l)" -ge 9 ] || { echo "FAILED: config list names only: $names"; exit 1; }
for name in $names; do
    [ -e "$source/configs/debug/$name.json" ] || { echo "FAILED: configs/debug/$name.json is missing"; failed=1; }
done
for file in "$source"/configs/debug/*.json; do
    name=$(basename "$file" .json)
    echo "$names" | grep -qx "$name" || { echo "FAILED: nothing is called $name, but $file exists"; failed=1; }
    if ! "$bin/carnot" train "$file" "run.dir=\"$work/$name\"" > "$work/log" 2>&1; then
        echo "FAILED: $name: $(tail -1 "$work/log")"
        failed=1
    elif ! grep -q '"step": 2, .*"optim/grad_norm": [0-9.e-]*[1-9]' "$work/$name/metrics.jsonl"; then
        echo "FAILED: $name: step 2 has no gradient"
        failed=1
    fi
done
[ $failed = 0 ] && echo "$(echo "$names" | wc -l) configurations trained"
exit $failed
