/* Added tokens: whole strings of a text that are tokens by themselves. */
#include "added.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>

static int by_needle(const void *left, const void *right)
{
    struct cn_text a = (*(struct added_token *const *)left)->needle;
    struct cn_text b = (*(struct added_token *const *)right)->needle;
    int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

enum cn_status added_index(struct added_set *set)
{
    for (int half = 0; half < 2; half++) {
        set->sorted[half] = calloc(set->count + 1, sizeof *set->sorted[half]);
        if (!set->sorted[half]) return cn_fail(CN_ERR_MEMORY, "out of memory: added tokens");
        for (size_t i = 0; i < set->count; i++) {
            struct added_token *token = &set->token[i];
            if (token->normalized != (half == 1) || !token->needle.length) continue;
            set->sorted[half][set->n_sorted[half]++] = token;
            set->first[half][(unsigned char)token->needle.data[0]] = true;
        }
        qsort(set->sorted[half], set->n_sorted[half], sizeof *set->sorted[half], by_needle);
    }
    return CN_OK;
}

void added_free(struct added_set *set)
{
    free(set->token);
    free(set->sorted[0]);
    free(set->sorted[1]);
    cn_str_free(&set->pool);
    *set = (struct added_set){0};
}

const struct added_token *added_find(const struct added_set *set, int32_t id)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->token[i].id == id) return &set->token[i];
    return NULL;
}

/* First of sorted[low, high) whose byte at `depth` is at least `byte`; all of them are longer than
 * `depth`. */
static size_t lower_bound(struct added_token *const *sorted, size_t low, size_t high, size_t depth,
                          unsigned byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)sorted[middle]->needle.data[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest needle that stands at the beginning of `text`: the range of needles that agree so far
 * shrinks byte by byte; one that ends here is the first of its range. */
static const struct added_token *longest_at(const struct added_set *set, int half,
                                            struct cn_text text)
{
    struct added_token *const *sorted = set->sorted[half];
    const struct added_token *found = NULL;
    size_t low = 0, high = set->n_sorted[half];
    for (size_t depth = 0; low < high; depth++) {
        if (sorted[low]->needle.length == depth) {
            found = sorted[low];
            while (low < high && sorted[low]->needle.length == depth)
                low++;
        }
        if (depth == text.length) break;
        unsigned byte = (unsigned char)text.data[depth];
        low = lower_bound(sorted, low, high, depth, byte);
        high = lower_bound(sorted, low, high, depth, byte + 1);
    }
    return found;
}

/* The longest needle at search->at, which moves to the next place where one stands. */
static const struct added_token *scan_text(const struct added_set *set, struct added_search *search)
{
    int half = search->normalized;
    const struct added_guard *guard = search->guard;
    const struct added_guard *end = search->n_guards ? guard + search->n_guards : guard;
    for (; search->at < search->text.length; search->at++) {
        size_t at = search->at, limit = search->text.length;
        if (!set->first[half][(unsigned char)search->text.data[at]]) continue;
        while (guard < end && guard->end <= at)
            guard++;
        if (guard < end) {
            if (at >= guard->begin) {
                search->at = guard->end - 1;
                continue;
            }
            limit = guard->begin;
        }
        const struct added_token *token =
            longest_at(set, half, (struct cn_text){search->text.data + at, limit - at});
        if (token) return token;
    }
    return NULL;
}

/* Whether the text before `begin` and from `end` on does not go on as a word. */
static bool stands_alone(struct cn_text text, size_t begin, size_t end)
{
    uint32_t code;
    if (begin > 0 && utf8_is_word(utf8_last(text.data, text.data + begin))) return false;
    if (end == text.length) return true;
    utf8_step(text.data + end, text.data + text.length, &code);
    return !utf8_is_word(code);
}

static size_t spaces_before(struct cn_text text, size_t end)
{
    while (end > 0) {
        uint32_t code = utf8_last(text.data, text.data + end);
        char bytes[4];
        if (!utf8_is_space(code)) break;
        end -= utf8_put(code, bytes);
    }
    return end;
}

static size_t spaces_after(struct cn_text text, size_t begin)
{
    while (begin < text.length) {
        uint32_t code;
        size_t length = utf8_step(text.data + begin, text.data + text.length, &code);
        if (!utf8_is_space(code)) break;
        begin += length;
    }
    return begin;
}

bool added_next(const struct added_set *set, struct added_search *search, struct added_match *match)
{
    const struct added_token *token;
    if (set->n_sorted[search->normalized] == 0) return false;
    while ((token = scan_text(set, search)) != NULL) {
        size_t begin = search->at, end = begin + token->needle.length;
        search->at = end;
        if (token->single_word && !stands_alone(search->text, begin, end)) continue;
        if (token->lstrip) {
            begin = spaces_before(search->text, begin);
            if (begin < search->taken) begin = search->taken;
        }
        if (token->rstrip) end = spaces_after(search->text, end);
        search->taken = end;
        *match = (struct added_match){token, begin, end};
        return true;
    }
    return false;
}
