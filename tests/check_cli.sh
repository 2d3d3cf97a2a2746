#!/usr/bin/env bash
# The real program from outside: messages, exit codes, rows, run folders, signals.
# check_cli.sh SOURCE BIN [PART OF A NAME]
# ctest labels: serial
set -uo pipefail
self=$(realpath "${BASH_SOURCE[0]}") carnot=$(realpath "$2")/carnot only=${3:-}
[ -x "$carnot" ] || { echo 'SKIPPED: this build has no program'; exit 77; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
passed=0 failed=0 skipped=0 bad='' skip=''

complain() {
    bad=yes
    printf '  FAILED %s\n' "$*"
}

# gives CODE TEXT COMMAND...: the command ends with CODE and says TEXT.  Standard input is the file
# `in` if there is one; the streams lie in `out` and `err` afterwards.
gives() {
    local code=$1 text=$2 status
    shift 2
    [ -e in ] || : >in
    timeout 120 "$@" <in >out 2>err
    status=$?
    rm -f in
    [ $status -eq "$code" ] || complain "$*: exit code $status, expected $code: $(tail -n 3 err)"
    says "$text"
}

says() {
    grep -qF -- "$1" out err || complain "expected \"$1\", found: $(tail -n 3 err)"
}

# row NUMBER TEXT: line NUMBER of standard output contains TEXT.
row() {
    sed -n "$1p" out | grep -qF -- "$2" || complain "row $1: expected $2, found: $(sed -n "$1p" out)"
}

prints_nothing() {
    [ ! -s out ] || complain "standard output is for rows alone, but has: $(head -c 200 out)"
}

status_is() {
    local part
    for part in "\"state\": \"$2\"" "\"exit_code\": $3"; do
        grep -qF "$part" "$1/STATUS.json" || complain "$1/STATUS.json lacks $part: $(cat "$1/STATUS.json")"
    done
}

# A policy that trains in a blink; every test makes its own run folder from it.
if [ -e "$(dirname "$carnot")/libcarnot_torch.so" ]; then
    transformer=yes
    model='{
      "type": "torch", "init": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264, "hidden_size": 16,
        "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 64, "tie_word_embeddings": true, "rms_norm_eps": 1e-5
      }
    }'
else
    transformer=''
    model='{"type": "table", "init": {"type": "table", "vocab_size": 264, "order": 2, "states": 4096}}'
fi
cat >tiny.json <<JSON
// comments are allowed
{
  "run": {"name": "tiny", "dir": "runs/{name}", "seed": 1},
  "model": $model,
  "env": {"type": "sort", "digits": 3},
  "rewards": ["exact_answer"],
  "data": {"max_prompt_tokens": 16, "eval": [{"name": "held_out", "tasks": 8}]},
  "train": {"steps": 3, "prompts": 2, "samples": 4},
  "rollout": {"max_tokens": 6, "slots": 8},
  "algorithm": "grpo",
  "optimizer": {"lr": 1e-3},
  "eval": {"every": 0},
  "checkpoint": {"every": 1},
  "parallel": {"threads": 1}
}
JSON
train() {
    local code=$1 text=$2 name=$3
    shift 3
    gives "$code" "$text" "$carnot" train tiny.json "run.name=$name" "$@"
}

needs_a_transformer() {
    [ -n "$transformer" ] || skip='this build has no libtorch (CN_WITH_TORCH=OFF)'
    [ -n "$transformer" ]
}

# model NAME: a Hugging Face folder of its own, made by one training run.
model() {
    if [ ! -d runs/model/checkpoints ]; then
        train 0 'run folder' model train.steps=1
    fi
    rm -rf "$1"
    cp -r runs/model/checkpoints/step_000001 "$1" || complain 'training left no checkpoint'
}

# tokenizer_only NAME: a folder with a tokenizer of three tokens and nothing else.
tokenizer_only() {
    mkdir -p "$1"
    cat >"$1/tokenizer.json" <<'JSON'
{"version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null,
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
 "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}
JSON
}

# wait_for PID FILE TEXT: until the process has written TEXT; for at most a minute, while it lives.
wait_for() {
    local tries=600
    until grep -qF -- "$3" "$2" 2>/dev/null; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ] || ! kill -0 "$1" 2>/dev/null; then
            complain "\"$3\" never came: $(tail -n 3 "$2")"
            return
        fi
        sleep 0.1
    done
}

# stops SIGNAL: the step is finished, everything is saved, and the same command goes on.
stops() {
    local name=stop-$1 pid status step
    "$carnot" train tiny.json run.name="$name" train.steps=100000 2>"$name.err" &
    pid=$!
    wait_for $pid "$name.err" 'step    1/'
    kill -"$1" $pid 2>/dev/null
    wait $pid
    status=$?
    [ $status = 75 ] || complain "exit code $status, expected 75: $(tail -n 2 "$name.err")"
    status_is "runs/$name" stopped 75
    step=$(sed -n 's/.*"step": \([0-9]*\).*/\1/p' "runs/$name/STATUS.json")
    train 0 "going on after step $step" "$name" train.steps=$((step + 1))
    status_is "runs/$name" 'done' 0
}

# ==== tests: every function below this line =====================================================

# ---- the command line -----------------------------------------------------------------------------
help_lists_every_command_and_each_has_its_own() {
    local command
    gives 0 'exit codes:' "$carnot" --help
    sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' out >commands
    for command in train sft eval sample score grade tokenize gradient serve-rewards show report diff convert config \
        bench doctor selftest; do
        grep -qx "$command" commands || complain "--help lacks $command"
    done
    while read -r command; do
        gives 0 "usage: carnot $command" "$carnot" "$command" --help
    done <commands
}

no_command_is_an_error_that_shows_the_help() {
    gives 2 'usage: carnot COMMAND' "$carnot"
    prints_nothing
}

an_unknown_command_is_named() {
    gives 2 '"trian"' "$carnot" trian
    prints_nothing
}

# ---- configuration ---------------------------------------------------------------------------------
an_unknown_key_names_its_place_and_the_nearest_known_one() {
    train 2 'optimizer.lrr' key optimizer.lrr=1
    says 'optimizer.lr'
    prints_nothing
    [ ! -e runs/key ] || complain 'a run folder was made for a configuration that is wrong'
    echo '{"algorithm": {"surrogate": {"clip_lo": 0.1}}}' >wrong.json
    gives 2 'wrong.json' "$carnot" train tiny.json wrong.json
    says 'algorithm.surrogate.clip_lo'
    says 'clip_low'
}

a_value_out_of_range_names_the_range() {
    train 2 'train.samples' range train.samples=0
    says '1'
    train 2 'optimizer.lr' range optimizer.lr=fast
}

a_run_without_a_name_or_folder_is_refused() {
    train 2 'run.dir is empty' '' run.name=x run.dir=
    train 2 'run.name is empty' ''
}

an_objective_that_nothing_measures_is_refused() {
    train 2 'eval.keep_best=eval/held_out/pass@9' objective eval.keep_best=eval/held_out/pass@9
}

rows_without_an_answer_to_learn_from_are_counted_before_the_run() {
    printf '%s\n' '{"prompt": "1", "answer": "2"}' '{"prompt": "3", "label": 4}' '{"prompt": "5", "answer": ""}' >rows.jsonl
    gives 3 '2 of 3 rows have no answer' "$carnot" sft tiny.json run.name=answers sft.steps=1 env=questions \
        'data.train=["rows.jsonl"]' 'data.eval=[]'
    says 'rows.jsonl, line 2'
}

answers_beyond_the_context_are_counted_before_the_run() {
    needs_a_transformer || return
    printf '{"prompt": "1", "answer": "%s"}\n' 22 "$(printf '%070d' 0)" >rows.jsonl
    gives 3 '1 of 2 rows, prompt and answer together, exceed the model' "$carnot" sft tiny.json run.name=context \
        sft.steps=1 env=questions 'data.train=["rows.jsonl"]' 'data.eval=[]' data.over_long=error
    gives 0 'they are left out' "$carnot" sft tiny.json run.name=context sft.steps=1 sft.rows=2 env=questions \
        'data.train=["rows.jsonl"]' 'data.eval=[]'
}

members_of_lists_are_checked_like_keys() {
    train 2 'data.eval.0.nmae: unknown key; nearest is "name"' member 'data.eval=[{"nmae": "a"}]'
    train 2 'data.eval.0.name="a/b"' member 'data.eval=[{"name": "a/b"}]'
    train 2 'data.eval.0.name="..' member 'data.eval=[{"name": "..\""}]'
    train 2 'are both named "a"' member 'data.eval=[{"name": "a"}, {"name": "a"}]'
    train 2 'data.eval.0.name is missing' member 'data.eval=[{"tasks": 3}]'
    train 2 'data.eval.0.tasks' member 'data.eval=[{"name": "a", "tasks": "many"}]'
    train 2 'data.eval must be a list' member 'data.eval={"name": "a"}'
    train 2 'data.train.0.weihgt: unknown key; nearest is "weight"' member 'data.train=[{"path": "a", "weihgt": 2}]'
    train 2 'data.train.1.weight' member 'data.train=["a", {"path": "a", "weight": 0}]'
    train 2 'data.train.0.path is missing' member 'data.train=[{"weight": 1}]'
    train 2 'model.frozen.referenc: unknown key; nearest is "reference"' member 'model.frozen={"referenc": "a"}'
    [ ! -e runs/member ] || complain 'a run folder was made for a configuration that is wrong'
}

an_unknown_algorithm_is_named() {
    train 2 'grpoo' row algorithm=grpoo
}

a_missing_configuration_is_named() {
    gives 2 'absent.json' "$carnot" train absent.json
}

broken_json_names_file_and_line() {
    printf '{\n  "run": {"name": "x"},\n  "train": {"steps": }\n}\n' >broken.json
    gives 2 'broken.json:3' "$carnot" train broken.json
}

a_dry_run_prints_the_batch_and_touches_nothing() {
    train 0 '2 prompts x 4 samples = 8 sequences a step' dry --dry-run train.steps=5
    [ ! -e runs/dry ] || complain 'a dry run made a run folder'
    # The page is the result: on standard output, with one line between its parts and one title a part.
    row 1 '2 prompts x 4 samples'
    grep -q '^train.steps = 5 (' out || complain "standard output lacks the changed values: $(cat out)"
    gives 0 'memory plan, ' "$carnot" train "$(dirname "$self")/../configs/quickstart.json" --dry-run
    [ "$(grep -ciE '^memory' out)" -eq 1 ] || complain "the memory plan has not one title: $(grep -iE '^memory' out)"
    [ -z "$(uniq -d out)" ] && [ ! -s err ] || complain "the page has double lines, or something is in the log: $(cat err)"
    gives 2 "32 + 33 exceeds the model's context of 64 tokens" "$carnot" train \
        "$(dirname "$self")/../configs/quickstart.json" --dry-run data.max_prompt_tokens=32 rollout.max_tokens=33
    row 1 '32 prompts x 8 samples'
    # 32 prompts of 16 tokens with 8 answers of 12 are 3,584 tokens: no atom has more.
    for tokens in 3584 1000000; do
        "$carnot" train "$(dirname "$self")/../configs/quickstart.json" --dry-run update.atom_tokens=$tokens | grep 'activations' >out.$tokens
    done
    cmp -s out.3584 out.1000000 || complain "atoms larger than a step are planned: $(cat out.3584 out.1000000)"
    gives 0 'memory plan of a rank that samples, ' "$carnot" train "$(dirname "$self")/../configs/quickstart.json" --dry-run \
        parallel.rollout_ranks=1
    grep -q '^memory plan of a rank that learns, [0-9]* parameters  *MB$' out || complain 'no plan of a rank that learns'
}

explain_names_range_and_default() {
    gives 0 'clip_low' "$carnot" config explain algorithm.surrogate.clip_low
    says '0.2'
    gives 2 'clip_lowe' "$carnot" config explain algorithm.surrogate.clip_lowe
}

# ---- models and rows ---------------------------------------------------------------------------------
a_missing_model_folder_is_named() {
    local command
    for command in sample score tokenize; do
        gives 3 'MODEL=no/such/folder: there is no such folder' "$carnot" $command no/such/folder
        gives 3 'MODEL=tiny.json is a file, not a Hugging Face folder' "$carnot" $command tiny.json
        prints_nothing
    done
    train 3 'model.path=no/such/folder: there is no such folder' nowhere model.init=null model.path=no/such/folder
    train 3 'model.path=no/such/folder: there is no such folder' nowhere model.init=null model.path=no/such/folder \
        model.type=torch --dry-run
    gives 3 'model.path=no/such/folder: there is no such folder' "$carnot" eval no/such/folder tiny.json
    train 3 'critic.path=no/such/folder: there is no such folder' nowhere algorithm=ppo critic.type=model \
        critic.path=no/such/folder
}

an_unknown_key_is_an_error_of_its_row_and_what_filters_write_is_none() {
    tokenizer_only ab
    printf '%s\n' '{"id": {"gold": 4}, "text": "ab"}' '{"text": "ab", "txet": 1}' '{"txt": "ab"}' '{"text": "b", "gold": 4}' \
        '{"text": "a", "ids": [7], "logp": [], "entropy": [], "top": [], "hex": "", "sample": 0, "stop": "eos"}' \
        '{"id": 1, "error": {"kind": "ERR_DATA", "message": "no such word"}}' >in
    gives 3 '4 of 6 rows' "$carnot" tokenize ab
    row 1 '{"id": {"gold": 4}, "ids": [2]}'
    row 2 'unknown key \"txet\"; nearest is \"text\"'
    row 3 'unknown key \"txt\"; nearest is \"text\"'
    row 4 'unknown key \"gold\" (what only travels along belongs into \"id\"'
    row 5 '{"ids": [0]}'
    row 6 'the filter before failed at this row: no such word'
}

a_misspelt_setting_of_a_sample_is_an_error_of_its_row() {
    needs_a_transformer || return
    model keys
    printf '%s\n' '{"prompt": "3", "temprature": 0}' '{"prompt": "3", "max_token": 1}' '{"prompt": "3", "temperature": 0}' >in
    gives 3 '2 of 3 rows' "$carnot" sample keys --max-tokens 4
    row 1 'unknown key \"temprature\"; nearest is \"temperature\"'
    row 2 'nearest is \"max_tokens\"'
    sed -n 3p out >in
    gives 0 '"logp": [null' "$carnot" score keys
    cp out in
    gives 0 '"logp": [null' "$carnot" score keys
    printf '%s\n' '{"text": "3", "add_generation_promt": true}' >in
    gives 3 'nearest is \"add_generation_prompt\"' "$carnot" score keys
}

ids_are_scored_without_a_tokenizer() {
    needs_a_transformer || return
    model bare
    echo '{"ids": [49, 50, 51]}' >in
    gives 0 '"logp": [null,' "$carnot" score bare
    cp out with
    rm bare/tokenizer*.json
    printf '%s\n' '{"ids": [49, 50, 51]}' '{"text": "1"}' >in
    gives 3 'no tokenizer.json: rows need \"ids\"' "$carnot" score bare
    [ "$(sed -n 1p out)" = "$(cat with)" ] || complain "other scores without a tokenizer: $(sed -n 1p out)"
    gives 3 'bare/tokenizer.json' "$carnot" sample bare
}

a_half_written_model_file_is_named() {
    needs_a_transformer || return
    model half
    truncate -s 1000 half/model.safetensors
    gives 3 'half/model.safetensors' "$carnot" score half
    : >half/model.safetensors
    gives 3 'half/model.safetensors' "$carnot" score half
    model half
    rm half/model.safetensors
    gives 3 'half' "$carnot" score half
    model half
    echo '{"architectures": ["LlamaForCausalLM"]' >half/config.json
    gives 3 'half/config.json' "$carnot" score half
}

an_unknown_architecture_is_named() {
    needs_a_transformer || return
    model alien
    sed -i 's/LlamaForCausalLM/AlienForCausalLM/; s/"llama"/"alien"/' alien/config.json
    gives 3 'lien' "$carnot" score alien
}

a_method_that_passes_over_short_tokens_needs_longer_ones() {
    local long='entropy=[{"type":"cure","critical":"long"}]'
    train 2 'entropy.cure.critical=long passes over special tokens and tokens of one character' short "$long"
    says 'the built-in tokenizer, a byte a token, has no others: set model.path'
    train 2 'set model.path' short "$long" --dry-run
    [ ! -e runs/short ] || complain 'a run folder was made for a configuration that is wrong'
    model words
    train 2 'the tokenizer of model.path=words has no others' short "$long" model.init=null model.path=words
    sed -i 's/"special":true}\]/"special":true},{"id":259,"content":"12","special":false}]/' words/tokenizer.json
    train 0 'run folder' long "$long" model.init=null model.path=words
}

a_bad_row_becomes_an_error_on_its_line_and_the_rest_goes_on() {
    needs_a_transformer || return
    model rows
    printf '%s\n' '{"id": 1, "text": "312"}' '{"id": [2], "text": }' '{"id": 3}' '[]' \
        '{"id": "last", "text": "21"}' >in
    gives 3 '' "$carnot" tokenize rows
    [ "$(wc -l <out)" = 5 ] || complain "5 rows in, $(wc -l <out) out"
    row 1 '"ids"'
    row 2 '"error"'
    row 3 '"error"'
    row 3 '"id": 3'
    row 4 '"error"'
    row 5 '"id": "last"'
    row 5 '"ids"'
}

score_gives_one_number_per_token_and_null_for_the_first() {
    needs_a_transformer || return
    model scored
    echo '{"id": 7, "ids": [49, 50, 51]}' >in
    gives 0 '"logp": [null,' "$carnot" score scored
    row 1 '"id": 7'
    echo '{"ids": [49, 99999]}' >in
    gives 3 '99999' "$carnot" score scored
    row 1 '"error"'
}

samples_are_the_same_for_the_same_seed_and_differ_for_another() {
    needs_a_transformer || return
    model sampled
    echo '{"ids": [51, 49, 50], "n": 2, "max_tokens": 5}' >in
    gives 0 '"stop"' "$carnot" sample sampled --seed 1
    [ "$(wc -l <out)" = 2 ] || complain "n=2 gave $(wc -l <out) rows"
    cp out first
    echo '{"ids": [51, 49, 50], "n": 2, "max_tokens": 5}' >in
    gives 0 '' "$carnot" sample sampled --seed 1
    cmp -s out first || complain 'the same seed gave other samples'
    echo '{"ids": [51, 49, 50], "n": 2, "max_tokens": 5}' >in
    gives 0 '' "$carnot" sample sampled --seed 2
    ! cmp -s out first || complain 'another seed gave the same samples'
}

fields_of_the_wrong_kind_are_errors_of_their_row() {
    needs_a_transformer || return
    model kinds
    printf '%s\n' '{"prompt": 5}' '{"prompt": "3", "stop": 5}' '{"prompt": "3", "stop": [""]}' '{"ids": "3"}' \
        '{"prompt": "3", "messages": {}}' '{"prompt": "3", "top_p": "1"}' '{"prompt": "3", "max_tokens": 2}' >in
    gives 3 '6 of 7 rows' "$carnot" sample kinds
    row 1 '\"prompt\" must be a text'
    row 2 '\"stop\" must be a text or a list'
    row 3 '\"stop\"[0]'
    row 4 '\"ids\" must be a list'
    row 5 '\"messages\" must be a list'
    row 6 'expected a number'
    row 7 '"logp"'
    gives 2 'error: --n = 0: expected' "$carnot" sample kinds --n 0
    printf '%s\n' '{"text": 5}' '{"messages": [{"role": "user", "content": "1"}], "add_generation_prompt": 1}' >in
    gives 3 '2 of 2 rows' "$carnot" score kinds --template plain
    row 2 'expected true or false'
}

a_prompt_on_the_command_line_obeys_n_and_stop() {
    needs_a_transformer || return
    model prompted
    local all first cut
    ask() { gives 0 '' "$carnot" sample prompted --template plain --prompt 321 --max-tokens 12 --seed 3 "$@"; }
    ask --n 2
    [ "$(grep -c '^--- [12]$' out)" = 2 ] || complain "two numbered answers, found: $(cat out)"
    ask
    all=$(tr -d '\n' <out)
    first=$(tr -cd '[:alnum:]' <out)
    first=${first:1:1}
    [ -n "$first" ] || complain "an answer with two letters was expected, found: $all"
    ask --stop "$first"
    cut=$(tr -d '\n' <out)
    [ "$cut" = "${all%%"$first"*}" ] || complain "stopped at \"$first\": \"$cut\" of \"$all\""
    gives 2 'empty text' "$carnot" sample prompted --template plain --prompt 1 --max-tokens 4 --stop ''
}

grade_tells_right_from_wrong_and_goes_on_after_a_bad_row() {
    printf '%s\n' '{"id": 1, "response": "#### 4", "ground_truth": "4"}' 'nonsense' \
        '{"id": 3, "response": "#### 5", "ground_truth": "4"}' >in
    gives 3 '' "$carnot" grade --reward exact_answer
    row 1 '"verdict": "correct"'
    row 2 '"error"'
    row 3 '"verdict": "wrong"'
    gives 2 'exact_answr' "$carnot" grade --reward exact_answr
}

grade_takes_any_bytes() {
    printf '{"id": 1, "response": "a\377 \\ud800 #### 4", "ground_truth": "4"}\n{"id": 2, "response": "\\u0000#### 4", "ground_truth": "4"}\n' >in
    gives 0 '' "$carnot" grade --reward exact_answer
    row 1 '"verdict": "correct", "extracted": "4"'
    row 2 '"verdict": "correct"'
}

a_filter_skips_blank_lines_and_says_where_a_row_is_bad() {
    printf '%s\r\n' '{"id": 1, "response": "4", "ground_truth": "4"}' '' ' 	' '{"id": 2, "response": "4", "id": 3}' >in
    gives 3 '1 of 2 rows are bad' "$carnot" grade --reward exact_answer
    row 1 '"verdict": "correct"'
    row 2 'line 4, column 1: key \"id\" occurs twice in one object"'
}

a_filter_that_cannot_read_its_rows_says_so() {
    gives 3 'cannot read standard input' sh -c '"$1" grade --reward exact_answer <.' sh "$carnot"
}

grade_names_the_lines_whose_known_answer_is_bad() {
    printf '%s\n' '{"prompt": "1+1", "answer": "2"}' '{"prompt": "2+2", "answer": "four"}' >gold.jsonl
    gives 3 '1 of 2 known answers' "$carnot" grade --reward exact_answer --compare number --check-gold gold.jsonl
    row 1 '"line": 2, "ground_truth": "four"'
    gives 0 'all 2 known answers' "$carnot" grade --reward exact_answer --check-gold gold.jsonl
    gives 2 'no known answers to check' "$carnot" grade --reward length --check-gold gold.jsonl
}

gradient_of_a_batch_made_by_hand_pushes_the_better_answer() {
    echo '{"sequences": [
        {"group": 0, "reward": 1, "role": [0, 1], "logp_old": [null, -1]},
        {"group": 0, "reward": 0, "role": [0, 1], "logp_old": [null, -1]}]}' | tr -d '\n' >in
    echo >>in
    gives 0 '"d_logp"' "$carnot" gradient tiny.json
    grep -qE '"d_logp": \[0(\.0)?, ?-0?\.[0-9]' out || complain "no pull towards the better answer: $(cat out)"
    echo '{"sequences": [{"group": 0, "reward": 1, "role": [0, 1]}]}' >in
    gives 3 'logp_old' "$carnot" gradient tiny.json
}

a_row_of_the_data_set_that_is_broken_names_file_and_line() {
    printf '%s\n' '{"prompt": "1+1", "answer": "2"}' '{"prompt": "1+' >rows.jsonl
    train 3 'rows.jsonl, line 2' data env=questions 'data.train=[{"path": "rows.jsonl"}]' 'data.eval=[]'
}

# ---- runs ----------------------------------------------------------------------------------------------
a_run_leaves_its_record_and_says_done() {
    local file
    train 0 'step    3/3' whole
    prints_nothing
    status_is runs/whole 'done' 0
    for file in config.resolved.json overrides.txt env.json metrics.jsonl checkpoints/step_000003/config.json \
        logs/attempt_1/rank_0000.log; do
        [ -s "runs/whole/$file" ] || complain "runs/whole lacks $file"
    done
    [ "$(grep -c '"step"' runs/whole/metrics.jsonl)" = 4 ] || complain 'metrics.jsonl must have steps 0 to 3'
    gives 0 'reward' "$carnot" show runs/whole
}

the_scaling_model_prints_its_inputs_and_takes_others() {
    gives 0 'input  memory_gb            80  H100 SXM data sheet' "$carnot" bench scaling-model
    says '0.494B on   8 GPUs: step     3.64 s = compute     2.62 + decode 1.01 + exchange 0.016; memory 20.8 GB, with ZeRO-1 15.7 GB'
    gives 0 'only ZeRO-1 fits in 80' "$carnot" bench scaling-model gradient_bytes=4
    gives 0 '0.135B on   2 GPUs' "$carnot" bench scaling-model parameters=1.35e8 gpus=2
    says 'command line'
    gives 2 'does not know "memory=3"' "$carnot" bench scaling-model memory=3
    gives 2 'above 0' "$carnot" bench scaling-model memory_gb=none
    gives 2 'scored=-1: expected a number from 0' "$carnot" bench scaling-model scored=-1
}

a_run_folder_is_not_reused_silently() {
    train 0 '' again train.steps=1
    train 2 'runs/again' again run.resume=never
    train 0 'going on after step 1' again train.steps=2
    train 2 'optimizer.lr' again train.steps=2 optimizer.lr=1e-2
}

with_force_a_run_goes_on_with_another_configuration_and_says_so() {
    train 0 '' forced train.steps=1
    train 2 'or --force' forced train.steps=2 optimizer.lr=1e-2
    train 0 'goes on with another configuration (--force): optimizer.lr = 0.01 (command line), was ' \
        forced train.steps=2 optimizer.lr=1e-2 --force
    says 'going on after step 1'
    grep -q 'goes on with another configuration' runs/forced/logs/attempt_*/rank_0000.log || complain 'the log does not say it'
    grep -q '"lr": 0.01' runs/forced/config.resolved.json || complain 'config.resolved.json has the old value'
    grep -qx -- '--force' runs/forced/overrides.txt || complain "overrides.txt lacks --force: $(cat runs/forced/overrides.txt)"
    train 0 '' forced train.steps=3 optimizer.lr=1e-2
}

a_refused_start_leaves_the_run_as_it_is() {
    local file
    train 0 '' refused train.steps=1
    for file in config.resolved.json overrides.txt env.json STATUS.json; do
        cp runs/refused/$file before.$file
    done
    train 2 'optimizer.lr' refused optimizer.lr=1e-2
    gives 2 'holds a run of carnot train' "$carnot" sft tiny.json run.name=refused sft.steps=1
    for file in config.resolved.json overrides.txt env.json STATUS.json; do
        cmp "runs/refused/$file" before.$file || complain "$file changed"
    done
}

a_damaged_checkpoint_makes_way_for_an_older_one() {
    train 0 '' damaged train.steps=3
    truncate -s 100 runs/damaged/checkpoints/step_000003/state/optimizer.safetensors
    train 0 'going on after step 2' damaged train.steps=4
    says 'step_000003 is damaged'
    [ "$(grep -c '"step": 3' runs/damaged/metrics.jsonl)" = 1 ] || complain 'step 3 must stand once'
    truncate -s 100 runs/damaged/checkpoints/step_*/state/optimizer.safetensors
    train 3 'no checkpoint in runs/damaged/checkpoints' damaged train.steps=5
}

a_run_from_a_checkpoint_goes_on_with_the_same_command() {
    local from
    train 0 '' source train.steps=2
    from=run.resume=runs/source/checkpoints/step_000002
    train 0 'going on after step 2' branch $from train.steps=3 optimizer.lr=1e-2
    train 0 'going on after step 3' branch $from train.steps=4 optimizer.lr=1e-2
    train 2 'has checkpoints of its own' branch run.resume=runs/source/checkpoints/step_000001
    train 3 'step_N of a run is needed' nowhere run.resume=runs/source/checkpoints/best
    # A checkpoint of its own takes the run back, once.
    from=run.resume=runs/branch/checkpoints/step_000003
    train 0 'going on after step 3' branch $from train.steps=3 optimizer.lr=1e-2
    says 'step_000004.old'
    train 0 'going on after step 3' branch $from train.steps=5 optimizer.lr=1e-2
    train 0 'going on after step 5' branch $from train.steps=6 optimizer.lr=1e-2
}

supervised_runs_keep_their_folder_as_training_does() {
    sft() {
        local code=$1 text=$2
        shift 2
        gives "$code" "$text" "$carnot" sft tiny.json run.name=sft sft.lr=1e-2 sft.rows=4 "$@"
    }
    sft 0 '4 rows a step x 5 steps' sft.steps=5 --dry-run
    [ ! -e runs/sft ] || complain 'a dry run made a run folder'
    sft 0 'step    2/2' sft.steps=2
    status_is runs/sft 'done' 0
    grep -q '"command": "sft"' runs/sft/STATUS.json || complain 'STATUS.json does not name the command'
    echo '{"step": 9, "sft/loss": 1}' >>runs/sft/metrics.jsonl
    sft 0 'going on after step 2' sft.steps=3
    [ "$(wc -l <runs/sft/metrics.jsonl)" = 4 ] || complain "steps 0 to 3, found: $(cat runs/sft/metrics.jsonl)"
    sft 2 'sft.rows' sft.steps=4 sft.rows=2
    train 2 'holds a run of carnot sft' sft
    gives 0 'sft/loss' "$carnot" show runs/sft
    "$carnot" sft tiny.json run.name=running sft.lr=1e-2 sft.rows=4 sft.steps=100000 2>sft.err &
    local pid=$!
    wait_for $pid sft.err 'step    1/'
    status_is runs/running running 0
    kill -INT $pid
    wait $pid
    status_is runs/running stopped 75
}

a_run_folder_in_use_names_host_and_pid() {
    "$carnot" train tiny.json run.name=busy train.steps=100000 2>busy.err &
    local pid=$!
    wait_for $pid busy.err 'step    2/'
    train 2 "pid $pid" busy train.steps=100000
    says "host $(uname -n)"
    kill -KILL $pid
    wait $pid 2>/dev/null
    train 0 'going on after step' busy train.steps=3
}

prune_ends_the_run_with_99() {
    "$carnot" train tiny.json run.name=pruned train.steps=100000 2>pruned.err &
    local pid=$! status
    wait_for $pid pruned.err 'step    1/'
    touch runs/pruned/PRUNE
    wait $pid
    status=$?
    [ $status = 99 ] || complain "exit code $status, expected 99: $(tail -n 2 pruned.err)"
    status_is runs/pruned pruned 99
}

a_signal_stops_the_run_with_75_and_it_goes_on_later() {
    # A shell starts background jobs with SIGINT ignored, and the program must catch it all the same.
    stops INT
    stops TERM
}

an_alarm_ends_the_run_with_5() {
    train 5 'rollout.mismatch_stop' alarm rollout.mismatch_stop=0
    status_is runs/alarm failed 5
}

# ==== run them =========================================================================================
mapfile -t names < <(sed -n '/^# ==== tests/,/^# ==== run/s/^\([a-z0-9_]*\)() {$/\1/p' "$self")
for name in "${names[@]}"; do
    [[ $name = *"$only"* ]] || continue
    bad='' skip=''
    echo "$name"
    "$name"
    if [ -n "$bad" ]; then
        failed=$((failed + 1))
    elif [ -n "$skip" ]; then
        skipped=$((skipped + 1))
        echo "  SKIPPED: $skip"
    else
        passed=$((passed + 1))
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
