/* A model whose optimizer is shared out steps, saves and loads with the bits of one that keeps
 * everything: ranks are threads here, and the gather is done by hand. */
#include "check.h"

#include "carnot/json.h"
#include "carnot/model.h"
#include "carnot/str.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { RANKS_MAX = 5, VOCABULARY = 100, STATES = 777, NUMBERS = VOCABULARY * STATES, STEPS = 3 };

/* What ranks show each other. */
struct meeting {
    pthread_barrier_t all;
    size_t ranks;
    char *data[RANKS_MAX];
    bool forget; /* the planted fault: nobody gets what rank 0 has */
    size_t gathers;
};

struct rank {
    struct meeting *meeting;
    size_t index;
    const char *load, *save; /* file of a state, or NULL */
    enum cn_status status;
    double norm;
    float weights[NUMBERS];
};

static enum cn_status gather(void *self, const struct cn_buffer *whole, const size_t *start)
{
    const struct rank *r = self;
    struct meeting *m = r->meeting;
    const size_t size = cn_dtype_size(whole->dtype);
    m->data[r->index] = whole->data;
    pthread_barrier_wait(&m->all);
    for (size_t k = m->forget ? 1 : 0; k < m->ranks; k++)
        if (k != r->index)
            memcpy((char *)whole->data + start[k] * size, m->data[k] + start[k] * size,
                   (start[k + 1] - start[k]) * size);
    if (r->index == 0) m->gathers++;
    pthread_barrier_wait(&m->all);
    return CN_OK;
}

/* Sums of other ranks are spoiled outside of the own share: a step must not look there. */
static enum cn_status set_gradient(struct cn_model *model, const struct rank *r, int step)
{
    struct cn_buffer flat[2];
    size_t n, start[RANKS_MAX + 1];
    CN_TRY(cn_model_flat_gradient(model, flat, &n));
    CN_BUG_IF(n != 2 || flat[0].count != NUMBERS || flat[1].count != STATES);
    float *body = flat[0].data, *head = flat[1].data;
    cn_shard_start(NUMBERS, r->meeting->ranks, start);
    for (size_t i = 0; i < NUMBERS; i++) {
        const bool own = i >= start[r->index] && i < start[r->index + 1];
        body[i] = own ? (float)sin((double)i * 0.37 + step) * 0.01f : 1e30f;
    }
    for (size_t i = 0; i < STATES; i++)
        head[i] = (float)cos((double)i + step) * 0.01f;
    return CN_OK;
}

static enum cn_status train(struct cn_model *model, struct rank *r)
{
    const struct cn_step_options options = {.lr = 0.01,
                                            .beta1 = 0.9,
                                            .beta2 = 0.999,
                                            .epsilon = 1e-8,
                                            .weight_decay = 0.1,
                                            .clip_norm = 0.5};
    const struct cn_buffer *weights;
    struct cn_step_result result;
    size_t n;
    if (r->load) CN_TRY(cn_model_state_load(model, r->load));
    for (int step = 0; step < STEPS; step++) {
        CN_TRY(set_gradient(model, r, step));
        CN_TRY(cn_model_step(model, &options, &result));
    }
    r->norm = result.grad_norm;
    if (r->save) CN_TRY(cn_model_state_save(model, r->index ? NULL : r->save));
    CN_TRY(cn_model_weights(model, &weights, &n));
    memcpy(r->weights, weights[0].data, sizeof r->weights);
    return CN_OK;
}

static void *run(void *argument)
{
    struct rank *r = argument;
    struct cn_json *init = NULL;
    struct cn_model *model = NULL;
    struct cn_str text = {0};
    r->status = cn_str_format(&text, "{\"vocab_size\": %d, \"states\": %d, \"order\": 2}",
                              VOCABULARY, STATES);
    if (r->status == CN_OK) r->status = cn_json_parse(cn_str_text(&text), "init", &init);
    const struct cn_model_settings settings = {.type = "table",
                                               .init = init,
                                               .trainable = true,
                                               .value_head = true,
                                               .seed = 1,
                                               .shard = {r->index, r->meeting->ranks, gather, r}};
    if (r->status == CN_OK) r->status = cn_model_open(&settings, &model);
    if (r->status == CN_OK) r->status = train(model, r);
    cn_model_close(model);
    cn_json_close(init);
    cn_str_free(&text);
    return NULL;
}

/* Trains on so many ranks. */
static struct rank *trained(size_t ranks, const char *load, const char *save, bool forget)
{
    static struct rank rank[RANKS_MAX];
    struct meeting meeting = {.ranks = ranks, .forget = forget};
    pthread_t thread[RANKS_MAX];
    pthread_barrier_init(&meeting.all, NULL, (unsigned)ranks);
    for (size_t r = 0; r < ranks; r++) {
        rank[r] = (struct rank){.meeting = &meeting, .index = r, .load = load, .save = save};
        pthread_create(&thread[r], NULL, run, &rank[r]);
    }
    for (size_t r = 0; r < ranks; r++)
        pthread_join(thread[r], NULL);
    pthread_barrier_destroy(&meeting.all);
    CHECK(ranks == 1 || meeting.gathers >= 2 * STEPS); /* norm and weights of each step */
    return rank;
}

static bool same_files(const char *a, const char *b)
{
    struct cn_str x = {0}, y = {0};
    bool same = cn_file_read(a, 1 << 24, &x) == CN_OK && cn_file_read(b, 1 << 24, &y) == CN_OK &&
                x.length == y.length && x.length > 12 * NUMBERS &&
                memcmp(x.data, y.data, x.length) == 0;
    cn_str_free(&x);
    cn_str_free(&y);
    return same;
}

TEST(shares_are_whole_blocks_and_cover_everything)
{
    static const size_t counts[] = {1, 2, 3, 5, 8};
    static const size_t sizes[] = {0, 1, 16384, 16385, 100000, 1234567};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            size_t start[9];
            cn_shard_start(sizes[k], counts[c], start);
            CHECK_INT(start[0], 0);
            CHECK_INT(start[counts[c]], sizes[k]);
            for (size_t r = 0; r < counts[c]; r++) {
                CHECK(start[r] <= start[r + 1]);
                CHECK(start[r] % 16384 == 0 || start[r] == sizes[k]);
                CHECK(start[r + 1] - start[r] <= sizes[k] / counts[c] + 2 * 16384);
            }
        }
}

TEST(steps_and_files_have_the_bits_of_one_rank)
{
    char alone[64], shared[64], moved[64], on[64];
    static float first[NUMBERS], second[NUMBERS];
    const int id = (int)getpid();
    snprintf(alone, sizeof alone, "test_shard_%d_alone.safetensors", id);
    snprintf(shared, sizeof shared, "test_shard_%d_shared.safetensors", id);
    snprintf(moved, sizeof moved, "test_shard_%d_moved.safetensors", id);
    snprintf(on, sizeof on, "test_shard_%d_on.safetensors", id);
    const struct rank *one = trained(1, NULL, alone, false);
    CHECK_OK(one->status);
    const double norm = one->norm;
    memcpy(first, one->weights, sizeof first);
    one = trained(1, alone, on, false);
    CHECK_OK(one->status);
    memcpy(second, one->weights, sizeof second);
    CHECK(memcmp(first, second, sizeof first) != 0);
    CHECK(norm > 0.5); /* clipping took part */
    for (size_t ranks = 2; ranks <= RANKS_MAX; ranks++) {
        const struct rank *r = trained(ranks, NULL, shared, false);
        for (size_t k = 0; k < ranks; k++) {
            CHECK_OK(r[k].status);
            CHECK(r[k].norm == norm);
            CHECK(memcmp(r[k].weights, first, sizeof first) == 0);
        }
        CHECK(same_files(alone, shared));
        r = trained(ranks, alone, moved, false); /* the state of one rank goes on on several */
        CHECK_OK(r[ranks - 1].status);
        CHECK(memcmp(r[ranks - 1].weights, second, sizeof second) == 0);
        CHECK(same_files(on, moved));
    }
    unlink(alone);
    unlink(shared);
    unlink(moved);
    unlink(on);
}

TEST(a_share_that_gets_lost_is_noticed)
{
    static float whole[NUMBERS];
    memcpy(whole, trained(1, NULL, NULL, false)->weights, sizeof whole);
    const struct rank *r = trained(2, NULL, NULL, true);
    CHECK_OK(r[1].status);
    CHECK(memcmp(r[1].weights, whole, sizeof whole) != 0);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
