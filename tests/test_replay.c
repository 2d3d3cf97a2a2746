/* Replay: what is remembered, and its file. */
#include "check.h"

#include "trainer/replay.h"

#include <stdlib.h>
#include <unistd.h>

/* Rollout `number`: three answers of rising length. */
static enum cn_status remember(struct replay *replay, uint32_t number)
{
    int32_t prompt[] = {7, 8}, ids[] = {(int32_t)number, 5, 6};
    double logp[] = {-0.1 * number, -1e-300, -0.25}, entropy[] = {0.1 / 3, 0.2, number};
    CN_TRY(replay_begin(replay));
    for (uint32_t i = 0; i < 3; i++) {
        const struct replayed row = {
            .posed = {.task = 100 + number, .ids = prompt, .n_ids = 2},
            .answer =
                {.ids = ids, .logp = logp, .entropy = entropy, .n = i + 1, .stop = CN_STOP_EOS},
            .scored = {.score = 0.5, .reward = 1.0 / 3, .verdict = CN_VERDICT_WRONG},
            .sample = i,
            .group = number,
            .version = 40 + number,
            .temperature = 0.75F};
        CN_TRY(replay_add(replay, &row));
    }
    return CN_OK;
}

static void check_rows(const struct replay *replay, size_t age, uint32_t number)
{
    size_t n;
    const struct replayed *rows = replay_rows(replay, age, &n);
    CHECK_INT(n, 3);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(rows[i].posed.task, 100 + number);
        CHECK_INT(rows[i].posed.ids[1], 8);
        CHECK_INT(rows[i].answer.n, i + 1);
        CHECK_INT(rows[i].answer.ids[0], number);
        CHECK(rows[i].answer.logp[0] == -0.1 * number && rows[i].answer.entropy[0] == 0.1 / 3);
        CHECK(i < 1 || rows[i].answer.logp[1] == -1e-300);
        CHECK_INT(rows[i].answer.stop, CN_STOP_EOS);
        CHECK(rows[i].scored.reward == 1.0 / 3 && rows[i].scored.score == 0.5);
        CHECK_INT(rows[i].scored.verdict, CN_VERDICT_WRONG);
        CHECK_INT(rows[i].version, 40 + number);
        CHECK_NEAR(rows[i].temperature, 0.75, 0);
    }
}

TEST(the_last_rollouts_are_remembered_and_older_ones_forgotten)
{
    struct replay *replay;
    size_t n;
    CHECK_OK(replay_open(2, &replay));
    CHECK(!replay_rows(replay, 1, &n) && n == 0);
    for (uint32_t number = 1; number <= 3; number++)
        CHECK_OK(remember(replay, number));
    check_rows(replay, 1, 3);
    check_rows(replay, 2, 2);
    CHECK(!replay_rows(replay, 3, &n) && n == 0);
    replay_close(replay);
}

TEST(the_memory_comes_back_from_its_file_and_a_cut_file_is_refused)
{
    char path[] = "/tmp/test_replay_XXXXXX";
    struct replay *replay, *again, *cut;
    struct cn_str bytes = {0};
    int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    CHECK_OK(replay_open(2, &replay));
    CHECK_OK(replay_open(2, &again));
    CHECK_OK(replay_open(2, &cut));
    for (uint32_t number = 1; number <= 3; number++)
        CHECK_OK(remember(replay, number));
    CHECK_OK(replay_save(replay, path));
    CHECK_OK(replay_load(again, path));
    check_rows(again, 1, 3);
    check_rows(again, 2, 2);
    CHECK_OK(cn_file_read(path, 1 << 20, &bytes));
    CHECK_OK(cn_file_replace(path, bytes.data, bytes.length - 5));
    CHECK_FAILS(replay_load(cut, path), CN_ERR_DATA, "cut off");
    CHECK_OK(cn_file_replace(path, "nonsense of some length", 23));
    CHECK_FAILS(replay_load(cut, path), CN_ERR_DATA, path);
    cn_str_free(&bytes);
    unlink(path);
    replay_close(replay);
    replay_close(again);
    replay_close(cut);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
