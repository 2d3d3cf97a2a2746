/* Status codes and the one message that explains the first failure.
 *
 * A function that can fail returns `enum cn_status`; its results go out through pointers, untouched
 * on failure. Where the fault is known it calls `cn_fail`; on the way up everybody uses CN_TRY. The
 * first error wins. */
#ifndef CARNOT_STATUS_H
#define CARNOT_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* code, exit code of the process, what it means to the user */
#define CN_STATUSES(X)                                                                             \
    X(OK, 0, "done")                                                                               \
    X(ERR_CONFIG, 2, "bad configuration or command line")                                          \
    X(ERR_DATA, 3, "bad data, tokenizer or input row")                                             \
    X(ERR_MODEL, 3, "bad or unsupported model file")                                               \
    X(ERR_IO, 3, "a file could not be read or written")                                            \
    X(ERR_MEMORY, 4, "out of memory")                                                              \
    X(ERR_NUMERIC, 5, "diverged: a number that must be finite is not, or an alarm was raised")     \
    X(ERR_COMM, 6, "communication between ranks failed")                                           \
    X(ERR_VERIFIER, 7, "the verifier failed")                                                      \
    X(ERR_BUG, 70, "a broken invariant of Carnot itself")                                          \
    X(STOPPED, 75, "stopped by request; can be resumed")                                           \
    X(PRUNED, 99, "pruned by request")

enum cn_status {
#define X(name, exit_code, meaning) CN_##name,
    CN_STATUSES(X)
#undef X
        CN_STATUS_COUNT
};

#if defined(__GNUC__)
#define CN_PRINTF(format_index, first_argument)                                                    \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define CN_PRINTF(format_index, first_argument)
#endif

/* Records the message of the first failure on this thread and returns `code`.  Not collective. */
enum cn_status cn_fail(enum cn_status code, const char *format, ...) CN_PRINTF(2, 3);

/* Puts "prefix: " before the recorded message (file, section ...) and returns `code` unchanged. */
enum cn_status cn_fail_context(enum cn_status code, const char *format, ...) CN_PRINTF(2, 3);

/* The recorded message of this thread, "" if none; lives until the next cn_fail or cn_fail_clear.
 */
const char *cn_fail_message(void);

/* Forgets the message: the caller has dealt with the failure (a bad row of a filter, say). */
void cn_fail_clear(void);

const char *cn_status_name(enum cn_status code);    /* "ERR_CONFIG" */
const char *cn_status_meaning(enum cn_status code); /* the user's sentence in the list above */
int cn_status_exit_code(enum cn_status code);

/* Returns from the current function if the call fails. */
#define CN_TRY(call)                                                                               \
    do {                                                                                           \
        enum cn_status cn_try_status_ = (call);                                                    \
        if (cn_try_status_ != CN_OK) return cn_try_status_;                                        \
    } while (0)

/* Sets the local `status` and goes to `label` if the call fails. */
#define CN_TRY_GOTO(call, label)                                                                   \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != CN_OK) goto label;                                                           \
    } while (0)

/* A broken invariant of ours, checked in release builds too. */
#define CN_BUG_IF(condition)                                                                       \
    do {                                                                                           \
        if (condition)                                                                             \
            return cn_fail(CN_ERR_BUG, "%s:%d: broken invariant: %s", __FILE__, __LINE__,          \
                           #condition);                                                            \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
