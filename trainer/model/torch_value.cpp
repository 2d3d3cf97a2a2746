/* The value head; see torch_value.h.  Every sum runs in a fixed order: over the hidden width within
 * a row, and over the rows within a column, so the bits do not depend on threads. */
#include "torch_value.h"

void torch_value_forward(const torch_plan &plan, const at::Tensor &hidden, const value_head &head,
                         double *value)
{
    std::fill(value + plan.token_begin, value + plan.token_end, 0.0);
    if (!plan.rows) return;
    const float *h = data(hidden), *w = head.all.weight;
    const size_t width = head.all.n_decayed;
    torch_rows(plan.head_row.size(), 64, [&](size_t begin, size_t end) {
        for (size_t r = begin; r < end; r++) {
            const float *row = h + (size_t)plan.head_row[r] * width;
            double sum = (double)w[width];
            for (size_t i = 0; i < width; i++)
                sum += (double)w[i] * (double)row[i];
            for (size_t i = plan.item_start[r]; i < plan.item_start[r + 1]; i++)
                value[plan.items[i].token] = sum;
        }
    });
}

void torch_value_backward(const torch_head_pass &p, const double *d_value, value_head &head,
                          const at::Tensor &d_hidden)
{
    const float *h = data(p.hidden), *w = head.all.weight;
    constexpr size_t columns = 64;
    const size_t width = head.all.n_decayed, rows = p.plan.head_row.size();
    float *d_h = data(d_hidden), *gradient = head.all.gradient;
    std::vector<double> d(rows); /* of a row: summed over the tokens that it predicts */
    double bias = 0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = p.plan.item_start[r]; i < p.plan.item_start[r + 1]; i++)
            d[r] += d_value[p.plan.items[i].token];
        bias += d[r];
    }
    gradient[width] += (float)bias;
    torch_rows((width + columns - 1) / columns, 1, [&](size_t begin, size_t end) {
        for (size_t block = begin; block < end; block++) {
            const size_t first = block * columns, n = std::min(columns, width - first);
            double sum[columns] = {};
            for (size_t r = 0; r < rows; r++) {
                const size_t at = (size_t)p.plan.head_row[r] * width + first;
                for (size_t i = 0; i < n; i++) {
                    sum[i] += d[r] * (double)h[at + i];
                    d_h[at + i] += (float)(d[r] * (double)w[first + i]);
                }
            }
            for (size_t i = 0; i < n; i++)
                gradient[first + i] += (float)sum[i];
        }
    });
}
