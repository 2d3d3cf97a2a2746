/* May a run that was started with one configuration go on with another? */
#include "config_parts.h"

#include "carnot/log.h"

#include <string.h>

struct comparison {
    const struct cn_json *before;
    struct cn_str differences;
};

/* Notes a value that differs and must not; a key that the older tree does not have is a newer
 * Carnot's. */
static enum cn_status compare(void *self, const struct config_value *value)
{
    struct comparison *c = self;
    const struct cn_json *old = config_find(c->before, value->path);
    if (!old || (value->option && value->option->safe_on_resume)) return CN_OK;
    struct cn_str was = {0}, is = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_json_print(old, false, &was), out);
    CN_TRY_GOTO(cn_json_print(value->value, false, &is), out);
    if (strcmp(was.data, is.data) != 0)
        status = cn_str_format(&c->differences, "%s%s = %s (%s), was %s",
                               c->differences.length ? "; " : "", value->path, is.data,
                               value->where, was.data);
out:
    cn_str_free(&is);
    cn_str_free(&was);
    return status;
}

enum cn_status config_check_resume(struct config *config, const struct cn_json *before,
                                   const char *name, bool force)
{
    struct comparison c = {.before = before};
    enum cn_status status = config_each(config, compare, &c);
    if (status == CN_OK && c.differences.length && force)
        cn_log_warn("%s goes on with another configuration (--force): %s", name,
                    c.differences.data);
    else if (status == CN_OK && c.differences.length)
        status = cn_fail(CN_ERR_CONFIG,
                         "%s cannot be continued with another configuration: %s; give the old "
                         "values, start a new run with another run.dir or run.name, or --force",
                         name, c.differences.data);
    cn_str_free(&c.differences);
    return status;
}
