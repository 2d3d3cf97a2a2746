#!/usr/bin/env bash
# Every published recipe resolves, and says what its steps are made of; that the model does not fit is allowed.
#   check_recipes.sh SOURCE BIN
set -u
source=$1 bin=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 n=0
for file in "$source"/configs/recipes/*.json; do
    n=$((n + 1))
    "$bin/carnot" train "$file" model.path="$source/tests/data/models/qwen2" --dry-run > "$work/out" 2>&1
    code=$?
    if [ $code != 0 ] && [ $code != 4 ]; then
        echo "FAILED: $(basename "$file") ends with $code: $(tail -1 "$work/out")"
        failed=1
    elif ! grep -q 'sequences a step' "$work/out"; then
        echo "FAILED: $(basename "$file") prints no arithmetic"
        failed=1
    fi
done
[ $n -ge 8 ] || { echo "FAILED: only $n recipes"; failed=1; }
[ $failed = 0 ] && echo "$n recipes resolved"
exit $failed
