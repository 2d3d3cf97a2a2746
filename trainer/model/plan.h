/* How much memory a run needs, part by part, before anything is allocated; and how much there is.
 *
 * The arithmetic follows the torch back end's own layout (torch_layers.h, torch_head.h) and the
 * decode engine's. */
#ifndef CARNOT_MODEL_PLAN_H
#define CARNOT_MODEL_PLAN_H

#include "carnot/buffer.h"
#include "carnot/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct model_shape;

/* What decides the memory of a run.  Zero-initialise; what is 0 is not there. */
struct plan_settings {
    enum cn_dtype dtype;              /* F32 or BF16: of the weights that compute */
    bool trainable;                   /* master copy, gradients, moments, backward */
    bool checkpoint_activations;      /* keep only each layer's input */
    bool top;                         /* entropy_top is computed: a second chunk of logits */
    bool exact_sum;                   /* gradients are added as integers */
    size_t shards;                    /* ranks that share out the optimizer; 0 or 1: it is whole */
    size_t frozen;                    /* frozen copies of the weights (a reference) */
    const struct model_shape *critic; /* a second model that learns; NULL: none */
    size_t atom_tokens;               /* most tokens of one atom */
    size_t longest; /* most tokens of one sequence, prompt included; an atom holds at least one */
    int threads;    /* > 0 */
    size_t slots, context;      /* decode engine: sequences at a time, most tokens of each */
    enum cn_dtype engine_dtype; /* of the engine's weights and cache */
    size_t sequences, tokens;   /* of the batch of one step on this rank */
    size_t waiting;             /* batches that were sampled ahead */
};

/* Parts, in the order in which they are printed. */
#define PLAN_PARTS(X)                                                                              \
    X(PROGRAM, "program and libraries")                                                            \
    X(MASTER, "weights, F32")                                                                      \
    X(COMPUTE, "weights that compute")                                                             \
    X(GRADIENT, "gradients")                                                                       \
    X(SUM, "exact sum of the gradients")                                                           \
    X(MOMENTS, "moments of AdamW")                                                                 \
    X(FROZEN, "frozen copies")                                                                     \
    X(CRITIC, "critic: weights, gradients, moments, activations")                                  \
    X(ACTIVATIONS, "activations of one atom")                                                      \
    X(WORK, "work space: one layer, or one chunk of the head")                                     \
    X(ENGINE, "decode engine: weights")                                                            \
    X(CACHE, "decode engine: keys and values")                                                     \
    X(ROWS, "decode engine: rows of one step")                                                     \
    X(BATCH, "batch columns of one step")                                                          \
    X(WAITING, "batches that wait for their turn")                                                 \
    X(LOADING, "while loading, beyond all this")                                                   \
    X(SAVING, "rank 0, while saving: the largest tensor, from all ranks")

enum plan_part {
#define X(name, text) PLAN_##name,
    PLAN_PARTS(X)
#undef X
        PLAN_PART_COUNT
};

struct plan {
    uint64_t bytes[PLAN_PART_COUNT];
    uint64_t never_at_once; /* of sampling or of training, which take turns (cn_sampler_rest) */
    uint64_t total;         /* without it */
    uint64_t parameters;
};

/* What a part is called, and which keys make it smaller. */
const char *plan_part_name(enum plan_part part);
const char *plan_part_advice(enum plan_part part);

/* Fills the plan of a transformer.  Fails: CN_ERR_CONFIG if the sum does not fit 64 bits.  Not
 * collective. */
enum cn_status plan_make(const struct model_shape *shape, const struct plan_settings *settings,
                         struct plan *out);

/* Appends a table: a title, one line per part that is not empty, the total, and what is available
 * (0: unknown).  whose: "", or " of a rank that ..." for the title. */
enum cn_status plan_print(const struct plan *plan, const char *whose, uint64_t available,
                          struct cn_str *out);

/* Fails: CN_ERR_MEMORY, naming the largest part and what would make it smaller, if the plan exceeds
 * `available` (0: unknown, never fails). */
enum cn_status plan_check(const struct plan *plan, uint64_t available);

/* Bytes that this process can still get: the least of MemAvailable and what the control groups
 * leave (version 1 and 2, up to the root; file cache counts as free).  `root` is put before /proc
 * and /sys: "" but in tests.  0: unknown. */
uint64_t plan_available(const char *root);

/* All memory of the first GPU that the NVIDIA driver shows; 0: there is none. */
uint64_t plan_device_memory(void);

/* All memory of the machine and the least limit of the control groups (0: none). */
uint64_t plan_machine_memory(const char *root);
uint64_t plan_group_limit(const char *root);

#ifdef __cplusplus
}
#endif
#endif
