/* The table back end inside: model_table.c computes, model_table_state.c steps, saves and loads. */
#ifndef CARNOT_MODEL_TABLE_H
#define CARNOT_MODEL_TABLE_H

#include "backend.h"
#include "shard.h"
#include "table_row.h"
#include "value_head.h"

/* A policy token: where its logits are and what it is. */
struct item {
    size_t state, token; /* row of the table; index in the batch */
    int32_t target;
};

struct table {
    struct cn_arena arena; /* of the arrays below, but for the copies */
    struct cn_model_info info;
    int64_t order, states;
    double initializer_range;
    bool trainable;
    struct adamw body; /* the table; of m and v only this rank's share */
    struct shard shard;
    float **copies;
    size_t n_copies;
    struct value_head value; /* of each state */
    struct cn_buffer weight_buffer[1 + VALUE_HEAD_TENSORS], gradient_buffer[1 + VALUE_HEAD_TENSORS];
    size_t n_buffers;
    struct table_row row;
    /* The pending atom. */
    struct item *items;
    size_t n_items, items_capacity;
    struct cn_atom atom;
    bool pending;
};

/* Fails: CN_ERR_BUG if the model was opened for scoring only. */
enum cn_status table_need_trainable(const struct table *table);

/* The current weights (copy < 0) or a frozen copy.  Fails: CN_ERR_BUG if there is none. */
enum cn_status table_weights_of(const struct table *table, int copy, float **out);

/* Weights of a folder, into `out` (as many as the table has). */
enum cn_status table_read_weights(const struct table *table, const char *folder, float *out);

/* As in backend.h. */
enum cn_status table_step(void *self, const struct cn_step_options *options,
                          struct cn_step_result *result);
enum cn_status table_freeze(void *self, const char *path, int *copy);
enum cn_status table_save(void *self, int copy, const char *folder, enum cn_dtype dtype);
enum cn_status table_state_save(void *self, const char *path);
enum cn_status table_state_load(void *self, const char *path);

#endif
