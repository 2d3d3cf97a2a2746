/* Command-line flags through the same option tables as configuration files. */
#include "arguments.h"

#include <sched.h>
#include <string.h>

/* A value is JSON if it parses as JSON of the kind that the option takes; else it is text. */
static enum cn_status value_of(const struct cn_option *option, const char *text,
                               struct cn_json **out)
{
    const bool is_text =
        option && (option->kind == CN_OPTION_TEXT || option->kind == CN_OPTION_CHOICE);
    if (!is_text && cn_json_parse(cn_text(text), "value", out) == CN_OK) return CN_OK;
    cn_fail_clear();
    if (option && option->kind == CN_OPTION_TEXTS) { /* one text is a list of one */
        struct cn_json *item;
        CN_TRY(cn_json_new(CN_JSON_LIST, out));
        CN_TRY(cn_json_new_text(cn_text(text), &item));
        return cn_json_push(*out, item);
    }
    return cn_json_new_text(cn_text(text), out);
}

static enum cn_status one_flag(const struct arguments *a, char **argv, int argc, int *i,
                               struct cn_json *object)
{
    char name[64];
    const char *flag = argv[*i] + 2, *equals = strchr(flag, '=');
    size_t length = equals ? (size_t)(equals - flag) : strlen(flag);
    if (length >= sizeof name) return cn_fail(CN_ERR_CONFIG, "unknown flag %s", argv[*i]);
    for (size_t c = 0; c < length; c++)
        name[c] = flag[c] == '-' ? '_' : flag[c];
    name[length] = 0;
    const struct cn_option *option = cn_option_find(a->table, name);
    struct cn_json *value;
    if (equals)
        CN_TRY(value_of(option, equals + 1, &value));
    else if (option && option->kind == CN_OPTION_BOOL)
        CN_TRY(cn_json_new_bool(true, &value));
    else if (*i + 1 < argc)
        CN_TRY(value_of(option, argv[++*i], &value));
    else
        return cn_fail(CN_ERR_CONFIG, "flag %s needs a value", argv[*i]);
    return cn_json_set(object, name, value);
}

enum cn_status arguments_read(struct arguments *a, int argc, char **argv, struct cn_arena *arena,
                              void *settings)
{
    struct cn_json *object;
    enum cn_status status = CN_OK;
    CN_TRY(cn_json_new(CN_JSON_OBJECT, &object));
    a->found = 0;
    for (int i = 1; status == CN_OK && i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            status = one_flag(a, argv, argc, &i, object);
        else if (a->found < a->n_positional)
            a->positional[a->found++] = argv[i];
        else
            status = cn_fail(CN_ERR_CONFIG, "unexpected argument \"%s\"", argv[i]);
    }
    if (status == CN_OK) status = cn_option_read(a->table, object, "--", NULL, arena, settings);
    cn_json_close(object);
    return status;
}

bool arguments_take(int *argc, char **argv, const char *flag)
{
    for (int i = 1; i < *argc; i++)
        if (strcmp(argv[i], flag) == 0) {
            memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof *argv);
            --*argc;
            return true;
        }
    return false;
}

int arguments_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

enum cn_status arguments_check_threads(int64_t threads)
{
    const int cores = arguments_cores();
    if (threads <= cores) return CN_OK;
    return cn_fail(CN_ERR_CONFIG,
                   "--threads %lld: this process may use %d core%s (its affinity mask): at most "
                   "as many threads",
                   (long long)threads, cores, cores > 1 ? "s" : "");
}
