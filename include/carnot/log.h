/* Levelled log of a rank: to standard error and, once a run folder exists, to its own file. */
#ifndef CARNOT_LOG_H
#define CARNOT_LOG_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cn_log_level { CN_LOG_ERROR, CN_LOG_WARN, CN_LOG_INFO, CN_LOG_DEBUG };

/* Errors go to the terminal on every rank, the rest on rank 0 only: ranks that do the same would
 * say the same. */
void cn_log_write(enum cn_log_level level, const char *format, ...) CN_PRINTF(2, 3);
void cn_log_level_set(enum cn_log_level most_verbose);
void cn_log_rank_set(int rank);

/* Nothing more goes to the terminal: another rank says it. */
void cn_log_quiet(void);

/* Also write every line, with time and level, to `path` (appending).  NULL closes the file. */
enum cn_status cn_log_file(const char *path);

/* Text shown on the last line of a terminal (a progress bar); erased before any other line.  NULL
 * removes it. Does nothing when standard error is not a terminal. */
void cn_log_status_line(const char *text);

#define cn_log_error(...) cn_log_write(CN_LOG_ERROR, __VA_ARGS__)
#define cn_log_warn(...) cn_log_write(CN_LOG_WARN, __VA_ARGS__)
#define cn_log_info(...) cn_log_write(CN_LOG_INFO, __VA_ARGS__)
#define cn_log_debug(...) cn_log_write(CN_LOG_DEBUG, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
