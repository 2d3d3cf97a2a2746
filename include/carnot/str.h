/* Text: `cn_text` is a borrowed run of bytes, `cn_str` a growable buffer that its owner frees. */
#ifndef CARNOT_STR_H
#define CARNOT_STR_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes; need not be UTF-8 and need not end in zero. */
struct cn_text {
    const char *data;
    size_t length;
};

/* Growable bytes, always zero-terminated once non-empty.  Zero-initialise; free with cn_str_free.
 */
struct cn_str {
    char *data;
    size_t length, capacity;
};

struct cn_text cn_text(const char *zero_terminated);
struct cn_text cn_str_text(const struct cn_str *str); /* valid until the next change */
bool cn_text_equal(struct cn_text a, struct cn_text b);
bool cn_text_is(struct cn_text a, const char *zero_terminated);

/* Each fails with CN_ERR_MEMORY only and leaves the buffer as it was. */
enum cn_status cn_str_append(struct cn_str *str, const char *data, size_t length);
enum cn_status cn_str_add(struct cn_str *str, const char *zero_terminated);
enum cn_status cn_str_format(struct cn_str *str, const char *format, ...) CN_PRINTF(2, 3);

/* Appends text of a model or of a file without what commands a terminal: C0 and C1 controls become
 * '?', but for the tab; a newline becomes `newline`. */
enum cn_status cn_str_add_safe(struct cn_str *str, struct cn_text text, const char *newline);

enum cn_status cn_str_reserve(struct cn_str *str, size_t capacity);
void cn_str_clear(struct cn_str *str); /* length 0, memory kept */
void cn_str_free(struct cn_str *str);

/* Reads a whole file.  Fails: CN_ERR_IO naming the path, CN_ERR_DATA if it is larger than `limit`
 * bytes. */
enum cn_status cn_file_read(const char *path, size_t limit, struct cn_str *out);

/* Replaces `path` by `data` so that a kill leaves the old or the new content: temporary name,
 * fsync, rename, fsync of the folder.  Fails: CN_ERR_IO naming path and reason (a full disk
 * included). */
enum cn_status cn_file_replace(const char *path, const char *data, size_t length);

/* Creates the folder and its parents; an existing folder is fine.  Fails: CN_ERR_IO. */
enum cn_status cn_folder_make(const char *path);

#ifdef __cplusplus
}
#endif
#endif
