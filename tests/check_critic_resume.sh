#!/usr/bin/env bash
# check_resume.sh with what a run with a critic must remember beside the policy: a second model, a value head, a
# reference that is replaced, an adapted coefficient.  And references that are refused.
#   check_critic_resume.sh SOURCE BIN
set -u
source=$1 bin=$2 here=$(dirname "$0")
"$here/check_resume.sh" "$1" "$2" table model || exit 1
if [ -e "$bin/libcarnot_torch.so" ]; then "$here/check_resume.sh" "$1" "$2" torch head || exit 1; fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
train() { "$bin/carnot" train "$source/configs/debug/grpo.json" "run.dir=\"$work/$1\"" "${@:2}" > "$work/out" 2>&1; }

train first algorithm.kl=k2 || { echo "FAILED: a run with a reference: $(tail -1 "$work/out")"; exit 1; }
mkdir "$work/other" && cp "$work/first/checkpoints/start/"{config.json,model.safetensors} "$work/other"
cp "$source/tests/data/tokenizer_tiny.json" "$work/other/tokenizer.json"
for key in model.frozen.reference critic.path; do
    train second algorithm=ppo algorithm.kl=k1 critic.type=model "$key=\"$work/other\""
    code=$?
    if [ $code != 2 ] || ! grep -qE 'vocabulary of|is another text' "$work/out"; then
        echo "FAILED: $key of another vocabulary ends with $code: $(tail -1 "$work/out")"
        failed=1
    fi
done
train third algorithm=ppo "critic.path=\"$work/other\""
[ $? = 2 ] && grep -q 'critic.type=head' "$work/out" || { echo "FAILED: $(tail -1 "$work/out")"; failed=1; }
exit $failed
