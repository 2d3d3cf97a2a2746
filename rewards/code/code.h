/* Code rewards: from a reply to a program, from a known answer to tests, and from both to a count.
 */
#ifndef REWARDS_CODE_H
#define REWARDS_CODE_H

#include "sandbox/sandbox.h"

#include "carnot/batch.h"
#include "carnot/json.h"

/* name, words behind ``` that mean it */
#define CODE_LANGUAGES(X)                                                                          \
    X(PYTHON, "python", "python py python3") X(C, "c", "c") X(CPP, "cpp", "cpp c++ cc cxx")

enum code_language {
#define X(name, word, tags) CODE_##name,
    CODE_LANGUAGES(X)
#undef X
        CODE_LANGUAGE_COUNT
};

const char *code_language_name(enum code_language language);

/* The program of a reply. */
struct code_found {
    struct cn_text text;
    bool tagged; /* the block says which language it is */
    enum code_language language;
    bool cut_off; /* the reply ends inside a block */
};

/* The last closed block between ``` lines that is of a known language or of none; without any
 * block, the whole reply if `bare`.  Empty text: nothing. */
struct code_found code_find(struct cn_text reply, bool bare);

enum code_kind { CODE_STDIO, CODE_PROGRAM };

/* What a program is tested with. */
struct code_suite {
    enum code_kind kind;
    bool has_language;
    enum code_language language;
    const struct cn_json *input, *output; /* STDIO: first elements; see code_suite_next */
    bool paired;                          /* both are lists of their own */
    size_t n;                             /* tests; PROGRAM: 0, the checker counts */
    struct cn_text text;                  /* PROGRAM: as the data set has it */
    struct cn_json *root;                 /* NULL if it is not JSON */
};

/* Reads the shapes that data sets have (rewards/README.md lists them).
 * *fault is NULL, or says why it cannot be tested with.  Close it in any case. */
enum cn_status code_suite_read(struct cn_text ground_truth, struct code_suite *out,
                               const char **fault);
void code_suite_close(struct code_suite *suite);

/* How programs are run and compared. */
struct code_rules {
    struct sandbox_limits limits;
    const char *python, *entry;
    bool tokens;      /* compare words, not lines */
    double tolerance; /* numbers may differ by this much, relative to 1 or the expected one */
    bool all;         /* one test that fails is enough to stop */
    size_t tests_max; /* 0: all */
};

/* What came of it. */
struct code_result {
    enum cn_verdict verdict;
    size_t passed, tests;
    double time_s; /* processor time of the program */
    char why[256]; /* of CRASHED */
};

/* Compiles if need be, and runs every test.  Several threads may call this at once.
 * Fails: CN_ERR_MEMORY only; whatever the program does is a verdict. */
enum cn_status code_judge(struct sandbox *sandbox, const struct code_rules *rules,
                          const struct code_suite *suite, const struct code_found *program,
                          struct code_result *out);

/* Whether an output is the expected one: lines without white space at their end, empty lines at the
 * end left out; or words. */
bool code_same(const struct code_rules *rules, struct cn_text output, struct cn_text expected);

/* Logs how fast programs run. */
enum cn_status code_bench(const char *folder);

/* The programs that run inside, Python text (rewards/code/NAME.py). */
extern const char code_solution[], code_checker[];

#endif
