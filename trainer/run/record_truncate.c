/* A resume makes the run forget the steps behind its checkpoint. */
#include "record.h"

#include "carnot/json.h"
#include "carnot/store.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const size_t rows_limit = (size_t)1 << 32;

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

static enum cn_status delete_file(const char *folder, const char *name)
{
    struct cn_str path = {NULL, 0, 0};
    enum cn_status status = cn_str_format(&path, "%s/%s", folder, name);
    if (status == CN_OK && unlink(path.data) != 0 && errno != ENOENT)
        status = cn_fail(CN_ERR_IO, "cannot delete %s: %s", path.data, strerror(errno));
    cn_str_free(&path);
    return status;
}

/* Whether a file of tokens/ belongs to steps >= first.  What was not named by us stays. */
static enum cn_status judge_segment(const char *folder, const char *name, uint64_t first,
                                    bool *forget)
{
    int attempt, rank, used = 0;
    uint64_t begin, end;
    *forget = strncmp(name, "attempt_", 8) == 0 && ends_with(name, ".tmp");
    if (sscanf(name, "attempt_%d_steps_%" SCNu64 "_%" SCNu64 "_rank_%d%n", &attempt, &begin, &end,
               &rank, &used) != 4)
        return CN_OK;
    if (strcmp(name + used, ".h5") != 0 && strcmp(name + used, ".safetensors") != 0) return CN_OK;
    if (begin < first && end >= first)
        return cn_fail(CN_ERR_DATA,
                       "%s/%s holds steps %" PRIu64 " to %" PRIu64
                       ", but the run goes on at step %" PRIu64
                       ": move the file away, or resume from another checkpoint",
                       folder, name, begin, end, first);
    *forget = begin >= first;
    return CN_OK;
}

static enum cn_status judge_samples(const char *folder, const char *name, uint64_t first,
                                    bool *forget)
{
    uint64_t step;
    int used = 0;
    (void)folder;
    bool ours = sscanf(name, "step_%" SCNu64 ".jsonl%n", &step, &used) == 1 && used && !name[used];
    *forget = ours && step >= first;
    return CN_OK;
}

/* Deletes the files of run/sub that `judge` gives up.  A missing folder is fine.  Nothing is
 * deleted if one file is refused: the first pass only looks. */
static enum cn_status clean_folder(const char *run, const char *sub, uint64_t first,
                                   enum cn_status (*judge)(const char *, const char *, uint64_t,
                                                           bool *))
{
    struct cn_str path = {NULL, 0, 0};
    enum cn_status status = cn_str_format(&path, "%s/%s", run, sub);
    for (int pass = 0; pass < 2 && status == CN_OK; pass++) {
        DIR *dir = opendir(path.data);
        if (!dir && errno == ENOENT) break;
        if (!dir) {
            status =
                cn_fail(CN_ERR_IO, "cannot read the folder %s: %s", path.data, strerror(errno));
            break;
        }
        for (struct dirent *entry; status == CN_OK && (entry = readdir(dir));) {
            bool forget = false;
            status = judge(path.data, entry->d_name, first, &forget);
            if (status == CN_OK && forget && pass == 1)
                status = delete_file(path.data, entry->d_name);
        }
        closedir(dir);
    }
    cn_str_free(&path);
    return status;
}

/* Whether a line of a file of rows is whole and of a step below `first`. */
static bool keep_line(struct cn_text line, uint64_t first)
{
    struct cn_json *row = NULL;
    if (cn_json_parse(line, "rows of a run", &row) != CN_OK) {
        cn_fail_clear(); /* half a line of a killed process */
        return false;
    }
    const struct cn_json *step = cn_json_get(row, "step");
    bool keep = cn_json_kind(step) == CN_JSON_NUMBER && cn_json_number(step) < (double)first;
    cn_json_close(row);
    return keep;
}

static enum cn_status trim_rows(const char *path, uint64_t first)
{
    struct cn_str text = {NULL, 0, 0}, kept = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    if (access(path, F_OK) != 0) return CN_OK;
    CN_TRY_GOTO(cn_file_read(path, rows_limit, &text), out);
    for (size_t at = 0; at < text.length;) {
        const char *end = memchr(text.data + at, '\n', text.length - at);
        if (!end) break; /* without its newline a line is not whole */
        struct cn_text line = {text.data + at, (size_t)(end - text.data) - at};
        if (keep_line(line, first))
            CN_TRY_GOTO(cn_str_append(&kept, line.data, line.length + 1), out);
        at += line.length + 1;
    }
    if (kept.length != text.length)
        CN_TRY_GOTO(cn_file_replace(path, kept.length ? kept.data : "", kept.length), out);
out:
    cn_str_free(&text);
    cn_str_free(&kept);
    return status;
}

enum cn_status record_truncate(const char *folder, uint64_t first)
{
    static const char *const rows[] = {"metrics.jsonl", "bad_batches.jsonl", "warm_start.jsonl"};
    const size_t n = first ? 2 : 3; /* the warm start lies before every step */
    struct cn_str path = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    CN_TRY(clean_folder(folder, "tokens", first, judge_segment));
    CN_TRY(clean_folder(folder, "samples", first, judge_samples));
    for (size_t i = 0; i < n && status == CN_OK; i++) {
        cn_str_clear(&path);
        status = cn_str_format(&path, "%s/%s", folder, rows[i]);
        if (status == CN_OK) status = trim_rows(path.data, first);
    }
    cn_str_free(&path);
    return status;
}
