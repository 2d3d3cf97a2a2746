/* Option tables: from JSON members to the fields of a settings struct, with every check that a
 * table allows. */
#include "carnot/option.h"

#include "carnot/nearest.h"

#include <math.h>
#include <string.h>

/* One value on its way into a field of the settings; without `arena` it is only checked. */
struct reading {
    const struct cn_option *option;
    const char *path;
    struct cn_arena *arena;
    char *field;
};

static const double exact_integers =
    9007199254740992.0; /* 2^53: beyond it a double skips integers */

/* ---- what a table says --------------------------------------------------- */

const struct cn_option *cn_option_find(const struct cn_option *table, const char *name)
{
    for (const struct cn_option *o = table; o && o->name; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

static bool limited(const struct cn_option *option)
{
    return option->minimum != 0 || option->maximum != 0;
}

static enum cn_status describe_range(const struct cn_option *option, struct cn_str *out)
{
    if (limited(option)) {
        CN_TRY(cn_str_add(out, isinf(option->minimum) ? " up to " : " from "));
        if (!isinf(option->minimum)) CN_TRY(cn_json_real(out, option->minimum, 17));
        if (!isinf(option->minimum) && isinf(option->maximum))
            CN_TRY(cn_str_add(out, " up"));
        else if (!isinf(option->minimum))
            CN_TRY(cn_str_add(out, " to "));
        if (!isinf(option->maximum)) CN_TRY(cn_json_real(out, option->maximum, 17));
    }
    if (option->unit) CN_TRY(cn_str_format(out, " %s", option->unit));
    return CN_OK;
}

enum cn_status cn_option_describe(const struct cn_option *option, struct cn_str *out)
{
    static const char *const kinds[] = {
        [CN_OPTION_END] = "nothing",
        [CN_OPTION_BOOL] = "true or false",
        [CN_OPTION_INT] = "a whole number",
        [CN_OPTION_REAL] = "a number",
        [CN_OPTION_TEXT] = "a text",
        [CN_OPTION_CHOICE] = "one of",
        [CN_OPTION_REALS] = "a list of numbers",
        [CN_OPTION_TEXTS] = "a list of texts",
        [CN_OPTION_JSON] = "any JSON",
    };
    CN_TRY(cn_str_add(out, kinds[option->kind]));
    if (option->kind == CN_OPTION_CHOICE) {
        CN_TRY(cn_str_add(out, " "));
        for (const char *c = option->choices; *c; c++)
            CN_TRY(cn_str_append(out, *c == ' ' ? ", " : c, *c == ' ' ? 2 : 1));
    }
    CN_TRY(describe_range(option, out));
    return option->nullable ? cn_str_add(out, " or null") : CN_OK;
}

/* Index of a word in `choices`, or -1. */
static int choice_index(const char *choices, struct cn_text word)
{
    int index = 0;
    for (const char *c = choices; *c; index++) {
        size_t length = strcspn(c, " ");
        if (cn_text_equal((struct cn_text){c, length}, word)) return index;
        c += length;
        c += strspn(c, " ");
    }
    return -1;
}

/* ---- complaints ---------------------------------------------------------- */

static enum cn_status add_nearest_choice(const struct cn_option *option,
                                         const struct cn_json *value, struct cn_str *why)
{
    char words[512];
    if (cn_json_kind(value) != CN_JSON_TEXT || strlen(option->choices) >= sizeof words)
        return CN_OK;
    strcpy(words, option->choices);
    struct cn_nearest nearest = {.word = cn_json_text(value).data};
    char *rest = NULL;
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        cn_nearest_offer(&nearest, w);
    const char *best = cn_nearest_found(&nearest);
    return best ? cn_str_format(why, "; nearest is \"%s\"", best) : CN_OK;
}

/* What stands between a path and a name: a dot, but nothing behind the dashes of a flag. */
static const char *separator(const char *path)
{
    const size_t length = strlen(path);
    return length && path[length - 1] != '-' ? "." : "";
}

/* Fails with "path.name = value: expected ...". */
static enum cn_status refuse(const struct reading *r, const struct cn_json *value)
{
    enum { SHOWN = 80 };
    struct cn_str shown = {0}, why = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_json_print(value, false, &shown), out);
    if (shown.length > SHOWN) {
        shown.length = SHOWN;
        CN_TRY_GOTO(cn_str_add(&shown, " ..."), out);
    }
    CN_TRY_GOTO(cn_option_describe(r->option, &why), out);
    if (r->option->kind == CN_OPTION_CHOICE)
        CN_TRY_GOTO(add_nearest_choice(r->option, value, &why), out);
    status = cn_fail(CN_ERR_CONFIG, "%s%s%s = %s: expected %s", r->path, separator(r->path),
                     r->option->name, shown.data, why.data);
out:
    cn_str_free(&why);
    cn_str_free(&shown);
    return status;
}

static enum cn_status refuse_key(const struct cn_option *table, const char *key, const char *path,
                                 const char *const *ignore)
{
    struct cn_nearest nearest = {.word = key};
    for (const struct cn_option *o = table; o && o->name; o++)
        cn_nearest_offer(&nearest, o->name);
    for (; ignore && *ignore; ignore++)
        cn_nearest_offer(&nearest, *ignore);
    const char *best = cn_nearest_found(&nearest);
    return cn_fail(CN_ERR_CONFIG, "%s%s%s: unknown key%s%s%s", path, separator(path), key,
                   best ? "; nearest is \"" : "", best ? best : "", best ? "\"" : "");
}

/* ---- one value ----------------------------------------------------------- */

static bool in_range(const struct cn_option *option, double value)
{
    return !limited(option) || (value >= option->minimum && value <= option->maximum);
}

static enum cn_status read_number(const struct reading *r, const struct cn_json *value)
{
    double number = cn_json_number(value);
    bool whole = r->option->kind == CN_OPTION_INT;
    if (cn_json_kind(value) != CN_JSON_NUMBER || !in_range(r->option, number))
        return refuse(r, value);
    if (whole && (number != floor(number) || fabs(number) > exact_integers))
        return refuse(r, value);
    if (!r->field) return CN_OK;
    if (whole)
        *(int64_t *)r->field = (int64_t)number;
    else
        *(double *)r->field = number;
    return CN_OK;
}

/* A text without zero bytes, copied to the arena. */
static enum cn_status read_text(const struct reading *r, const struct cn_json *whole,
                                const struct cn_json *value, const char **out)
{
    struct cn_text text = cn_json_text(value);
    if (cn_json_kind(value) != CN_JSON_TEXT || memchr(text.data, 0, text.length))
        return refuse(r, whole);
    char *copy = NULL;
    if (r->field) CN_TRY(cn_arena_text(r->arena, text.data, text.length, &copy));
    *out = copy;
    return CN_OK;
}

static enum cn_status read_reals(const struct reading *r, const struct cn_json *value)
{
    if (cn_json_kind(value) != CN_JSON_LIST) return refuse(r, value);
    size_t count = cn_json_count(value), i = 0;
    double *numbers = NULL;
    if (r->field) CN_TRY(CN_NEW(r->arena, count, &numbers));
    for (const struct cn_json *n = cn_json_first(value); n; n = cn_json_next(n), i++) {
        if (cn_json_kind(n) != CN_JSON_NUMBER || !in_range(r->option, cn_json_number(n)))
            return refuse(r, value);
        if (numbers) numbers[i] = cn_json_number(n);
    }
    if (r->field) *(struct cn_reals *)r->field = (struct cn_reals){numbers, count};
    return CN_OK;
}

static enum cn_status read_texts(const struct reading *r, const struct cn_json *value)
{
    if (cn_json_kind(value) != CN_JSON_LIST) return refuse(r, value);
    size_t count = cn_json_count(value), i = 0;
    const char **texts = NULL, *text = NULL;
    if (r->field) CN_TRY(CN_NEW(r->arena, count, &texts));
    for (const struct cn_json *n = cn_json_first(value); n; n = cn_json_next(n), i++) {
        CN_TRY(read_text(r, value, n, &text));
        if (texts) texts[i] = text;
    }
    if (r->field) *(struct cn_texts *)r->field = (struct cn_texts){texts, count};
    return CN_OK;
}

static enum cn_status read_null(const struct reading *r)
{
    CN_BUG_IF(r->option->kind != CN_OPTION_REAL && r->option->kind != CN_OPTION_TEXT &&
              r->option->kind != CN_OPTION_JSON);
    if (!r->field) return CN_OK;
    if (r->option->kind == CN_OPTION_REAL)
        *(double *)r->field = (double)NAN;
    else
        *(const void **)r->field = NULL;
    return CN_OK;
}

static enum cn_status read_value(const struct reading *r, const struct cn_json *value)
{
    const struct cn_option *option = r->option;
    if (cn_json_kind(value) == CN_JSON_NULL)
        return option->nullable ? read_null(r) : refuse(r, value);
    switch (option->kind) {
    case CN_OPTION_BOOL:
        if (cn_json_kind(value) != CN_JSON_BOOL) return refuse(r, value);
        if (r->field) *(bool *)r->field = cn_json_bool(value);
        return CN_OK;
    case CN_OPTION_INT:
    case CN_OPTION_REAL:
        return read_number(r, value);
    case CN_OPTION_TEXT: {
        const char *text = NULL;
        CN_TRY(read_text(r, value, value, &text));
        if (r->field) *(const char **)r->field = text;
        return CN_OK;
    }
    case CN_OPTION_CHOICE: {
        int index = choice_index(option->choices, cn_json_text(value));
        if (cn_json_kind(value) != CN_JSON_TEXT || index < 0) return refuse(r, value);
        if (r->field) *(int *)r->field = index;
        return CN_OK;
    }
    case CN_OPTION_REALS:
        return read_reals(r, value);
    case CN_OPTION_TEXTS:
        return read_texts(r, value);
    case CN_OPTION_JSON:
        if (r->field) *(const struct cn_json **)r->field = value;
        return CN_OK;
    default:
        CN_BUG_IF(true);
    }
}

/* ---- a whole table ------------------------------------------------------- */

static enum cn_status read_fallback(const struct reading *r)
{
    if (r->option->kind == CN_OPTION_JSON) {
        CN_BUG_IF(strcmp(r->option->fallback, "null") != 0);
        return r->field ? (*(const struct cn_json **)r->field = NULL, CN_OK) : CN_OK;
    }
    struct cn_json *value;
    CN_TRY(cn_json_parse(cn_text(r->option->fallback), r->option->name, &value));
    enum cn_status status = read_value(r, value);
    cn_json_close(value);
    return status;
}

enum cn_status cn_option_check(const struct cn_option *option, const struct cn_json *value,
                               const char *path)
{
    struct reading r = {.option = option, .path = path};
    if (cn_json_kind(value) == CN_JSON_NULL && !option->nullable) return read_fallback(&r);
    return read_value(&r, value);
}

static bool contains(const char *const *words, const char *word)
{
    for (; words && *words; words++)
        if (strcmp(*words, word) == 0) return true;
    return false;
}

enum cn_status cn_option_read(const struct cn_option *table, const struct cn_json *object,
                              const char *path, const char *const *ignore, struct cn_arena *arena,
                              void *settings)
{
    if (object && cn_json_kind(object) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_CONFIG, "%s: expected an object of options", path);
    for (const struct cn_json *m = cn_json_first(object); m; m = cn_json_next(m))
        if (!cn_option_find(table, cn_json_key(m)) && !contains(ignore, cn_json_key(m)))
            return refuse_key(table, cn_json_key(m), path, ignore);
    for (const struct cn_option *o = table; o && o->name; o++) {
        struct reading r = {o, path, arena, (char *)settings + o->offset};
        const struct cn_json *value = cn_json_get(object, o->name);
        bool absent = !value || (cn_json_kind(value) == CN_JSON_NULL && !o->nullable);
        CN_TRY(absent ? read_fallback(&r) : read_value(&r, value));
    }
    return CN_OK;
}
