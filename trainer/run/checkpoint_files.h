/* The list of a checkpoint's files, with their sizes and checksums: state/files.json.  It is
 * written last, so a folder that has it was complete, and what was damaged since is found before it
 * is used. */
#ifndef CARNOT_CHECKPOINT_FILES_H
#define CARNOT_CHECKPOINT_FILES_H

#include "carnot/status.h"

/* Writes the list of everything in `folder` and in the folders of a checkpoint inside (state, last,
 * critic, critic/state), as far as they are there.  Fails: CN_ERR_IO. */
enum cn_status checkpoint_seal(const char *folder);

/* Reads every file again.  Fails: CN_ERR_DATA naming the first one that is missing, has another
 * size or other contents; CN_ERR_IO. */
enum cn_status checkpoint_verify(const char *folder);

#endif
