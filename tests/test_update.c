/* Atoms, learning rates, live channels. */
#include "check.h"
#include "update_scene.h"

#include "carnot/select.h"

/* A batch of groups whose prompts have `prompt` tokens and whose answers have the given lengths. */
struct row {
    size_t answer;
    uint32_t group;
};

static enum cn_status make(struct cn_batch *batch, struct cn_arena *arena, size_t prompt,
                           const struct row *rows, size_t n)
{
    size_t *lengths;
    CN_TRY(CN_NEW(arena, n, &lengths));
    for (size_t s = 0; s < n; s++)
        lengths[s] = prompt + rows[s].answer;
    CN_TRY(cn_batch_init(batch, arena, lengths, n));
    for (size_t s = 0; s < n; s++) {
        batch->group[s] = rows[s].group;
        for (size_t t = batch->seq_start[s] + prompt; t < batch->seq_start[s + 1]; t++)
            batch->role[t] = CN_ROLE_POLICY;
    }
    return CN_OK;
}

TEST(atoms_hold_whole_groups_and_count_a_common_prompt_once)
{
    struct cn_arena arena;
    struct cn_batch batch;
    struct cn_spans atoms;
    const struct row rows[] = {{10, 0}, {10, 0}, {10, 1}, {10, 1}, {10, 2}, {10, 2}};
    cn_arena_init(&arena);
    CHECK_OK(make(&batch, &arena, 100, rows, 6));
    CHECK_OK(update_atoms(&batch, cn_batch_all(&batch), 240, &arena, &atoms));
    CHECK_INT(atoms.count, 2); /* 2 x (100 + 20) = 240 fits */
    CHECK_INT(atoms.item[0].end, 4);
    CHECK_INT(atoms.item[1].begin, 4);
    CHECK_OK(update_atoms(&batch, cn_batch_all(&batch), 239, &arena, &atoms));
    CHECK_INT(atoms.count, 3);
    cn_arena_free(&arena);
}

TEST(a_group_that_is_too_long_is_cut_between_sequences_and_a_sequence_never)
{
    struct cn_arena arena;
    struct cn_batch batch;
    struct cn_spans atoms;
    const struct row rows[] = {{50, 0}, {50, 0}, {50, 0}, {500, 0}};
    cn_arena_init(&arena);
    CHECK_OK(make(&batch, &arena, 10, rows, 4));
    CHECK_OK(update_atoms(&batch, cn_batch_all(&batch), 115, &arena, &atoms));
    CHECK_INT(atoms.count, 3);
    CHECK_INT(atoms.item[0].end, 2);
    CHECK_INT(atoms.item[1].end, 3);
    CHECK_INT(atoms.item[2].end, 4); /* longer than an atom, and whole */
    cn_arena_free(&arena);
}

TEST(atoms_cover_a_mini_batch_and_nothing_else)
{
    struct cn_arena arena;
    struct cn_batch batch;
    struct cn_spans atoms;
    const struct row rows[] = {{5, 0}, {6, 0}, {7, 1}, {8, 1}, {9, 1}};
    cn_arena_init(&arena);
    CHECK_OK(make(&batch, &arena, 3, rows, 5));
    CHECK_OK(update_atoms(&batch, (struct cn_span){1, 4}, 1, &arena, &atoms));
    CHECK_INT(atoms.count, 3);
    for (size_t a = 0; a < atoms.count; a++)
        CHECK_INT(atoms.item[a].begin, a + 1);
    CHECK_OK(update_atoms(&batch, (struct cn_span){2, 2}, 100, &arena, &atoms));
    CHECK_INT(atoms.count, 0);
    cn_arena_free(&arena);
}

TEST(mini_batches_share_the_trained_sequences_equally_and_cover_the_batch)
{
    struct cn_arena arena;
    struct cn_batch batch;
    const struct row rows[] = {{1, 0}, {1, 0}, {1, 1}, {1, 1}, {1, 2}, {1, 2}, {1, 3}, {1, 3}};
    cn_arena_init(&arena);
    CHECK_OK(make(&batch, &arena, 1, rows, 8));
    for (size_t s = 0; s < 4; s++)
        batch.drop[s] = CN_DROP_NO_SPREAD;
    struct cn_span first = update_part(&batch, 0, 2), second = update_part(&batch, 1, 2);
    CHECK_INT(first.begin, 0);
    CHECK_INT(first.end, 6); /* four dropped and two trained */
    CHECK_INT(second.begin, 6);
    CHECK_INT(second.end, 8);
    for (size_t s = 4; s < 8; s++)
        batch.drop[s] = CN_DROP_NO_SPREAD; /* nothing is trained */
    CHECK_INT(update_part(&batch, 0, 2).begin, 0);
    CHECK_INT(update_part(&batch, 1, 2).end, 8);
    cn_arena_free(&arena);
}

TEST(the_learning_rate_warms_up_and_falls)
{
    struct optimizer_settings o = {.lr = 1, .min_lr = 0.1, .warmup_steps = 4};
    CHECK_NEAR(update_lr(&o, 0, 20), 0.25, 1e-15);
    CHECK_NEAR(update_lr(&o, 3, 20), 1, 1e-15);
    CHECK_NEAR(update_lr(&o, 19, 20), 1, 1e-15);
    o.schedule = SETTINGS_SCHEDULE_LINEAR;
    CHECK_NEAR(update_lr(&o, 12, 20), 0.55, 1e-15);
    o.schedule = SETTINGS_SCHEDULE_COSINE;
    CHECK_NEAR(update_lr(&o, 12, 20), 0.55, 1e-12);
    CHECK_NEAR(update_lr(&o, 20, 20), 0.1, 1e-12);
}

/* Hbar of SIREN (its equations 8 to 10) over the sequences of a span under the model's present
 * weights: the mean over answers of the mean of what is at or above the 0.8-quantile. */
static enum cn_status siren_mean(struct scene *s, struct cn_span span, double *out)
{
    double entropy[SCENE_GROUPS * SCENE_SAMPLES * SCENE_LENGTH], values[SCENE_LENGTH], sum = 0;
    const struct cn_live_out live = {.entropy_top = entropy};
    const struct cn_atom all = {.batch = &s->batch,
                                .span = cn_batch_all(&s->batch),
                                .temperature = s->settings.rollout.temperature,
                                .top = s->recipe.top,
                                .channels = CN_LIVE_BIT(entropy_top)};
    CN_TRY(cn_model_score(s->model, -1, &all, &live));
    for (size_t q = span.begin; q < span.end; q++) {
        const size_t begin = s->batch.seq_start[q] + SCENE_PROMPT, end = s->batch.seq_start[q + 1];
        double high = 0, n = 0;
        memcpy(values, entropy + begin, (end - begin) * sizeof *values);
        const double threshold = cn_select_quantile(values, end - begin, 0.8);
        for (size_t t = begin; t < end; t++)
            if (entropy[t] >= threshold) high += entropy[t], n++;
        sum += high / n;
    }
    *out = sum / (double)(span.end - span.begin);
    return CN_OK;
}

TEST(sirens_anchor_is_of_the_whole_first_rollout_and_stays)
{
    struct scene s;
    double expected, of_first, of_second;
    const struct scene_setup setup = {
        .type = "table",
        .init = "{\"type\": \"table\", \"vocab_size\": 29, \"order\": 2, \"states\": 841, "
                "\"initializer_range\": 1.5}",
        .config = "{\"train\": {\"mini_batches\": 2}, \"optimizer\": {\"lr\": 0.3}, \"update\": "
                  "{\"atom_tokens\": 64}}",
        .entropy = "[\"siren\"]"};
    CHECK_OK(scene_open(&s, &setup));
    CHECK_OK(siren_mean(&s, cn_batch_all(&s.batch), &expected));
    CHECK_OK(siren_mean(&s, update_part(&s.batch, 0, 2), &of_first));
    CHECK_OK(siren_mean(&s, update_part(&s.batch, 1, 2), &of_second));
    CHECK(fabs(of_first - expected) > 1e-3); /* no mini-batch has it */
    for (int step = 0; step < 2; step++) {
        CHECK_OK(scene_step(&s));
        CHECK_NEAR(cn_metrics_value(&s.metrics, "entropy/siren/target", -1), expected, 1e-12);
    }
    /* The last update's own mean has moved away from what its answers had at the start. */
    CHECK(fabs(cn_metrics_value(&s.metrics, "entropy/siren/actual", -1) - of_second) > 1e-3);
    scene_close(&s);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
