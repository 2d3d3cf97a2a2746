/* The log of this process: one line at a time to standard error and to the run's file. */
#include "carnot/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    enum cn_log_level level;
    int rank;
    FILE *file;
    bool bar;   /* a status line stands on the terminal */
    bool quiet; /* nothing goes to standard error */
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = CN_LOG_INFO};

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void cn_log_level_set(enum cn_log_level most_verbose)
{
    log_state.level = most_verbose;
}

void cn_log_rank_set(int rank)
{
    log_state.rank = rank;
}

void cn_log_quiet(void)
{
    log_state.quiet = true;
}

enum cn_status cn_log_file(const char *path)
{
    FILE *file = path ? fopen(path, "a") : NULL;
    if (path && !file) return cn_fail(CN_ERR_IO, "cannot open log %s: %s", path, strerror(errno));
    pthread_mutex_lock(&log_state.lock);
    if (log_state.file) fclose(log_state.file);
    log_state.file = file;
    pthread_mutex_unlock(&log_state.lock);
    return CN_OK;
}

static void erase_bar(void)
{
    if (log_state.bar) fputs("\r\033[K", stderr);
    log_state.bar = false;
}

static void write_file(enum cn_log_level level, const char *line)
{
    char stamp[32];
    struct tm parts;
    time_t now = time(NULL);
    gmtime_r(&now, &parts);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &parts);
    fprintf(log_state.file, "%s %s %s\n", stamp, level_names[level], line);
    fflush(log_state.file);
}

void cn_log_write(enum cn_log_level level, const char *format, ...)
{
    if (level > log_state.level) return;
    char line[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&log_state.lock);
    if (!log_state.quiet && (level == CN_LOG_ERROR || log_state.rank == 0)) {
        const bool named = level != CN_LOG_INFO;
        char rank[32] = "";
        if (log_state.rank > 0 && named) snprintf(rank, sizeof rank, "[rank %d] ", log_state.rank);
        erase_bar();
        /* One call, one write: lines of several ranks do not mix, and none is cut by a kill. */
        fprintf(stderr, "%s%s%s%s\n", rank, named ? level_names[level] : "", named ? ": " : "",
                line);
    }
    if (log_state.file) write_file(level, line);
    pthread_mutex_unlock(&log_state.lock);
}

void cn_log_status_line(const char *text)
{
    if (log_state.rank != 0 || !isatty(STDERR_FILENO)) return;
    pthread_mutex_lock(&log_state.lock);
    erase_bar();
    if (text) {
        fputs(text, stderr);
        log_state.bar = true;
    }
    fflush(stderr);
    pthread_mutex_unlock(&log_state.lock);
}
