/* Edit distance with swaps of neighbours (optimal string alignment), by dynamic programming over
 * three rows. */
#include "carnot/nearest.h"

#include <string.h>

enum { WORD_MAX = 63, PART_MIN = 3 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++)
        before[j] = last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last, last = now, now = free_row;
    }
    return last[m];
}

void cn_nearest_offer(struct cn_nearest *nearest, const char *known)
{
    size_t n = strlen(nearest->word), m = strlen(known);
    if (n > WORD_MAX || m > WORD_MAX) return;
    size_t d = distance(nearest->word, n, known, m);
    /* "clip" for "clip_low", "learning_lr" for "lr": one word inside the other is nearer than its
     * length says. */
    if (least(n, m) >= PART_MIN && (strstr(known, nearest->word) || strstr(nearest->word, known)))
        d = least(d, 2);
    if (nearest->best && d >= nearest->distance) return;
    nearest->best = known;
    nearest->distance = d;
}

const char *cn_nearest_found(const struct cn_nearest *nearest)
{
    size_t allowed = (strlen(nearest->word) + 2) / 3;
    if (allowed < 2 && strlen(nearest->word) > 1) allowed = 2;
    return nearest->best && nearest->distance <= allowed ? nearest->best : NULL;
}
