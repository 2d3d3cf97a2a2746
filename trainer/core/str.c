/* Growable text and whole-file reading and replacing. */
#include "carnot/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct cn_text cn_text(const char *zero_terminated)
{
    struct cn_text text = {zero_terminated, zero_terminated ? strlen(zero_terminated) : 0};
    return text;
}

struct cn_text cn_str_text(const struct cn_str *str)
{
    struct cn_text text = {str->data ? str->data : "", str->length};
    return text;
}

bool cn_text_equal(struct cn_text a, struct cn_text b)
{
    return a.length == b.length && (!a.length || memcmp(a.data, b.data, a.length) == 0);
}

bool cn_text_is(struct cn_text a, const char *zero_terminated)
{
    return cn_text_equal(a, cn_text(zero_terminated));
}

enum cn_status cn_str_reserve(struct cn_str *str, size_t capacity)
{
    if (capacity < str->capacity) return CN_OK;
    size_t grown = str->capacity + str->capacity / 2 + 64;
    if (grown <= capacity) grown = capacity + 1;
    char *data = realloc(str->data, grown);
    if (!data) return cn_fail(CN_ERR_MEMORY, "out of memory: a text needs %zu bytes", grown);
    str->data = data;
    str->capacity = grown;
    str->data[str->length] = 0;
    return CN_OK;
}

enum cn_status cn_str_append(struct cn_str *str, const char *data, size_t length)
{
    CN_TRY(cn_str_reserve(str, str->length + length));
    if (length) memcpy(str->data + str->length, data, length);
    str->length += length;
    str->data[str->length] = 0;
    return CN_OK;
}

enum cn_status cn_str_add(struct cn_str *str, const char *zero_terminated)
{
    return cn_str_append(str, zero_terminated, strlen(zero_terminated));
}

enum cn_status cn_str_add_safe(struct cn_str *str, struct cn_text text, const char *newline)
{
    for (size_t i = 0; i < text.length; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        const bool c1 = c == 0xc2 && i + 1 < text.length && (unsigned char)text.data[i + 1] < 0xa0;
        if (c1) i++;
        if (c == '\n')
            CN_TRY(cn_str_add(str, newline));
        else if (c1 || (c < ' ' && c != '\t') || c == 127)
            CN_TRY(cn_str_add(str, "?"));
        else
            CN_TRY(cn_str_append(str, &text.data[i], 1));
    }
    return CN_OK;
}

enum cn_status cn_str_format(struct cn_str *str, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int needed = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    enum cn_status status = needed < 0 ? cn_fail(CN_ERR_BUG, "bad format %s", format)
                                       : cn_str_reserve(str, str->length + (size_t)needed);
    if (status == CN_OK) {
        vsnprintf(str->data + str->length, (size_t)needed + 1, format, again);
        str->length += (size_t)needed;
    }
    va_end(again);
    return status;
}

void cn_str_clear(struct cn_str *str)
{
    str->length = 0;
    if (str->data) str->data[0] = 0;
}

void cn_str_free(struct cn_str *str)
{
    free(str->data);
    memset(str, 0, sizeof *str);
}

enum cn_status cn_file_read(const char *path, size_t limit, struct cn_str *out)
{
    FILE *file = fopen(path, "rb");
    if (!file) return cn_fail(CN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    enum cn_status status = CN_OK;
    char buffer[1 << 16];
    size_t got;
    while (status == CN_OK && (got = fread(buffer, 1, sizeof buffer, file)) > 0) {
        if (out->length + got > limit)
            status = cn_fail(CN_ERR_DATA, "%s is larger than %zu bytes", path, limit);
        else
            status = cn_str_append(out, buffer, got);
    }
    if (status == CN_OK && ferror(file))
        status = cn_fail(CN_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    fclose(file);
    return status;
}

static enum cn_status sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    if (slash) snprintf(folder, sizeof folder, "%.*s", (int)(slash - path) + 1, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return cn_fail(CN_ERR_IO, "cannot open folder %s: %s", folder, strerror(errno));
    int failed = fsync(fd) && errno != EINVAL && errno != EROFS;
    int reason = errno;
    close(fd);
    if (failed) return cn_fail(CN_ERR_IO, "cannot sync folder %s: %s", folder, strerror(reason));
    return CN_OK;
}

enum cn_status cn_file_replace(const char *path, const char *data, size_t length)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof temporary)
        return cn_fail(CN_ERR_IO, "path too long: %s", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return cn_fail(CN_ERR_IO, "cannot create %s: %s", temporary, strerror(errno));
    for (size_t done = 0; done < length;) {
        ssize_t wrote = write(fd, data + done, length - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) {
            int reason = errno;
            close(fd);
            unlink(temporary);
            return cn_fail(CN_ERR_IO, "cannot write %s: %s", temporary, strerror(reason));
        }
        done += (size_t)wrote;
    }
    int failed = fsync(fd);
    int reason = errno;
    if (close(fd)) failed = 1, reason = errno;
    if (failed) return cn_fail(CN_ERR_IO, "cannot write %s: %s", temporary, strerror(reason));
    if (rename(temporary, path))
        return cn_fail(CN_ERR_IO, "cannot rename %s to %s: %s", temporary, path, strerror(errno));
    return sync_folder_of(path);
}

enum cn_status cn_folder_make(const char *path)
{
    char part[4096];
    size_t length = strlen(path);
    if (length >= sizeof part) return cn_fail(CN_ERR_IO, "path too long: %s", path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) && errno != EEXIST)
            return cn_fail(CN_ERR_IO, "cannot create folder %s: %s", part, strerror(errno));
    }
    struct stat info;
    if (stat(path, &info) || !S_ISDIR(info.st_mode))
        return cn_fail(CN_ERR_IO, "%s exists and is not a folder", path);
    return CN_OK;
}
