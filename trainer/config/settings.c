/* Option tables of the trainer's own sections. */
#include "settings.h"

#include <math.h>
#include <string.h>

// clang-format off
#define FIELD(section, field) .name = #field, .offset = offsetof(struct section##_settings, field)
#define BOOL .kind = CN_OPTION_BOOL
#define INT(low, high) .kind = CN_OPTION_INT, .minimum = low, .maximum = high
#define REAL(low, high) .kind = CN_OPTION_REAL, .minimum = low, .maximum = high
#define TEXT .kind = CN_OPTION_TEXT
#define CHOICE(words) .kind = CN_OPTION_CHOICE, .choices = words
#define JSON .kind = CN_OPTION_JSON, .nullable = true
#define IS .fallback =
#define SAFE .safe_on_resume = true
#define OR_NULL .nullable = true

static const struct cn_option run_options[] = {
    {FIELD(run, dir), TEXT, IS "\"runs/{name}\"", SAFE, .help = "run folder; {name} and {seed} are replaced"},
    {FIELD(run, name), TEXT, IS "\"run\"", SAFE, .help = "name of the run"},
    {FIELD(run, seed), INT(0, 9e15), IS "0", .help = "seed of everything that is random"},
    {FIELD(run, device), TEXT, IS "\"cpu\"", .help = "cpu or cuda"},
    {FIELD(run, deterministic), BOOL, IS "true", .help = "same bits for any number of threads and any memory setting"},
    {FIELD(run, resume), TEXT, IS "\"auto\"", SAFE, .help = "auto: go on from the newest checkpoint of the folder; never: a folder in which a run stands is an error; PATH: start from that checkpoint"},
    {FIELD(run, force), BOOL, IS "false", SAFE, .help = "--force: go on with keys changed that would change what the run computes; the log names them"},
    {FIELD(run, max_hours), REAL(0, 1e6), IS "null", OR_NULL, SAFE, .unit = "h", .help = "save and stop (exit code 75) after this time"},
    {0}};

static const struct cn_option train_options[] = {
    {FIELD(train, steps), INT(0, 1e9), IS "100", SAFE, .unit = "rollout steps", .help = "length of the run"},
    {FIELD(train, prompts), INT(1, 1e6), IS "64", .help = "prompts per rollout step"},
    {FIELD(train, samples), INT(1, 65536), IS "8", .help = "answers per prompt: one group"},
    {FIELD(train, mini_batches), INT(1, 1e6), IS "1", .help = "optimizer steps per pass over a rollout; must divide prompts x samples"},
    {FIELD(train, epochs), INT(1, 1000), IS "1", .help = "passes over a rollout"},
    {FIELD(train, temperature), REAL(1e-3, 100), IS "null", OR_NULL, .help = "temperature of the trained log-probabilities; null: the sampler's"},
    {0}};

static const struct cn_option model_options[] = {
    {FIELD(model, type), TEXT, IS "\"torch\"", .help = "back end: torch, or table (tabular policy in C)"},
    {FIELD(model, path), TEXT, IS "null", OR_NULL, .help = "Hugging Face folder: config.json, *.safetensors, tokenizer.json"},
    {FIELD(model, dtype), TEXT, IS "\"f32\"", .help = "of the weights that compute: f32, or bf16 with an f32 master copy"},
    {FIELD(model, init), JSON, IS "null", .help = "shape of a random start instead of a path: an object with the keys of config.json"},
    {FIELD(model, frozen), JSON, IS "null", .help = "the frozen reference: {\"reference\": PATH or null for the start weights, \"replace_every\": rollout steps after which it becomes the policy, 0: never}"},
    {0}};

static const struct cn_option data_options[] = {
    {FIELD(data, train), JSON, IS "null", .help = "files to train on: [{\"path\": FILE, \"weight\": 1}]"},
    {FIELD(data, eval), JSON, IS "null", .help = "sets to evaluate on: [{\"name\": NAME, \"path\": FILE}], or {\"name\", \"tasks\": N} for generated tasks"},
    {FIELD(data, max_prompt_tokens), INT(1, 1e7), IS "512", .unit = "tokens", .help = "longest prompt"},
    {FIELD(data, over_long), CHOICE("drop error"), IS "\"drop\"", .help = "what happens to longer prompts"},
    {.name = "template", .offset = offsetof(struct data_settings, template_name), TEXT, IS "\"auto\"", .help = "chat template: auto, chatml, qwen2, qwen3, llama3, smollm2, plain"},
    {FIELD(data, system), TEXT, IS "null", OR_NULL, .help = "system message of conversations that have none"},
    {0}};

static const struct cn_option rollout_options[] = {
    {FIELD(rollout, max_tokens), INT(1, 1e6), IS "512", .unit = "tokens", .help = "longest answer"},
    {FIELD(rollout, temperature), REAL(1e-3, 100), IS "1", .help = "of the sampler"},
    {FIELD(rollout, top_p), REAL(1e-6, 1), IS "1", .help = "nucleus; below 1 is refused while training, because what is sampled must be what is trained"},
    {FIELD(rollout, top_k), INT(0, 1e9), IS "0", .help = "most likely tokens only; 0: all; refused while training"},
    {FIELD(rollout, stop), .kind = CN_OPTION_TEXTS, IS "[]", .help = "texts that end an answer, beside the model's own end tokens"},
    {FIELD(rollout, ignore_eos), BOOL, IS "false", .help = "an end token does not end an answer: every answer has max_tokens (benchmarks)"},
    {FIELD(rollout, slots), INT(1, 65536), IS "64", .help = "answers sampled at a time"},
    {FIELD(rollout, mismatch_stop), REAL(0, 100), IS "null", OR_NULL, SAFE, .unit = "nats", .help = "ends the run if mean |logp_sampled - logp_old| of a step exceeds it; null: 1e-4 in f32, 5e-2 in bf16"},
    {FIELD(rollout, engine), CHOICE("auto decode torch"), IS "\"auto\"", .help = "what samples: the C decode engine or libtorch"},
    {0}};

#define OPTIMIZER(default_lr) \
    {FIELD(optimizer, type), CHOICE("adamw"), IS "\"adamw\"", .help = "AdamW with an f32 master copy"}, \
    {FIELD(optimizer, lr), REAL(0, 10), IS default_lr, .help = "learning rate"}, \
    {FIELD(optimizer, schedule), CHOICE("constant linear cosine"), IS "\"constant\"", .help = "after the warm-up: constant, or falling to min_lr at the last step"}, \
    {FIELD(optimizer, min_lr), REAL(0, 10), IS "0", .help = "end of a falling schedule"}, \
    {FIELD(optimizer, warmup_steps), INT(0, 1e9), IS "0", .unit = "rollout steps", .help = "the learning rate grows linearly from 0"}, \
    {FIELD(optimizer, betas), .kind = CN_OPTION_REALS, .minimum = 0, .maximum = 1, IS "[0.9, 0.999]", .help = "decay of AdamW's two averages"}, \
    {FIELD(optimizer, epsilon), REAL(0, 1), IS "1e-8", .help = "of AdamW"}, \
    {FIELD(optimizer, weight_decay), REAL(0, 10), IS "0.01", .help = "decoupled; on matrices only"}, \
    {FIELD(optimizer, clip_norm), REAL(0, 1e9), IS "1", .help = "largest norm of the gradient; 0: no clipping"}

static const struct cn_option optimizer_options[] = {OPTIMIZER("1e-6"), {0}};
static const struct cn_option critic_optimizer_options[] = {OPTIMIZER("1e-5"), {0}};

static const struct cn_option critic_options[] = {
    {FIELD(critic, type), CHOICE("head model"), IS "\"head\"", .help = "head: on the policy's last hidden row; model: a second model, of any shape but the policy's vocabulary"},
    {FIELD(critic, path), TEXT, IS "null", OR_NULL, .help = "folder of the second model; null: it starts from the policy's weights"},
    {0}};

static const struct cn_option update_options[] = {
    {FIELD(update, atom_tokens), INT(1, 1e9), IS "2048", .unit = "tokens", .help = "size of an atom: one forward and one backward"},
    {FIELD(update, checkpoint_activations), BOOL, IS "false", SAFE, .help = "compute each layer again in backward: less memory, same bits"},
    {FIELD(update, bad_steps_max), INT(0, 1e6), IS "3", SAFE, .help = "optimizer steps in a row that may be skipped for a loss or gradient that is not finite"},
    {0}};

static const struct cn_option parallel_options[] = {
    {FIELD(parallel, threads), INT(0, 4096), IS "0", SAFE, .help = "of each rank; 0: cores of its affinity mask, divided by the ranks that share them"},
    {FIELD(parallel, oversubscribe), BOOL, IS "false", SAFE, .help = "allow more threads than cores"},
    {FIELD(parallel, shard_optimizer), BOOL, IS "false", SAFE, .help = "each rank keeps moments, and in bf16 the f32 master copy, of its share of the parameters only: less memory, same bits, same checkpoints"},
    {FIELD(parallel, rollout_ranks), INT(0, 1e6), IS "0", SAFE, .unit = "ranks", .help = "the last so many ranks sample and score, the others learn; 0: every rank does both"},
    {FIELD(parallel, max_staleness), INT(0, 64), IS "0", .unit = "rollout steps", .help = "how far sampling runs ahead of learning, with rollout_ranks: batch s is sampled with the weights after step s - 1 - max_staleness; 0: the sides wait for each other, and results are those of rollout_ranks=0"},
    {FIELD(parallel, timeout_s), REAL(0, 1e9), IS "600", SAFE, .unit = "s", .help = "longest wait for another rank before the run ends with exit code 6; 0: for ever"},
    {FIELD(parallel, fault), CHOICE("none skip stall local_mean slow"), IS "\"none\"", .help = "plants a fault, to see that it is found: in step 2 the last rank leaves out a collective (skip) or stops for ever (stall); each rank normalises by its own tokens (local_mean); the last rank rests for 20 ms after each token that it samples (slow)"},
    {0}};

static const struct cn_option eval_options[] = {
    {FIELD(eval, every), INT(0, 1e9), IS "20", SAFE, .unit = "rollout steps", .help = "0: only at the start and at the end"},
    {FIELD(eval, samples), INT(1, 65536), IS "1", .help = "answers per prompt"},
    {FIELD(eval, k), .kind = CN_OPTION_REALS, .minimum = 1, .maximum = 65536, IS "[1]", .help = "k of pass@k; at most samples"},
    {FIELD(eval, temperature), REAL(0, 100), IS "1", .help = "0: greedy"},
    {FIELD(eval, top_p), REAL(1e-6, 1), IS "1", .help = "nucleus"},
    {FIELD(eval, top_k), INT(0, 1e9), IS "0", .help = "most likely tokens only; 0: all"},
    {FIELD(eval, keep_best), TEXT, IS "null", OR_NULL, SAFE, .help = "metric whose best checkpoint is kept: eval/<set>/pass@1; null: the first set's pass@1"},
    {0}};

static const struct cn_option checkpoint_options[] = {
    {FIELD(checkpoint, every), INT(0, 1e9), IS "50", SAFE, .unit = "rollout steps", .help = "0: only at the end and on a stop"},
    {FIELD(checkpoint, keep), INT(1, 1e6), IS "2", SAFE, .help = "newest checkpoints that are kept"},
    {FIELD(checkpoint, keep_every), INT(0, 1e9), IS "0", SAFE, .unit = "rollout steps", .help = "multiples of it are kept for ever; 0: none"},
    {0}};

static const struct cn_option record_options[] = {
    {FIELD(record, tokens), CHOICE("none all"), IS "\"all\"", SAFE, .help = "token record in HDF5: nothing, or every column of every sampled token"},
    {FIELD(record, every), INT(1, 1e9), IS "1", SAFE, .unit = "rollout steps", .help = "steps between recorded ones"},
    {FIELD(record, samples), INT(0, 1e6), IS "4", SAFE, .help = "answers per step written as text to samples/"},
    {0}};

#define SUPERVISED_ROWS INT(1, 1e6), IS "64", .help = "rows per step"
#define SUPERVISED_LR REAL(0, 10), IS "1e-5", .help = "learning rate; the schedule is the optimizer's"
#define SUPERVISED_WARMUP INT(0, 1e9), IS "0", .unit = "optimizer steps", .help = "the learning rate grows linearly from 0"

static const struct cn_option warm_start_options[] = {
    {FIELD(supervised, steps), INT(0, 1e9), IS "0", .unit = "optimizer steps", .help = "length; 0: none"},
    {FIELD(supervised, rows), SUPERVISED_ROWS},
    {FIELD(supervised, lr), SUPERVISED_LR},
    {FIELD(supervised, warmup_steps), SUPERVISED_WARMUP},
    {0}};

static const struct cn_option sft_options[] = {
    {FIELD(supervised, steps), INT(0, 1e9), IS "0", SAFE, .unit = "optimizer steps", .help = "length of the run"},
    {FIELD(supervised, rows), SUPERVISED_ROWS},
    {FIELD(supervised, lr), SUPERVISED_LR},
    {FIELD(supervised, warmup_steps), SUPERVISED_WARMUP},
    {FIELD(supervised, validation), REAL(0, 0.5), IS "0", .help = "share of the rows that is held out for the validation loss"},
    {FIELD(supervised, every), INT(0, 1e9), IS "50", SAFE, .unit = "optimizer steps", .help = "steps between validations"},
    {0}};
// clang-format on

#define service_options cn_service_options /* rewards/service owns that table */

const struct settings_section settings_sections[] = {
#define X(name, type, text) {#name, text, name##_options, offsetof(struct settings, name)},
    SETTINGS_SECTIONS(X)
#undef X
        {0}};

static enum cn_status check_betas(const char *section, const struct cn_reals *betas)
{
    if (betas->count != 2)
        return cn_fail(CN_ERR_CONFIG, "%s.betas needs two numbers, found %zu", section,
                       betas->count);
    for (size_t i = 0; i < 2; i++)
        if (betas->value[i] >= 1)
            return cn_fail(CN_ERR_CONFIG, "%s.betas has %g: both must be below 1", section,
                           betas->value[i]);
    return CN_OK;
}

static enum cn_status check_together(const struct settings *s)
{
    if (!s->run.dir[0] || !s->run.name[0])
        return cn_fail(CN_ERR_CONFIG, "run.%s is empty: it names the run's folder",
                       s->run.dir[0] ? "name" : "dir");
    int64_t sequences = s->train.prompts * s->train.samples;
    if (sequences % s->train.mini_batches)
        return cn_fail(CN_ERR_CONFIG,
                       "train.mini_batches=%lld does not divide train.prompts x train.samples = "
                       "%lld x %lld = %lld sequences",
                       (long long)s->train.mini_batches, (long long)s->train.prompts,
                       (long long)s->train.samples, (long long)sequences);
    for (size_t i = 0; i < s->rollout.stop.count; i++)
        if (!s->rollout.stop.value[i][0])
            return cn_fail(CN_ERR_CONFIG,
                           "rollout.stop.%zu is empty: every answer would end at "
                           "its first token",
                           i);
    CN_TRY(check_betas("optimizer", &s->optimizer.betas));
    CN_TRY(check_betas("critic_optimizer", &s->critic_optimizer.betas));
    if (s->critic.path && s->critic.type == SETTINGS_CRITIC_HEAD)
        return cn_fail(CN_ERR_CONFIG,
                       "critic.path=%s names a second model, but critic.type=head puts the values "
                       "on the policy: use critic.type=model, or clear the path with null",
                       s->critic.path);
    if (s->parallel.max_staleness > 0 && s->parallel.rollout_ranks == 0)
        return cn_fail(
            CN_ERR_CONFIG,
            "parallel.max_staleness=%lld lets sampling run ahead, which needs ranks that "
            "do nothing else: set parallel.rollout_ranks, or max_staleness to 0",
            (long long)s->parallel.max_staleness);
    for (size_t i = 0; i < s->eval.k.count; i++)
        if (s->eval.k.value[i] > (double)s->eval.samples ||
            s->eval.k.value[i] != floor(s->eval.k.value[i]))
            return cn_fail(CN_ERR_CONFIG,
                           "eval.k has %g: pass@k needs whole k of at most eval.samples = %lld",
                           s->eval.k.value[i], (long long)s->eval.samples);
    if (s->model.path && s->model.init)
        return cn_fail(CN_ERR_CONFIG, "model.path and model.init exclude each other: weights come "
                                      "from a folder or from a random start; clear one with null");
    return CN_OK;
}

enum cn_status settings_read(const struct cn_json *root, struct cn_arena *arena,
                             struct settings *out)
{
    for (const struct settings_section *section = settings_sections; section->name; section++)
        CN_TRY(cn_option_read(section->options, cn_json_get(root, section->name), section->name,
                              NULL, arena, (char *)out + section->offset));
    struct settings_train_file *files;
    struct settings_eval_set *sets;
    struct settings_frozen frozen;
    size_t n;
    CN_TRY(settings_train_files(&out->data, arena, &files, &n));
    CN_TRY(settings_eval_sets(&out->data, arena, &sets, &n));
    CN_TRY(settings_frozen(&out->model, arena, &frozen));
    return check_together(out);
}
