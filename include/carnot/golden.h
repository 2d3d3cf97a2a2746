/* Golden vectors: batches on which the papers' formulas were evaluated by an independent script, or
 * by the authors' code.  They are part of the program, so that `carnot selftest` can compare any
 * build on any machine with them. */
#ifndef CARNOT_GOLDEN_H
#define CARNOT_GOLDEN_H

#ifdef __cplusplus
extern "C" {
#endif

struct cn_golden {
    const char *name;                /* case and variant; NULL ends a table */
    const char *algorithm, *entropy; /* sections of a configuration, JSON */
    const char *batch;               /* input row of `carnot gradient`, JSON */
    /* JSON: "loss", flat arrays "d_logp", "d_entropy", "d_entropy_top", "weight", "advantage" over
     * all tokens, and "metrics": what the row must give; what is not named is not compared. */
    const char *expected;
    double tolerance; /* absolute: half a unit of the last digit given */
};

extern const struct cn_golden *const cn_goldens[]; /* tables; NULL-terminated */

#ifdef __cplusplus
}
#endif
#endif
