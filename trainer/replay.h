/* Replay: the main answers of the last rollouts, for methods that train on them again. */
#ifndef CARNOT_REPLAY_H
#define CARNOT_REPLAY_H

#include "rollout.h"
#include "scoring.h"

struct replay;

/* One answer as it was sampled, ready to stand in a batch again. */
struct replayed {
    struct posed posed; /* task and ids; no content */
    struct answer answer;
    struct scored scored;
    uint32_t sample, group, version;
    float temperature;
};

/* Remembers the last `depth` rollouts.  Fails: CN_ERR_MEMORY. */
enum cn_status replay_open(size_t depth, struct replay **out);
void replay_close(struct replay *take_replay);

/* Begins the memory of one more rollout; the oldest beyond `depth` is forgotten. */
enum cn_status replay_begin(struct replay *replay);

/* Adds an answer to the rollout that was begun last; everything is copied. */
enum cn_status replay_add(struct replay *replay, const struct replayed *row);

/* Answers of the rollout `age` ago (1: the last one that was begun); *n is 0 if it is not
 * remembered.  Borrowed until the next replay_begin. */
const struct replayed *replay_rows(const struct replay *replay, size_t age, size_t *n);

/* The whole memory as one file of plain bytes (of this machine's byte order), and back.
 * Fails: CN_ERR_IO; CN_ERR_DATA if the file is not one of these or is cut off. */
enum cn_status replay_save(const struct replay *replay, const char *path);
enum cn_status replay_load(struct replay *replay, const char *path);

#endif
