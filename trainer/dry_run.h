/* What a run will do and need, before anything is computed: batch arithmetic, memory, what differs
 * from the preset. */
#ifndef CARNOT_DRY_RUN_H
#define CARNOT_DRY_RUN_H

#include "session.h"

/* `--dry-run`: rank 0 prints everything to standard output.  supervised: the plan of `carnot sft`,
 * NULL for `carnot train`.  Fails: CN_ERR_MEMORY if the plan does not fit; CN_ERR_MODEL if the
 * model's shape cannot be read; as session_check_context.  Nothing is opened but config.json. */
enum cn_status dry_run_print(struct session *session, const struct supervised_settings *supervised);

/* Bytes that the plan adds up to; 0 for models without one. */
enum cn_status dry_run_bytes(const struct session *session, uint64_t *bytes);

/* The memory plan against what is available, before the start.  Models without a plan (table) pass.
 */
enum cn_status dry_run_check(const struct session *session,
                             const struct supervised_settings *supervised);

#endif
