/* The maths verifier: whether the answer in a reply equals the known one.
 *
 *     reply -> final segment -> extraction policy -> parse -> compare -> verdict
 *
 * Exact: integers and fractions by GMP and FLINT, constants by ball arithmetic, identities by
 * evaluation at keyed points.  Bounded: every limit counts bytes, nodes, bits or operations, so
 * the same input gives the same verdict on every machine.  Deterministic, no global state; any
 * bytes are accepted. */
#ifndef REWARDS_MATH_VERIFY_H
#define REWARDS_MATH_VERIFY_H

#include "carnot/reward.h"

// clang-format off
#define MATH_POLICIES(X) \
    X(AUTO, "auto") X(BOXED, "boxed_last") X(GSM8K, "gsm8k_hash") X(TAG, "answer_tag") X(LINE, "answer_line") \
    X(FINAL, "final_answer_is") X(LAST_MATH, "last_math") X(LAST_NUMBER, "last_number") X(MCQ, "mcq") X(WHOLE, "whole")
// clang-format on
enum math_policy {
#define X(name, text) MATH_POLICY_##name,
    MATH_POLICIES(X)
#undef X
        MATH_POLICY_COUNT
};

enum math_percent { MATH_PERCENT_VALUE, MATH_PERCENT_BARE, MATH_PERCENT_LENIENT };
enum math_units { MATH_UNITS_AGREE, MATH_UNITS_IGNORE };

struct math_rules {
    int policy, percent, units;
    double tolerance;  /* relative, between numbers; 0: the rules for decimals */
    bool set_relation; /* a known interval accepts an inequality */
    bool bare_bases;   /* a known number in a base accepts one without base */
};

struct math_question {
    struct cn_text reply, gold, prompt;
    bool cut; /* the reply was cut off */
};

struct math_result {
    enum cn_verdict verdict;
    struct cn_text extracted;     /* part of the reply */
    const char *gold_type, *tier; /* constants */
    enum math_policy policy;      /* which one found the answer */
    uint32_t ops;
};

/* Work space comes from `arena` and is given back.  Fails: CN_ERR_MEMORY; CN_ERR_CONFIG if this
 * build has no maths verifier. */
enum cn_status math_verify(const struct math_rules *rules, const struct math_question *question,
                           struct cn_arena *arena, struct math_result *out);

/* Logs the verifier's speed on the pairs of FOLDER/math. */
enum cn_status math_bench(const char *folder); /* math_bench.c */

/* Why the known answer cannot be graded; *fault NULL: it can. */
enum cn_status math_check_gold(struct cn_text gold, struct cn_arena *arena, const char **fault);

#endif
