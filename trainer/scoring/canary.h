/* Canaries: known hacks and known good answers that a reward is tried on.
 *
 * An entry of `rewards` may name a file (`canaries`) of JSON lines: what `carnot grade` reads, and
 * what is expected, "score" (a number, or null: not scored) or "verdict" or both.  They are scored
 * before the first step and every `canary_every` steps; the first outcome must be what is expected,
 * every later one must be the first one.  A verifier that changes under way (a service, a program,
 * a library, a machine that slows down) makes two halves of a run that cannot be compared. */
#ifndef CARNOT_CANARY_H
#define CARNOT_CANARY_H

#include "carnot/reward.h"

struct canaries;

/* Reads the file named in an entry of `rewards`; *out is NULL if it names none.  `path`
 * ("rewards.0") goes into messages; the reward is borrowed.  Fails: CN_ERR_CONFIG, CN_ERR_IO,
 * CN_ERR_DATA naming the line. */
enum cn_status canaries_open(const struct cn_json *entry, const char *path,
                             const struct cn_reward_entry *used, struct cn_arena *arena,
                             struct canaries **out);
void canaries_close(struct canaries *take_canaries); /* may be NULL */

/* Scores them if they are due after `step` (0: before the first).  Fails: CN_ERR_VERIFIER naming
 * the line, what was expected and what came. */
enum cn_status canaries_check(struct canaries *canaries, uint64_t step);

#endif
