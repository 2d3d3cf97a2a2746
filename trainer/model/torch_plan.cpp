/* Packing of an atom; see torch_plan.h. */
#include "torch_plan.h"
#include "torch_guard.h"

namespace
{

struct sequence {
    size_t begin, end; /* tokens in the batch */
    size_t prompt;     /* leading prompt tokens */
    size_t needed;     /* rows that predict something, or lie before one that does */
};

void check_sequence(const int32_t *ids, size_t n, const struct cn_model_info &info, size_t index)
{
    if (n > info.context_length)
        torch_check(cn_fail(
            CN_ERR_MODEL,
            "sequence %zu has %zu tokens, the model's context is %zu: shorten prompts or answers",
            index, n, info.context_length));
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= info.vocab_size)
            torch_check(
                cn_fail(CN_ERR_MODEL,
                        "token %zu of sequence %zu has id %d, the model's vocabulary has %zu: "
                        "tokenizer and model do not fit",
                        i, index, (int)ids[i], info.vocab_size));
}

sequence measure(const cn_batch &batch, size_t s)
{
    sequence q = {batch.seq_start[s], batch.seq_start[s + 1], 0, 0};
    while (q.begin + q.prompt < q.end && batch.role[q.begin + q.prompt] == CN_ROLE_PROMPT)
        q.prompt++;
    for (size_t t = q.begin + 1; t < q.end; t++)
        if (batch.role[t] == CN_ROLE_POLICY) q.needed = t - q.begin;
    return q;
}

bool same_prompt(const cn_batch &batch, const sequence &a, const sequence &b)
{
    return a.prompt == b.prompt &&
           std::equal(batch.token + a.begin, batch.token + a.begin + a.prompt,
                      batch.token + b.begin);
}

/* Appends rows of `ids` at positions from `position` on; returns the first row. */
size_t add_rows(torch_plan &plan, const int32_t *ids, size_t n, size_t position)
{
    size_t first = plan.rows;
    for (size_t i = 0; i < n; i++) {
        plan.ids.push_back(ids[i]);
        plan.position.push_back((int32_t)(position + i));
    }
    plan.rows += n;
    return first;
}

void add_segment(torch_plan &plan, kernel_segment segment)
{
    if (!segment.length) return;
    segment.pool = plan.pool;
    plan.pool += 2 * segment.parent_length;
    plan.longest = std::max(plan.longest, segment.length + segment.parent_length);
    plan.segments.push_back(segment);
}

/* An item and the row that predicts it, before rows are sorted. */
struct loose_item {
    size_t row;
    plan_item item;
};

/* Where the rows of a sequence lie: the first `shared` from prompt_row on, the others from own_row
 * on. */
struct row_places {
    size_t shared, prompt_row, own_row;
};

void add_items(const cn_batch &batch, const sequence &q, const row_places &places,
               std::vector<loose_item> &loose)
{
    for (size_t t = q.begin + 1; t < q.end; t++) {
        if (batch.role[t] != CN_ROLE_POLICY) continue;
        size_t i = t - 1 - q.begin;
        size_t row =
            i < places.shared ? places.prompt_row + i : places.own_row + (i - places.shared);
        loose.push_back({row, {batch.token[t], t}});
    }
}

/* Sorts the items by row, those of one row in order of the batch. */
void place_items(torch_plan &plan, const std::vector<loose_item> &loose)
{
    std::vector<int32_t> head_of(plan.rows, -1);
    for (const loose_item &l : loose)
        head_of[l.row] = 0;
    for (size_t row = 0; row < plan.rows; row++)
        if (head_of[row] == 0) {
            head_of[row] = (int32_t)plan.head_row.size();
            plan.head_row.push_back((int32_t)row);
        }
    plan.item_start.assign(plan.head_row.size() + 1, 0);
    for (const loose_item &l : loose)
        plan.item_start[(size_t)head_of[l.row] + 1]++;
    for (size_t i = 1; i < plan.item_start.size(); i++)
        plan.item_start[i] += plan.item_start[i - 1];
    std::vector<size_t> next(plan.item_start);
    plan.items.resize(loose.size());
    for (const loose_item &l : loose)
        plan.items[next[(size_t)head_of[l.row]]++] = l.item;
}

void pad(torch_plan &plan)
{
    plan.padded = (plan.rows + 7) / 8 * 8;
    plan.ids.resize(plan.padded, -1);
    plan.position.resize(plan.padded, 0);
}

} // namespace

torch_plan torch_plan_atom(const cn_atom &atom, const struct cn_model_info &info, size_t kv_width)
{
    const cn_batch &batch = *atom.batch;
    torch_plan plan;
    plan.token_begin = batch.seq_start[atom.span.begin];
    plan.token_end = batch.seq_start[atom.span.end];
    std::vector<sequence> sequences;
    for (size_t s = atom.span.begin; s < atom.span.end; s++) {
        sequences.push_back(measure(batch, s));
        check_sequence(batch.token + sequences.back().begin,
                       sequences.back().end - sequences.back().begin, info, s);
    }
    std::vector<loose_item> loose;
    for (size_t i = 0, next; i < sequences.size(); i = next) {
        const sequence &first = sequences[i];
        size_t sharing = first.needed && first.prompt ? 1 : 0;
        for (next = i + 1;
             next < sequences.size() &&
             batch.group[atom.span.begin + next] == batch.group[atom.span.begin + i] &&
             first.prompt && same_prompt(batch, first, sequences[next]);
             next++)
            sharing += sequences[next].needed ? 1 : 0;
        const size_t shared = sharing > 1 ? first.prompt : 0;
        const size_t prompt_row = add_rows(plan, batch.token + first.begin, shared, 0);
        add_segment(plan, {prompt_row, shared, 0, 0, 0});
        for (size_t j = i; j < next; j++) {
            const sequence &q = sequences[j];
            if (!q.needed) continue;
            size_t own = add_rows(plan, batch.token + q.begin + shared, q.needed - shared, shared);
            add_segment(plan, {own, q.needed - shared, prompt_row, shared, 0});
            add_items(batch, q, {shared, prompt_row, own}, loose);
        }
    }
    plan.pool *= kv_width;
    for (kernel_segment &segment : plan.segments)
        segment.pool *= kv_width;
    place_items(plan, loose);
    pad(plan);
    return plan;
}

torch_plan torch_plan_rows(const int32_t *ids, const size_t *start, size_t n, bool all,
                           const struct cn_model_info &info)
{
    torch_plan plan;
    for (size_t s = 0; s < n; s++) {
        size_t length = start[s + 1] - start[s];
        check_sequence(ids + start[s], length, info, s);
        size_t row = add_rows(plan, ids + start[s], length, 0);
        add_segment(plan, {row, length, 0, 0, 0});
        for (size_t i = all ? 0 : length - 1; i < length; i++)
            plan.head_row.push_back((int32_t)(row + i));
    }
    plan.item_start.assign(plan.head_row.size() + 1, 0);
    pad(plan);
    return plan;
}
