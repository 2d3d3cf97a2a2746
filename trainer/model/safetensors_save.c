/* Writing safetensors: header first, then tensor after tensor through a small buffer.
 *
 * All shards are written under temporary names and renamed only when every one of them is on the
 * disk. */
#include "safetensors.h"

#include "dtype.h"

#include "carnot/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 18 }; /* floats converted at a time */
static const uint64_t shard_default = 5000000000;

/* One tensor to write and where it goes. */
struct piece {
    const struct cn_buffer *tensor;
    size_t index;        /* in the caller's list */
    enum cn_dtype dtype; /* on disk */
    uint64_t bytes, begin;
    size_t shard;
};

struct job {
    const struct safetensors_target *target;
    struct piece *piece; /* [n], sorted by shard, then as on disk */
    size_t n, n_shards;
    bool folder;
    unsigned char *chunk; /* CHUNK x 4 bytes */
    float *loaded;        /* the largest tensor that `load` fills */
};

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Wide elements first, so that every tensor starts aligned; then by name. */
static int by_place(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    size_t wide_x = cn_dtype_size(x->dtype), wide_y = cn_dtype_size(y->dtype);
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    if (wide_x != wide_y) return wide_x > wide_y ? -1 : 1;
    return strcmp(x->tensor->name, y->tensor->name);
}

/* Decides dtype, shard and place of every tensor. */
static enum cn_status lay_out(struct job *job, const struct cn_buffer *tensors, size_t n)
{
    const struct safetensors_target *target = job->target;
    uint64_t limit = target->shard_bytes ? target->shard_bytes : shard_default, filled = 0,
             place = 0;
    size_t largest = 0;
    job->piece = calloc(n + 1, sizeof *job->piece);
    job->chunk = malloc((size_t)CHUNK * sizeof(float));
    if (!job->piece || !job->chunk)
        return cn_fail(CN_ERR_MEMORY, "out of memory writing %s", target->path);
    for (size_t i = 0; i < n; i++) {
        struct piece *p = &job->piece[i];
        p->tensor = &tensors[i];
        p->index = i;
        p->dtype = tensors[i].dtype == CN_DTYPE_F32 ? target->dtype : tensors[i].dtype;
        p->bytes = (uint64_t)tensors[i].count * cn_dtype_size(p->dtype);
        if (job->folder && filled > 0 && filled + p->bytes > limit) {
            job->n_shards++;
            filled = 0;
        }
        p->shard = job->n_shards - 1;
        filled += p->bytes;
        if (!tensors[i].data && tensors[i].count > largest) largest = tensors[i].count;
    }
    job->n = n;
    if (n) qsort(job->piece, n, sizeof *job->piece, by_place);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && job->piece[i].shard != job->piece[i - 1].shard) place = 0;
        job->piece[i].begin = place;
        place += job->piece[i].bytes;
    }
    CN_BUG_IF(largest > 0 && !target->load);
    if (target->absent) return CN_OK;
    job->loaded = largest ? malloc(largest * sizeof *job->loaded) : NULL;
    if (largest && !job->loaded)
        return cn_fail(CN_ERR_MEMORY, "out of memory: a tensor of %zu floats", largest);
    return CN_OK;
}

/* ---- one shard ----------------------------------------------------------- */

static enum cn_status write_all(int fd, const void *data, size_t length, const char *path)
{
    const char *at = data;
    while (length) {
        ssize_t n = write(fd, at, length < (1u << 30) ? length : (1u << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return cn_fail(CN_ERR_IO, "cannot write %s: %s", path,
                           n < 0 ? strerror(errno) : "no space left");
        at += n;
        length -= (size_t)n;
    }
    return CN_OK;
}

static enum cn_status add_pair(struct cn_str *json, const char *key, const char *value)
{
    CN_TRY(cn_json_quote(json, cn_text(key)));
    CN_TRY(cn_str_add(json, ":"));
    return cn_json_quote(json, cn_text(value));
}

static enum cn_status add_entry(struct cn_str *json, const struct piece *p)
{
    CN_TRY(cn_str_add(json, ","));
    CN_TRY(cn_json_quote(json, cn_text(p->tensor->name)));
    CN_TRY(cn_str_format(json, ":{\"dtype\":\"%s\",\"shape\":[", cn_dtype_name(p->dtype)));
    for (int i = 0; i < p->tensor->rank; i++)
        CN_TRY(cn_str_format(json, "%s%lld", i ? "," : "", (long long)p->tensor->shape[i]));
    return cn_str_format(json, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)p->begin,
                         (unsigned long long)(p->begin + p->bytes));
}

/* The header of a shard, padded with spaces so that the data start at a multiple of 8. */
static enum cn_status make_header(const struct job *job, size_t shard, struct cn_str *json)
{
    CN_TRY(cn_str_add(json, "{\"__metadata__\":{\"format\":\"pt\""));
    for (size_t i = 0; i < job->target->n_metadata; i++) {
        CN_TRY(cn_str_add(json, ","));
        CN_TRY(add_pair(json, job->target->metadata[i].key, job->target->metadata[i].value));
    }
    CN_TRY(cn_str_add(json, "}"));
    for (size_t i = 0; i < job->n; i++)
        if (job->piece[i].shard == shard) CN_TRY(add_entry(json, &job->piece[i]));
    CN_TRY(cn_str_add(json, "}"));
    while (json->length % 8)
        CN_TRY(cn_str_add(json, " "));
    return CN_OK;
}

static enum cn_status write_piece(const struct job *job, const struct piece *p, int fd,
                                  const char *path)
{
    const struct cn_buffer *tensor = p->tensor;
    const void *data = tensor->data;
    if (!data && tensor->count) {
        CN_TRY(job->target->load(job->target->context, p->index, job->loaded));
        data = job->loaded;
    }
    if (p->dtype == tensor->dtype) return write_all(fd, data, (size_t)p->bytes, path);
    for (size_t i = 0; i < tensor->count; i += CHUNK) {
        size_t n = tensor->count - i < CHUNK ? tensor->count - i : CHUNK;
        CN_BUG_IF(!dtype_from_f32(p->dtype, (const float *)data + i, n, job->chunk));
        CN_TRY(write_all(fd, job->chunk, n * cn_dtype_size(p->dtype), path));
    }
    return CN_OK;
}

static enum cn_status write_shard(const struct job *job, size_t shard, const char *path)
{
    struct cn_str header = {0};
    unsigned char length[8];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return cn_fail(CN_ERR_IO, "cannot create %s: %s", path, strerror(errno));
    enum cn_status status;
    CN_TRY_GOTO(make_header(job, shard, &header), out);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(header.length >> 8 * i);
    CN_TRY_GOTO(write_all(fd, length, sizeof length, path), out);
    CN_TRY_GOTO(write_all(fd, header.data, header.length, path), out);
    for (size_t i = 0; i < job->n; i++)
        if (job->piece[i].shard == shard)
            CN_TRY_GOTO(write_piece(job, &job->piece[i], fd, path), out);
    if (fsync(fd) != 0) status = cn_fail(CN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
out:
    /* close can be the first to report a full disk on network file systems. */
    if (close(fd) != 0 && status == CN_OK)
        status = cn_fail(CN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    cn_str_free(&header);
    return status;
}

/* ---- names, index, renaming ---------------------------------------------- */

/* Final name of a shard, without its folder. */
static enum cn_status add_shard_name(const struct job *job, size_t shard, struct cn_str *out)
{
    if (job->n_shards == 1) return cn_str_add(out, "model.safetensors");
    return cn_str_format(out, "model-%05zu-of-%05zu.safetensors", shard + 1, job->n_shards);
}

static enum cn_status shard_path(const struct job *job, size_t shard, const char *suffix,
                                 struct cn_str *out)
{
    cn_str_clear(out);
    CN_TRY(cn_str_add(out, job->target->path));
    if (job->folder) {
        CN_TRY(cn_str_add(out, "/"));
        CN_TRY(add_shard_name(job, shard, out));
    }
    return cn_str_add(out, suffix);
}

static enum cn_status write_index(const struct job *job)
{
    struct cn_str json = {0}, path = {0}, name = {0};
    enum cn_status status;
    uint64_t total = 0;
    for (size_t i = 0; i < job->n; i++)
        total += job->piece[i].bytes;
    CN_TRY_GOTO(cn_str_format(&json,
                              "{\n  \"metadata\": {\"total_size\": %llu},\n  \"weight_map\": {",
                              (unsigned long long)total),
                out);
    for (size_t i = 0; i < job->n; i++) {
        cn_str_clear(&name);
        CN_TRY_GOTO(add_shard_name(job, job->piece[i].shard, &name), out);
        CN_TRY_GOTO(cn_str_add(&json, i ? ",\n    " : "\n    "), out);
        CN_TRY_GOTO(add_pair(&json, job->piece[i].tensor->name, name.data), out);
    }
    CN_TRY_GOTO(cn_str_add(&json, "\n  }\n}\n"), out);
    CN_TRY_GOTO(cn_str_format(&path, "%s/model.safetensors.index.json", job->target->path), out);
    status = cn_file_replace(path.data, json.data, json.length);
out:
    cn_str_free(&name);
    cn_str_free(&path);
    cn_str_free(&json);
    return status;
}

/* Is `name` a weight file that this job did not write? */
static enum cn_status is_stale(const struct job *job, const char *name, bool *out)
{
    struct cn_str own = {0};
    enum cn_status status = CN_OK;
    bool shard =
        strncmp(name, "model-", 6) == 0 && strstr(name, "-of-") && ends_in(name, ".safetensors");
    *out = shard || strcmp(name, "model.safetensors") == 0 ||
           (strcmp(name, "model.safetensors.index.json") == 0 && job->n_shards == 1);
    for (size_t s = 0; s < job->n_shards && *out; s++) {
        cn_str_clear(&own);
        CN_TRY_GOTO(add_shard_name(job, s, &own), out);
        if (strcmp(own.data, name) == 0) *out = false;
    }
out:
    cn_str_free(&own);
    return status;
}

static enum cn_status remove_stale(const struct job *job)
{
    struct cn_str path = {0};
    enum cn_status status = CN_OK;
    DIR *folder = opendir(job->target->path);
    if (!folder)
        return cn_fail(CN_ERR_IO, "cannot list %s: %s", job->target->path, strerror(errno));
    for (struct dirent *e = readdir(folder); e; e = readdir(folder)) {
        bool stale;
        CN_TRY_GOTO(is_stale(job, e->d_name, &stale), out);
        if (!stale) continue;
        cn_str_clear(&path);
        CN_TRY_GOTO(cn_str_format(&path, "%s/%s", job->target->path, e->d_name), out);
        if (unlink(path.data) != 0 && errno != ENOENT)
            CN_TRY_GOTO(cn_fail(CN_ERR_IO, "cannot remove %s: %s", path.data, strerror(errno)),
                        out);
    }
    if (fsync(dirfd(folder)) != 0 && errno != EINVAL)
        status = cn_fail(CN_ERR_IO, "cannot sync %s: %s", job->target->path, strerror(errno));
out:
    closedir(folder);
    cn_str_free(&path);
    return status;
}

static enum cn_status sync_parent(const char *path)
{
    struct cn_str folder = {0};
    const char *slash = strrchr(path, '/');
    CN_TRY(cn_str_append(&folder, slash ? path : ".",
                         slash && slash != path ? (size_t)(slash - path) : 1));
    int fd = open(folder.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some file systems refuse; the rename itself has succeeded */
        close(fd);
    }
    cn_str_free(&folder);
    return CN_OK;
}

/* Writes every shard, then renames all. */
static enum cn_status write_shards(const struct job *job)
{
    struct cn_str temporary = {0}, path = {0};
    enum cn_status status = CN_OK;
    size_t written = 0;
    for (; written < job->n_shards; written++) {
        CN_TRY_GOTO(shard_path(job, written, ".tmp", &temporary), out);
        status = write_shard(job, written, temporary.data);
        if (status != CN_OK) {
            written++; /* the half-written file goes too */
            goto out;
        }
    }
    for (size_t s = 0; s < job->n_shards; s++) {
        CN_TRY_GOTO(shard_path(job, s, ".tmp", &temporary), out);
        CN_TRY_GOTO(shard_path(job, s, "", &path), out);
        if (rename(temporary.data, path.data) != 0)
            CN_TRY_GOTO(cn_fail(CN_ERR_IO, "cannot rename %s to %s: %s", temporary.data, path.data,
                                strerror(errno)),
                        out);
    }
out:
    for (size_t s = 0; s < written && status != CN_OK; s++)
        if (shard_path(job, s, ".tmp", &temporary) == CN_OK) unlink(temporary.data);
    cn_str_free(&path);
    cn_str_free(&temporary);
    return status;
}

/* What `load` does where another rank writes. */
static enum cn_status load_only(const struct job *job)
{
    for (size_t i = 0; i < job->n; i++)
        if (!job->piece[i].tensor->data && job->piece[i].tensor->count)
            CN_TRY(job->target->load(job->target->context, job->piece[i].index, NULL));
    return CN_OK;
}

enum cn_status safetensors_save(const struct safetensors_target *target,
                                const struct cn_buffer *tensors, size_t n)
{
    struct job job = {.target = target, .n_shards = 1};
    enum cn_status status;
    CN_BUG_IF(!dtype_torch_name(target->dtype) || target->dtype == CN_DTYPE_F64);
    job.folder = !ends_in(target->path, ".safetensors");
    CN_TRY_GOTO(lay_out(&job, tensors, n), out);
    if (target->absent) {
        status = load_only(&job);
        goto out;
    }
    CN_TRY_GOTO(write_shards(&job), out);
    if (job.folder && job.n_shards > 1) CN_TRY_GOTO(write_index(&job), out);
    status = job.folder ? remove_stale(&job) : sync_parent(target->path);
out:
    free(job.loaded);
    free(job.chunk);
    free(job.piece);
    return status;
}
