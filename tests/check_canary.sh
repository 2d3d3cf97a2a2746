#!/bin/sh
# Canaries: a run starts only if the known answers score as expected, and stops when one of them changes.
# usage: check_canary.sh SOURCE BIN
carnot=$2/carnot
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 2
failures=0

# expect CODE PATTERN NAME [key=value...]: a short run with the table policy.
expect() {
    code=$1 pattern=$2 name=$3
    shift 3
    "$carnot" train "$config" run.name="$name" run.dir="$scratch/$name" "$@" >log 2>&1
    got=$?
    if [ $got -ne "$code" ] || ! grep -Eq "$pattern" log; then
        echo "FAILED: $name: exit code $got, expected $code and '$pattern' in:"
        tail -5 log
        failures=$((failures + 1))
    else
        echo "passed: $name"
    fi
}

config=$1/configs/debug/grpo.json
printf '%s\n' '{"response": "7", "ground_truth": "7", "score": 1}' '' \
    '{"response": "6 or 7", "ground_truth": "7", "verdict": "wrong"}' >good.jsonl
printf '%s\n' '{"response": "7", "ground_truth": "7", "score": 0}' >wrong.jsonl
printf '%s\n' '{"response": "7", "ground_truth": "7"}' >empty.jsonl
# A reward of one's own that goes from 1 to 0 after its first answers.
cat >drift.sh <<'PROGRAM'
n=0
while IFS= read -r line; do
    id=${line#*: }; id=${id%%,*}; n=$((n + 1))
    case $line in *canary*) [ $n -gt 20 ] && score=0 || score=1 ;; *) score=0.5 ;; esac
    echo "{\"id\": $id, \"score\": $score}"
done
PROGRAM
printf '%s\n' '{"response": "canary", "score": 1}' >drift.jsonl

entry='"type": "exact_answer"'
expect 0 'step +3/' good train.steps=3 "rewards=[{$entry, \"canaries\": \"good.jsonl\", \"canary_every\": 1}]"
expect 7 'line 1 of wrong.jsonl scores 1 .correct., expected 0' wrong "rewards=[{$entry, \"canaries\": \"wrong.jsonl\"}]"
expect 3 'line 1: it has neither' empty "rewards=[{$entry, \"canaries\": \"empty.jsonl\"}]"
expect 3 'none.jsonl' missing "rewards=[{$entry, \"canaries\": \"none.jsonl\"}]"
program='"type": "command", "program": ["/bin/sh", "drift.sh"]'
expect 7 'step [1-9][0-9]*: the canary in line 1 of drift.jsonl scores 0 .wrong., at the start it scored 1' drift \
    train.steps=50 "rewards=[{$program, \"canaries\": \"drift.jsonl\", \"canary_every\": 1}]"
[ $failures -eq 0 ]
