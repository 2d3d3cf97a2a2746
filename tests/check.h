/* The test harness: checks that print both values, and tests named by a sentence.
 *
 *     TEST(clipped_ratio_has_zero_gradient) { CHECK_NEAR(slope.d_u, 0.0, 0.0); }
 *     int main(int argc, char **argv) { return check_main(argc, argv); }
 *
 * `test_x NAME` runs the tests whose name contains NAME.  SKIP("why") leaves a test and says so. */
#ifndef CARNOT_CHECK_H
#define CARNOT_CHECK_H

#include "carnot/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
};

static struct check_test *check_tests;
static int check_failures, check_skips;

#define TEST(test_name)                                                                            \
    static void test_name(void);                                                                   \
    static struct check_test check_test_##test_name = {#test_name, test_name, NULL};               \
    __attribute__((constructor)) static void check_add_##test_name(void)                           \
    {                                                                                              \
        struct check_test **end = &check_tests;                                                    \
        while (*end)                                                                               \
            end = &(*end)->next;                                                                   \
        *end = &check_test_##test_name;                                                            \
    }                                                                                              \
    static void test_name(void)

#define CHECK_FAILED(...)                                                                          \
    (check_failures++, printf("  FAILED %s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__),        \
     printf("\n"))

#define CHECK(condition) ((condition) ? (void)0 : (void)CHECK_FAILED("%s", #condition))

/* A call that must succeed; leaves the test otherwise. */
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        if ((call) != CN_OK) {                                                                     \
            CHECK_FAILED("%s: %s", #call, cn_fail_message());                                      \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* A call that must fail with `code` and a message that contains `part`. */
#define CHECK_FAILS(call, code, part)                                                              \
    do {                                                                                           \
        enum cn_status check_status_ = (call);                                                     \
        if (check_status_ != (code))                                                               \
            CHECK_FAILED("%s: status %s, expected %s (%s)", #call, cn_status_name(check_status_),  \
                         cn_status_name(code), cn_fail_message());                                 \
        else if (!strstr(cn_fail_message(), part))                                                 \
            CHECK_FAILED("%s: message \"%s\" lacks \"%s\"", #call, cn_fail_message(), part);       \
        cn_fail_clear();                                                                           \
    } while (0)

#define CHECK_INT(found, expected)                                                                 \
    do {                                                                                           \
        long long check_a_ = (long long)(found), check_b_ = (long long)(expected);                 \
        if (check_a_ != check_b_)                                                                  \
            CHECK_FAILED("%s is %lld, expected %lld", #found, check_a_, check_b_);                 \
    } while (0)

#define CHECK_NEAR(found, expected, tolerance)                                                     \
    do {                                                                                           \
        double check_a_ = (double)(found), check_b_ = (double)(expected);                          \
        if (!(fabs(check_a_ - check_b_) <= (tolerance)))                                           \
            CHECK_FAILED("%s is %.17g, expected %.17g, differs by %g (allowed %g)", #found,        \
                         check_a_, check_b_, fabs(check_a_ - check_b_), (double)(tolerance));      \
    } while (0)

#define CHECK_TEXT(found, expected)                                                                \
    do {                                                                                           \
        const char *check_a_ = (found), *check_b_ = (expected);                                    \
        if (!check_a_ || strcmp(check_a_, check_b_) != 0)                                          \
            CHECK_FAILED("%s is \"%s\", expected \"%s\"", #found, check_a_ ? check_a_ : "(null)",  \
                         check_b_);                                                                \
    } while (0)

#define SKIP(...)                                                                                  \
    do {                                                                                           \
        check_skips++;                                                                             \
        printf("  SKIPPED: "), printf(__VA_ARGS__), printf("\n");                                  \
        return;                                                                                    \
    } while (0)

static inline int check_main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    for (struct check_test *t = check_tests; t; t = t->next) {
        if (argc > 1 && !strstr(t->name, argv[1])) continue;
        int before = check_failures, skips_before = check_skips;
        printf("%s\n", t->name);
        fflush(stdout);
        t->run();
        if (check_failures != before)
            failed++;
        else if (check_skips == skips_before)
            passed++;
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, check_skips);
    return failed ? 1 : 0;
}
#endif
