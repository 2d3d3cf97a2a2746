/* A folder of this process with the files of a tokenizer, for the tests of trainer/text. */
#ifndef CARNOT_TEXT_FOLDER_H
#define CARNOT_TEXT_FOLDER_H

#include "check.h"

#include "carnot/tokenizer.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static inline const char *scratch_folder(void)
{
    static char path[64];
    snprintf(path, sizeof path, "%s.%d", program_invocation_short_name, (int)getpid());
    return path;
}

static inline void write_in(const char *folder, const char *name, struct cn_text text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mkdir(folder, 0777);
    FILE *file = fopen(path, "w");
    if (!file || fwrite(text.data, 1, text.length, file) != text.length)
        CHECK_FAILED("cannot write %s", path);
    if (file) fclose(file);
}

static inline void clean_up(const char *folder)
{
    static const char *const names[] = {"tokenizer.json",          "tokenizer_config.json",
                                        "special_tokens_map.json", "generation_config.json",
                                        "chat_template.jinja",     "config.json"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* Opens a folder that holds this tokenizer.json and, if not NULL, this tokenizer_config.json. */
static inline enum cn_status open_text(struct cn_text tokenizer, const char *config,
                                       struct cn_tokenizer **out)
{
    const char *folder = scratch_folder();
    write_in(folder, "tokenizer.json", tokenizer);
    if (config) write_in(folder, "tokenizer_config.json", cn_text(config));
    enum cn_status status = cn_tokenizer_open(folder, "auto", out);
    clean_up(folder);
    return status;
}

#endif
