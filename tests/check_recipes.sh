#!/usr/bin/env bash
# Every published recipe resolves, and says what its steps are made of; that the model does not fit is allowed.
#   check_recipes.sh SOURCE BIN
set -u
source=$1 bin=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 n=0
# A dry run reads the shape alone; the recipes' answers need a longer context than the test model has.
sed 's/"max_position_embeddings": 128/"max_position_embeddings": 32768/' "$source/tests/data/models/qwen2/config.json" > "$work/config.json"
resolve() { "$bin/carnot" train "$1" model.path="$work" --dry-run "${@:2}" > "$work/out" 2>&1; }
for file in "$source"/configs/recipes/*.json; do
    n=$((n + 1))
    resolve "$file"
    code=$?
    if grep -q 'no maths verifier' "$work/out"; then # the recipes grade with it; the rest is checked all the same
        resolve "$file" 'rewards=["exact_answer"]'
        code=$?
    fi
    if [ $code != 0 ] && [ $code != 4 ]; then
        echo "FAILED: $(basename "$file") ends with $code: $(tail -1 "$work/out")"
        failed=1
    elif ! grep -q 'sequences a step' "$work/out"; then
        echo "FAILED: $(basename "$file") prints no arithmetic"
        failed=1
    fi
done
[ $n -ge 9 ] || { echo "FAILED: only $n recipes"; failed=1; }
[ $failed = 0 ] && echo "$n recipes resolved"
exit $failed
