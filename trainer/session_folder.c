/* Commands that take a model's folder: sample and score. */
#include "session.h"

#include "config/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum cn_status session_check_folder(const char *key, const char *folder)
{
    struct stat info;
    if (stat(folder, &info) != 0 && errno == ENOENT)
        return cn_fail(CN_ERR_DATA, "%s=%s: there is no such folder", key, folder);
    if (stat(folder, &info) != 0)
        return cn_fail(CN_ERR_DATA, "%s=%s: %s", key, folder, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return cn_fail(CN_ERR_DATA,
                       "%s=%s is a file, not a Hugging Face folder (carnot convert makes one of a "
                       "GGUF file)",
                       key, folder);
    return CN_OK;
}

static bool has_tokenizer(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    return access(path, F_OK) == 0;
}

enum cn_status session_open_folder(struct session *s, const struct session_call *call, int argc,
                                   char **argv)
{
    const char *path[1];
    struct arguments arguments = {.table = call->options, .positional = path, .n_positional = 1};
    CN_TRY(arguments_read(&arguments, argc, argv, &s->arena, call->settings));
    if (arguments.found != 1)
        return cn_fail(CN_ERR_CONFIG, "%s needs a model folder; see carnot %s --help",
                       call->command, call->command);
    s->folder = call->folder;
    const bool bf16 = strcmp(s->folder->dtype, "bf16") == 0;
    if (!bf16 && strcmp(s->folder->dtype, "f32") != 0)
        return cn_fail(CN_ERR_CONFIG, "--dtype \"%s\": choose f32 or bf16", s->folder->dtype);
    CN_TRY(arguments_check_threads(s->folder->threads));
    const struct cn_model_settings settings = {.type = "torch",
                                               .path = path[0],
                                               .device = s->folder->device,
                                               .dtype = bf16 ? CN_DTYPE_BF16 : CN_DTYPE_F32,
                                               .threads = (int)s->folder->threads};
    CN_TRY(session_check_folder("MODEL", path[0]));
    if (!call->needs_no_text || has_tokenizer(path[0]))
        CN_TRY(cn_tokenizer_open(path[0], s->folder->template_name, &s->tokenizer));
    CN_TRY(cn_model_open(&settings, &s->model));
    return s->tokenizer ? session_check_fit(s) : CN_OK;
}

enum cn_status session_need_sampler(struct session *s, enum cn_engine engine, size_t slots,
                                    size_t needed)
{
    const size_t most = cn_model_info(s->model)->context_length;
    if (s->sampler && needed <= s->context) return CN_OK;
    if (s->sampler) cn_sampler_close(s->sampler);
    s->sampler = NULL;
    s->context = needed > 2 * s->context ? needed : 2 * s->context;
    if (s->context > most) s->context = most;
    const struct cn_sampler_settings settings = {
        .engine = engine,
        .slots = slots,
        .context = s->context,
        .threads = (int)s->folder->threads,
        .dtype = strcmp(s->folder->dtype, "bf16") == 0 ? CN_DTYPE_BF16 : CN_DTYPE_F32};
    return cn_sampler_open(s->model, &settings, &s->sampler);
}
