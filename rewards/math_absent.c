/* The maths verifier in a build without GMP and FLINT: it says so when it is chosen. */
#include "math_verify.h"

static enum cn_status absent(void)
{
    return cn_fail(CN_ERR_CONFIG,
                   "this build has no maths verifier (CN_WITH_MATH=OFF): install libgmp-dev, "
                   "libflint-dev and libflint-arb-dev (launch/setup does) and build again, or use "
                   "the reward exact_answer");
}

enum cn_status math_verify(const struct math_rules *rules, const struct math_question *question,
                           struct cn_arena *arena, struct math_result *out)
{
    (void)rules, (void)question, (void)arena, (void)out;
    return absent();
}

enum cn_status math_check_gold(struct cn_text gold, struct cn_arena *arena, const char **fault)
{
    (void)gold, (void)arena, (void)fault;
    return absent();
}
