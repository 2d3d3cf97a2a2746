/* Data files: an index of their lines, and the order in which a run draws them.
 *
 * Files are mixed by a repeating schedule of at most SCHEDULE_MAX places, in which each file has
 * its share of places, spread evenly; the k-th place of a file in the run is row k of an endless
 * walk through keyed permutations of the file.  So the row of any position is found without the
 * ones before it. */
#include "carnot/data.h"

#include "carnot/rng.h"
#include "row.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1 << 26, SCHEDULE_MAX = 4096 };

struct line {
    size_t start;
    uint32_t length, number;
};

struct data_file {
    char *path;
    const char *text; /* mapped; NULL if empty */
    size_t size;
    struct line *line; /* those that hold a row */
    size_t count, capacity;
    size_t first;  /* index of its first row among all rows */
    size_t places; /* in the schedule */
};

struct cn_data {
    struct data_file *file;
    size_t n_files, n_rows;
    char *system;
    uint16_t *schedule; /* file of each place */
    uint32_t *before;   /* places of that file before this one */
    size_t n_places;
};

static enum cn_status map_file(const char *path, struct data_file *file)
{
    struct stat info;
    file->path = strdup(path);
    if (!file->path) return cn_fail(CN_ERR_MEMORY, "out of memory: a data file");
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) return cn_fail(CN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    enum cn_status status = CN_OK;
    if (fstat(handle, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = cn_fail(CN_ERR_IO, "%s is not a regular file", path);
    } else if (info.st_size > 0) {
        void *text = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, handle, 0);
        if (text == MAP_FAILED) {
            status = cn_fail(CN_ERR_IO, "cannot map %s: %s", path, strerror(errno));
        } else {
            file->text = text;
            file->size = (size_t)info.st_size;
        }
    }
    close(handle);
    return status;
}

static enum cn_status add_line(struct data_file *file, struct line line)
{
    if (file->count == file->capacity) {
        size_t capacity = file->capacity ? 2 * file->capacity : 1024;
        struct line *grown = realloc(file->line, capacity * sizeof *grown);
        if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory: %zu rows", capacity);
        file->line = grown;
        file->capacity = capacity;
    }
    file->line[file->count++] = line;
    return CN_OK;
}

static bool is_blank(const char *p, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (p[i] != ' ' && p[i] != '\t') return false;
    return true;
}

/* "PATH, line N" for messages. */
static enum cn_status read_line(const struct data_file *file, const struct line *line,
                                const char *system, struct cn_arena *arena, struct cn_row *out)
{
    char name[4096];
    snprintf(name, sizeof name, "%s, line %u", file->path, line->number);
    struct cn_text text = {file->text + line->start, line->length};
    CN_TRY(row_read(text, name, system, arena, out));
    out->file = file->path;
    out->line = line->number;
    return CN_OK;
}

/* Finds the lines with text; a byte order mark, carriage returns and blank lines are left out. */
static enum cn_status index_file(struct data_file *file)
{
    if (file->size == 0) return CN_OK;
    const char *p = file->text, *end = p + file->size;
    if (file->size >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) p += 3;
    for (uint32_t number = 1; p < end; number++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        size_t length = (size_t)(stop - p);
        if (length && p[length - 1] == '\r') length--;
        if (length > LINE_BYTES_MAX)
            return cn_fail(CN_ERR_DATA, "%s, line %u: %zu bytes; a row may have at most %d",
                           file->path, number, length, LINE_BYTES_MAX);
        if (number == UINT32_MAX) return cn_fail(CN_ERR_DATA, "%s: too many lines", file->path);
        struct line line = {(size_t)(p - file->text), (uint32_t)length, number};
        if (!is_blank(p, length)) CN_TRY(add_line(file, line));
        p = stop < end ? stop + 1 : end;
    }
    return CN_OK;
}

static enum cn_status check_rows(const struct data_file *file)
{
    struct cn_arena arena;
    struct cn_row row;
    enum cn_status status = CN_OK;
    cn_arena_init(&arena);
    for (size_t i = 0; i < file->count && status == CN_OK; i++) {
        status = read_line(file, &file->line[i], NULL, &arena, &row);
        cn_arena_reset(&arena);
    }
    cn_arena_free(&arena);
    if (status == CN_OK && file->count == 0)
        status = cn_fail(CN_ERR_DATA, "%s has no rows", file->path);
    return status;
}

/* Shares places of a schedule of `n` by largest remainder; returns the largest error of a share. */
static double apportion(struct cn_data *data, const double *share, size_t n)
{
    size_t given = 0;
    double worst = 0;
    for (size_t f = 0; f < data->n_files; f++) {
        data->file[f].places = (size_t)(share[f] * (double)n);
        if (data->file[f].places == 0 && share[f] > 0) data->file[f].places = 1;
        given += data->file[f].places;
    }
    while (given != n) {
        size_t best = 0;
        double most = -INFINITY;
        for (size_t f = 0; f < data->n_files; f++) {
            double missing = share[f] * (double)n - (double)data->file[f].places;
            if (given > n) missing = data->file[f].places > 1 ? -missing : -INFINITY;
            if (share[f] > 0 && missing > most) {
                most = missing;
                best = f;
            }
        }
        if (given < n)
            data->file[best].places++, given++;
        else
            data->file[best].places--, given--;
    }
    for (size_t f = 0; f < data->n_files; f++)
        worst = fmax(worst, fabs(share[f] - (double)data->file[f].places / (double)n));
    return worst;
}

/* Fills the schedule: at each place the file that is furthest behind its share. */
static enum cn_status schedule_make(struct cn_data *data, const double *share)
{
    size_t n = data->n_files, best = SCHEDULE_MAX;
    double least = INFINITY;
    for (; n <= SCHEDULE_MAX && least > 1e-12; n++) {
        double error = apportion(data, share, n);
        if (error < least) {
            least = error;
            best = n;
        }
    }
    apportion(data, share, best);
    data->n_places = best;
    data->schedule = calloc(best, sizeof *data->schedule);
    data->before = calloc(best, sizeof *data->before);
    size_t *given = calloc(data->n_files, sizeof *given);
    if (!data->schedule || !data->before || !given) {
        free(given);
        return cn_fail(CN_ERR_MEMORY, "out of memory: the schedule of data files");
    }
    for (size_t place = 0; place < best; place++) {
        size_t next = 0;
        double most = -INFINITY;
        for (size_t f = 0; f < data->n_files; f++) {
            double behind = (double)data->file[f].places * (double)(place + 1) / (double)best -
                            (double)given[f];
            if (given[f] < data->file[f].places && behind > most) {
                most = behind;
                next = f;
            }
        }
        data->schedule[place] = (uint16_t)next;
        data->before[place] = (uint32_t)given[next]++;
    }
    free(given);
    return CN_OK;
}

static enum cn_status weigh(struct cn_data *data, const double *weights)
{
    double total = 0;
    double *share = calloc(data->n_files, sizeof *share);
    if (!share) return cn_fail(CN_ERR_MEMORY, "out of memory: data files");
    enum cn_status status = CN_OK;
    for (size_t f = 0; f < data->n_files && status == CN_OK; f++) {
        share[f] = weights ? weights[f] : 1;
        total += share[f];
        if (!(share[f] >= 0 && share[f] < 1e300))
            status = cn_fail(CN_ERR_CONFIG, "weight of %s is %g; it must be 0 or more",
                             data->file[f].path, share[f]);
    }
    if (status == CN_OK && !(total > 0 && total < 1e300))
        status = cn_fail(CN_ERR_CONFIG, "all weights of data files are 0");
    for (size_t f = 0; f < data->n_files; f++)
        share[f] /= total;
    if (status == CN_OK) status = schedule_make(data, share);
    free(share);
    return status;
}

static enum cn_status open_files(struct cn_data *data, const char *const *paths, size_t n_files)
{
    for (size_t f = 0; f < n_files; f++) {
        struct data_file *file = &data->file[data->n_files++];
        CN_TRY(map_file(paths[f], file));
        CN_TRY(index_file(file));
        CN_TRY(check_rows(file));
        file->first = data->n_rows;
        data->n_rows += file->count;
    }
    return CN_OK;
}

enum cn_status cn_data_open(const char *const *paths, const double *weights, size_t n_files,
                            const char *system, struct cn_data **out)
{
    if (n_files == 0 || n_files > SCHEDULE_MAX)
        return cn_fail(CN_ERR_CONFIG, "%zu data files; give 1 to %d", n_files, SCHEDULE_MAX);
    struct cn_data *data = calloc(1, sizeof *data);
    enum cn_status status = CN_OK;
    if (data) data->file = calloc(n_files, sizeof *data->file);
    if (data && system) data->system = strdup(system);
    if (!data || !data->file || (system && !data->system))
        status = cn_fail(CN_ERR_MEMORY, "out of memory: data files");
    if (status == CN_OK) status = open_files(data, paths, n_files);
    if (status == CN_OK) status = weigh(data, weights);
    if (status == CN_OK)
        *out = data;
    else
        cn_data_close(data);
    return status;
}

void cn_data_close(struct cn_data *data)
{
    if (!data) return;
    for (size_t f = 0; f < data->n_files; f++) {
        struct data_file *file = &data->file[f];
        if (file->text) munmap((void *)(uintptr_t)file->text, file->size);
        free(file->line);
        free(file->path);
    }
    free(data->file);
    free(data->schedule);
    free(data->before);
    free(data->system);
    free(data);
}

size_t cn_data_count(const struct cn_data *data)
{
    return data->n_rows;
}

enum cn_status cn_data_row(const struct cn_data *data, uint64_t index, struct cn_arena *arena,
                           struct cn_row *out)
{
    if (index >= data->n_rows)
        return cn_fail(CN_ERR_BUG, "row %llu of %zu", (unsigned long long)index, data->n_rows);
    const struct data_file *file = data->file;
    while (index >= file->first + file->count)
        file++;
    return read_line(file, &file->line[index - file->first], data->system, arena, out);
}

enum cn_status cn_data_draw(const struct cn_data *data, uint64_t seed, uint64_t position,
                            uint64_t *index, uint64_t *epoch)
{
    size_t place = (size_t)(position % data->n_places);
    size_t f = data->schedule[place];
    const struct data_file *file = &data->file[f];
    uint64_t drawn = position / data->n_places * file->places + data->before[place];
    uint64_t pass = drawn / file->count;
    /* A key of its own for every file and pass; a run has far fewer than 2^40 passes. */
    struct cn_rng_key key = cn_rng_key(seed, (uint64_t)f << 40 ^ pass, CN_RNG_ORDER);
    *index = file->first + cn_rng_permute(key, drawn % file->count, file->count);
    *epoch = pass;
    return CN_OK;
}
