/* Status codes and the message of the first failure on each thread. */
#include "carnot/status.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGE_MAX = 2048 };
static _Thread_local char message[MESSAGE_MAX];

enum cn_status cn_fail(enum cn_status code, const char *format, ...)
{
    if (message[0]) return code; /* the first error wins */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return code;
}

enum cn_status cn_fail_context(enum cn_status code, const char *format, ...)
{
    char old[MESSAGE_MAX];
    memcpy(old, message, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof message ? (size_t)n : sizeof message - 1;
    snprintf(message + used, sizeof message - used, ": %s", old);
    return code;
}

const char *cn_fail_message(void)
{
    return message;
}

void cn_fail_clear(void)
{
    message[0] = 0;
}

const char *cn_status_name(enum cn_status code)
{
    static const char *const names[] = {
#define X(name, exit_code, meaning) #name,
        CN_STATUSES(X)
#undef X
    };
    return (unsigned)code < CN_STATUS_COUNT ? names[code] : "?";
}

const char *cn_status_meaning(enum cn_status code)
{
    static const char *const meanings[] = {
#define X(name, exit_code, meaning) meaning,
        CN_STATUSES(X)
#undef X
    };
    return (unsigned)code < CN_STATUS_COUNT ? meanings[code] : "?";
}

int cn_status_exit_code(enum cn_status code)
{
    static const int codes[] = {
#define X(name, exit_code, meaning) exit_code,
        CN_STATUSES(X)
#undef X
    };
    return (unsigned)code < CN_STATUS_COUNT ? codes[code] : 70;
}
