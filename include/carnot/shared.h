/* Parts of the program that lie in shared objects of their own, because what they need is large
 * (libtorch, NCCL): a command that does not need it does not load it. */
#ifndef CARNOT_SHARED_H
#define CARNOT_SHARED_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens `name`: the file that the environment variable `variable` names, or else that of this name
 * beside the program or in the lib folder next to the program's.  It stays open until the process
 * ends.  NULL: `why` (size) says why.  Not collective. */
void *cn_shared_open(const char *variable, const char *name, char *why, size_t size);

#ifdef __cplusplus
}
#endif
#endif
