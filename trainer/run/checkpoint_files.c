/* Checksums of a checkpoint.
 *
 * Four lanes of 64-bit words, multiplied and rotated: about the speed of memory, and any change of
 * a byte or of a length changes the sum.  It tells damage, not forgery. */
#include "checkpoint_files.h"

#include "carnot/json.h"
#include "carnot/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LANES = 4, STRIPE = LANES * 8, BLOCK = 1 << 20, NAMES = 256, LIST_LIMIT = 1 << 22 };
static const char list_name[] = "state/files.json";

struct sum {
    uint64_t lane[LANES], bytes;
};

static uint64_t turn(uint64_t x)
{
    return x << 29 | x >> 35;
}

/* n is a multiple of STRIPE but at the end of a file, where zeros fill the last stripe. */
static void add(struct sum *sum, const unsigned char *data, size_t n)
{
    unsigned char last[STRIPE] = {0};
    size_t i = 0;
    sum->bytes += n;
    for (; i + STRIPE <= n; i += STRIPE)
        for (int k = 0; k < LANES; k++) {
            uint64_t word;
            memcpy(&word, data + i + 8 * k, 8);
            sum->lane[k] = turn((sum->lane[k] ^ word) * 0x9E3779B97F4A7C15u);
        }
    if (i == n) return;
    memcpy(last, data + i, n - i);
    const uint64_t before = sum->bytes;
    add(sum, last, STRIPE);
    sum->bytes = before;
}

static uint64_t value(const struct sum *sum)
{
    uint64_t hash = sum->bytes;
    for (int k = 0; k < LANES; k++)
        hash = turn((hash ^ sum->lane[k]) * 0xBF58476D1CE4E5B9u);
    return hash ^ hash >> 31;
}

static enum cn_status sum_file(const char *path, struct sum *sum)
{
    unsigned char *block = malloc(BLOCK);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    enum cn_status status = CN_OK;
    memset(sum, 0, sizeof *sum);
    if (!block) status = cn_fail(CN_ERR_MEMORY, "out of memory: checksum of %s", path);
    if (status == CN_OK && file < 0)
        status =
            cn_fail(errno == ENOENT ? CN_ERR_DATA : CN_ERR_IO, "%s: %s", path, strerror(errno));
    for (size_t have = 0; status == CN_OK;) {
        ssize_t n = read(file, block + have, BLOCK - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = cn_fail(CN_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        have += n > 0 ? (size_t)n : 0;
        if (n > 0 && have < BLOCK) continue;
        add(sum, block, have);
        have = 0;
        if (n <= 0) break;
    }
    if (file >= 0) close(file);
    free(block);
    return status;
}

/* ---- the list ------------------------------------------------------------ */

/* Where a checkpoint's files are. */
static const char *const places[] = {"", "state/", "last/", "critic/", "critic/state/"};

/* Names of files, with the place before them. */
struct names {
    char item[NAMES][300];
    size_t count;
};

/* The regular files of folder/inside; none if that is not there. */
static enum cn_status collect(const char *folder, const char *inside, struct names *names)
{
    char path[4096];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", folder, inside);
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return CN_OK;
    if (!dir) return cn_fail(CN_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(dir));) {
        if (names->count == NAMES) break;
        char *name = names->item[names->count];
        snprintf(name, sizeof names->item[0], "%s%s", inside, e->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && strcmp(name, list_name) != 0)
            names->count++;
    }
    closedir(dir);
    if (names->count < NAMES) return CN_OK;
    return cn_fail(CN_ERR_IO, "%s holds %d files or more: that is no checkpoint", folder, NAMES);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static enum cn_status describe(const char *folder, const struct names *names, struct cn_str *out)
{
    char path[4096];
    CN_TRY(cn_str_add(out, "{\n  \"format\": 1,\n  \"files\": {\n"));
    for (size_t i = 0; i < names->count; i++) {
        struct sum sum;
        snprintf(path, sizeof path, "%s/%s", folder, names->item[i]);
        CN_TRY(sum_file(path, &sum));
        CN_TRY(cn_str_format(out, "%s    \"%s\": \"%" PRIu64 " %016" PRIx64 "\"", i ? ",\n" : "",
                             names->item[i], sum.bytes, value(&sum)));
    }
    return cn_str_add(out, "\n  }\n}\n");
}

enum cn_status checkpoint_seal(const char *folder)
{
    struct names *names = calloc(1, sizeof *names);
    struct cn_str text = {0};
    char path[4096];
    if (!names) return cn_fail(CN_ERR_MEMORY, "out of memory: files of a checkpoint");
    enum cn_status status = CN_OK;
    for (size_t i = 0; status == CN_OK && i < sizeof places / sizeof *places; i++)
        status = collect(folder, places[i], names);
    if (status == CN_OK) qsort(names->item, names->count, sizeof names->item[0], by_name);
    if (status == CN_OK) status = describe(folder, names, &text);
    snprintf(path, sizeof path, "%s/%s", folder, list_name);
    if (status == CN_OK) status = cn_file_replace(path, text.data, text.length);
    cn_str_free(&text);
    free(names);
    return status;
}

static enum cn_status verify_file(const char *folder, const char *name, const char *expected)
{
    char path[4096], found[64];
    struct sum sum;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CN_TRY(sum_file(path, &sum));
    snprintf(found, sizeof found, "%" PRIu64 " %016" PRIx64, sum.bytes, value(&sum));
    if (strcmp(found, expected) == 0) return CN_OK;
    if (strtoull(expected, NULL, 10) != sum.bytes)
        return cn_fail(CN_ERR_DATA, "%s has %" PRIu64 " bytes, %llu were written", path, sum.bytes,
                       strtoull(expected, NULL, 10));
    return cn_fail(CN_ERR_DATA, "%s holds other bytes than were written", path);
}

enum cn_status checkpoint_verify(const char *folder)
{
    char path[4096];
    struct cn_str text = {0};
    struct cn_json *list = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, list_name);
    enum cn_status status = cn_file_read(path, LIST_LIMIT, &text);
    if (status == CN_OK) status = cn_json_parse(cn_str_text(&text), path, &list);
    cn_str_free(&text);
    CN_TRY(status);
    const struct cn_json *files = cn_json_get(list, "files");
    if (cn_json_count(files) == 0) status = cn_fail(CN_ERR_DATA, "%s lists no files", path);
    for (const struct cn_json *m = cn_json_first(files); m && status == CN_OK; m = cn_json_next(m))
        status = verify_file(folder, cn_json_key(m), cn_json_text(m).data);
    cn_json_close(list);
    return status;
}
