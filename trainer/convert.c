/* carnot convert: a GGUF file, or a Hugging Face folder, -> a Hugging Face folder in a chosen
 * dtype. */
#include "convert.h"

#include "command.h"

#include "carnot/log.h"
#include "model/dtype.h"
#include "model/gguf.h"
#include "model/safetensors.h"
#include "model/shape.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct arguments {
    const char *source, *folder;
    enum cn_dtype dtype;
    bool tokenizer;
};

/* Where tensor data come from: one of the two is set. */
struct source {
    struct gguf *gguf;
    struct safetensors *safetensors;
    struct model_shape shape;
    const struct shape_tensor *tensor; /* [n] */
    size_t n;
};

/* Files of a Hugging Face folder that belong to the tokenizer or say how to generate: copied as
 * they are. */
static const char *const companions[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "generation_config.json",
    "LICENSE",
    "README.md",
};

static enum cn_status load_tensor(void *context, size_t index, float *out)
{
    const struct source *s = context;
    const struct shape_tensor *t = &s->tensor[index];
    if (s->gguf) return gguf_read_tensor(s->gguf, &s->shape, t, out);
    return safetensors_read_f32(s->safetensors, t->name, t->rank, t->shape, out);
}

static enum cn_status write_weights(struct source *s, enum cn_dtype dtype, const char *folder,
                                    struct cn_arena *arena)
{
    struct cn_buffer *tensors;
    CN_TRY(CN_NEW(arena, s->n, &tensors));
    for (size_t i = 0; i < s->n; i++) {
        const struct shape_tensor *t = &s->tensor[i];
        tensors[i].name = t->name;
        tensors[i].dtype = CN_DTYPE_F32;
        tensors[i].rank = t->rank;
        memcpy(tensors[i].shape, t->shape, sizeof t->shape);
        tensors[i].count = t->count;
        tensors[i].device = -1;
    }
    const struct safetensors_target target = {
        .path = folder, .dtype = dtype, .load = load_tensor, .context = s};
    return safetensors_save(&target, tensors, s->n);
}

/* Every tensor of the file must have a place in the model, or the model would not be what the file
 * says. */
static enum cn_status check_nothing_left(const struct source *s)
{
    size_t n, extra = gguf_find(s->gguf, "rope_freqs.weight") ? 1 : 0;
    const struct gguf_tensor *tensors = gguf_tensors(s->gguf, &n);
    if (n == s->n + extra) return CN_OK;
    return cn_fail(
        CN_ERR_MODEL,
        "%s: %zu tensors (first %s), but a %s model of this shape has %zu: not supported",
        gguf_path(s->gguf), n, n ? tensors[0].name : "none", shape_family_name(s->shape.family),
        s->n + extra);
}

/* The same for a folder; what transformers ignores is ignored. */
static enum cn_status check_all_known(const struct source *s, const char *folder)
{
    static const char ignored[] = ".rotary_emb.inv_freq";
    size_t n;
    const struct cn_buffer *found = safetensors_tensors(s->safetensors, &n);
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(found[i].name), suffix = sizeof ignored - 1;
        bool known = (s->shape.tied && strcmp(found[i].name, "lm_head.weight") == 0) ||
                     (length >= suffix && strcmp(found[i].name + length - suffix, ignored) == 0);
        for (size_t j = 0; j < s->n && !known; j++)
            known = strcmp(found[i].name, s->tensor[j].name) == 0;
        if (!known)
            return cn_fail(
                CN_ERR_MODEL,
                "%s: tensor %s has no place in a %s model of %zu layers: config.json and "
                "weights do not fit",
                folder, found[i].name, shape_family_name(s->shape.family), s->shape.layers);
    }
    return CN_OK;
}

static enum cn_status copy_file(const char *from_folder, const char *to_folder, const char *name)
{
    struct cn_str from = {0}, to = {0}, data = {0};
    enum cn_status status = CN_OK;
    CN_TRY_GOTO(cn_str_format(&from, "%s/%s", from_folder, name), out);
    CN_TRY_GOTO(cn_str_format(&to, "%s/%s", to_folder, name), out);
    if (access(from.data, F_OK) != 0) goto out;
    CN_TRY_GOTO(cn_file_read(from.data, (size_t)1 << 30, &data), out);
    status = cn_file_replace(to.data, data.data, data.length);
out:
    cn_str_free(&data);
    cn_str_free(&to);
    cn_str_free(&from);
    return status;
}

static enum cn_status convert_gguf(const struct arguments *a, struct source *s,
                                   struct cn_arena *arena)
{
    CN_TRY(gguf_open(a->source, &s->gguf));
    CN_TRY(gguf_shape(s->gguf, &s->shape));
    CN_TRY(shape_tensors(&s->shape, arena, &s->tensor, &s->n));
    CN_TRY(check_nothing_left(s));
    CN_TRY(cn_folder_make(a->folder));
    if (a->tokenizer) CN_TRY(convert_tokenizer(s->gguf, &s->shape, a->folder));
    CN_TRY(write_weights(s, a->dtype, a->folder, arena));
    return shape_save(&s->shape, NULL, a->dtype, a->folder);
}

static enum cn_status convert_folder(const struct arguments *a, struct source *s,
                                     struct cn_arena *arena)
{
    char from[PATH_MAX], to[PATH_MAX];
    CN_TRY(shape_read(a->source, &s->shape));
    CN_TRY(safetensors_open(a->source, &s->safetensors));
    CN_TRY(shape_tensors(&s->shape, arena, &s->tensor, &s->n));
    CN_TRY(check_all_known(s, a->source));
    CN_TRY(cn_folder_make(a->folder));
    if (realpath(a->source, from) && realpath(a->folder, to) && strcmp(from, to) == 0)
        return cn_fail(CN_ERR_CONFIG, "source and destination are the same folder %s", to);
    for (size_t i = 0; a->tokenizer && i < sizeof companions / sizeof *companions; i++)
        CN_TRY(copy_file(a->source, a->folder, companions[i]));
    CN_TRY(write_weights(s, a->dtype, a->folder, arena));
    return shape_save(&s->shape, a->source, a->dtype, a->folder);
}

static enum cn_status read_arguments(int argc, char **argv, struct arguments *out)
{
    struct arguments a = {.dtype = CN_DTYPE_BF16, .tokenizer = true};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-tokenizer") == 0) {
            a.tokenizer = false;
        } else if (strcmp(argv[i], "--dtype") == 0) {
            const char *word = i + 1 < argc ? argv[++i] : "";
            if (strcmp(word, "bf16") == 0)
                a.dtype = CN_DTYPE_BF16;
            else if (strcmp(word, "f16") == 0)
                a.dtype = CN_DTYPE_F16;
            else if (strcmp(word, "f32") == 0)
                a.dtype = CN_DTYPE_F32;
            else
                return cn_fail(CN_ERR_CONFIG, "--dtype is \"%s\"; allowed are bf16, f16 and f32",
                               word);
        } else if (argv[i][0] == '-') {
            return cn_fail(CN_ERR_CONFIG, "unknown option %s of carnot convert; see --help",
                           argv[i]);
        } else if (!a.source) {
            a.source = argv[i];
        } else if (!a.folder) {
            a.folder = argv[i];
        } else {
            return cn_fail(CN_ERR_CONFIG,
                           "carnot convert takes one source and one folder, not also %s", argv[i]);
        }
    }
    if (!a.folder)
        return cn_fail(CN_ERR_CONFIG, "carnot convert needs a source and a folder; see --help");
    *out = a;
    return CN_OK;
}

/* config.json is written last: where it is, a conversion has finished. */
static enum cn_status refuse_finished(const char *folder)
{
    struct cn_str path = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_str_format(&path, "%s/config.json", folder), out);
    if (access(path.data, F_OK) == 0)
        status = cn_fail(CN_ERR_CONFIG, "%s exists: choose another folder, or remove that model",
                         path.data);
out:
    cn_str_free(&path);
    return status;
}

static enum cn_status run(int argc, char **argv)
{
    struct arguments a = {0};
    struct source source = {0};
    struct cn_arena arena;
    struct stat info;
    enum cn_status status;
    CN_TRY(read_arguments(argc, argv, &a));
    if (stat(a.source, &info) != 0)
        return cn_fail(CN_ERR_IO, "cannot open %s: %s", a.source, strerror(errno));
    CN_TRY(refuse_finished(a.folder));
    cn_arena_init(&arena);
    if (S_ISDIR(info.st_mode))
        status = convert_folder(&a, &source, &arena);
    else
        status = convert_gguf(&a, &source, &arena);
    if (status == CN_OK)
        cn_log_info("%s: %s, %zu parameters in %s", a.folder,
                    shape_family_name(source.shape.family), shape_parameters(&source.shape),
                    dtype_torch_name(a.dtype));
    gguf_close(source.gguf);
    safetensors_close(source.safetensors);
    cn_arena_free(&arena);
    return status;
}

const struct cn_command command_convert = {
    .name = "convert",
    .summary = "a GGUF file or a model folder -> a Hugging Face folder",
    .usage = "usage: carnot convert SOURCE FOLDER [--dtype bf16|f16|f32] [--no-tokenizer]\n"
             "\n"
             "SOURCE is a .gguf file (llama, qwen2, qwen3; F32, F16, BF16, Q4_0, Q4_1, Q8_0) or a "
             "Hugging\n"
             "Face folder.  FOLDER gets config.json, model.safetensors and the tokenizer's files; "
             "it must\n"
             "not hold a model yet.\n"
             "\n"
             "  --dtype D        of the weights that are written (bf16)\n"
             "  --no-tokenizer   leave the tokenizer's files out\n",
    .run = run,
};
