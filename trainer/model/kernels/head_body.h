/* The row over the vocabulary: softmax statistics forward, dL/dlogits backward, in place.  Included
 * by kernels_*.c once per instruction set.
 *
 * With z = logit / temperature, p = softmax(z), l = log sum exp z:
 *     log p(a) = z_a - l            d log p(a) / dz_j = [j = a] - p_j
 *     H = -sum p log p              dH / dz_j = -p_j (log p_j + H)
 * and over a set S (top-p or top-k; membership has no gradient), P = sum over S of p, q = p / P:
 *     renormalised  H_S = -sum_S q log q     dH_S / dz_j = -[j in S] q_j (log q_j + H_S)
 *     partial       E_S = -sum_S p log p     dE_S / dz_k = -[k in S] p_k (log p_k + 1)
 *                                                          + p_k (P - E_S) */

enum { SUM_BLOCK = 1024 }; /* floats added before the sum moves to double */

/* Order-preserving integer of a float (not NaN). */
static inline uint32_t order_key(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* One digit (11, 11, then 10 bits) of the search for the threshold of S. */
struct top_search {
    double taken; /* mass, or count, of what is surely in S */
    double want;
    uint32_t prefix;
};

enum { DIGIT_BITS = 11, DIGIT_SIZE = 1 << DIGIT_BITS };

/* Narrows prefix to the digit in which the running mass reaches `want`.  Mass of a bin is summed in
 * order of token id. */
static void top_digit(const float *z, const struct kernel_head *a, float lse, uint32_t shift,
                      struct top_search *search)
{
    double mass[DIGIT_SIZE] = {0};
    uint32_t count[DIGIT_SIZE] = {0};
    const uint32_t bits = shift ? DIGIT_BITS : 10, above = shift + bits;
    for (size_t j = 0; j < a->vocab; j++) {
        uint32_t key = order_key(z[j]);
        if (above < 32 && (key >> above) != (search->prefix >> above)) continue;
        uint32_t digit = (key >> shift) & ((1u << bits) - 1);
        count[digit]++;
        mass[digit] += a->top == KERNEL_TOP_K ? 1.0 : (double)expf(z[j] * a->scale - lse);
    }
    uint32_t digit = (1u << bits) - 1, last = digit; /* last: lowest bin that holds anything */
    for (;; digit--) {
        if (count[digit]) {
            last = digit;
            if (search->taken + mass[digit] >= search->want) break;
            search->taken += mass[digit];
        }
        if (!digit) { /* rounding: the total is just below `want`, so everything is in S */
            digit = last;
            search->taken -= mass[digit];
            break;
        }
    }
    search->prefix |= digit << shift;
}

/* S = the most probable tokens, added one by one (ties: lower id first) until the mass reaches
 * top_amount, or until there are top_amount of them; never empty, unless the last one, which
 * reaches it, is left out (top_exclusive). */
static void top_threshold(const float *z, const struct kernel_head *a, struct kernel_head_row *row)
{
    struct top_search search = {0, a->top_amount, 0};
    if (search.want > (double)a->vocab) search.want = (double)a->vocab;
    top_digit(z, a, row->lse, 21, &search);
    top_digit(z, a, row->lse, 10, &search);
    top_digit(z, a, row->lse, 0, &search);
    row->top_key = search.prefix;
    row->top_ties = 0;
    for (size_t j = 0; j < a->vocab; j++) {
        if (order_key(z[j]) != search.prefix) continue;
        if (row->top_ties && search.taken >= search.want) break;
        search.taken += a->top == KERNEL_TOP_K ? 1.0 : (double)expf(z[j] * a->scale - row->lse);
        row->top_ties++;
    }
    row->top_ties -= a->top_exclusive;
}

/* Whether token j with logit z is in S; counts ties down. */
static inline bool top_member(const struct kernel_head_row *row, float z, uint32_t *ties)
{
    uint32_t key = order_key(z);
    if (key != row->top_key) return key > row->top_key;
    if (!*ties) return false;
    (*ties)--;
    return true;
}

static void top_forward(const float *z, const struct kernel_head *a, struct kernel_head_row *row)
{
    if (isnan(row->lse)) {
        row->top_entropy = row->lse;
        return;
    }
    top_threshold(z, a, row);
    uint32_t ties = row->top_ties;
    double mass = 0, sum = 0; /* of p, p log p over S */
    for (size_t j = 0; j < a->vocab; j++) {
        if (!top_member(row, z[j], &ties)) continue;
        double log_p = (double)(z[j] * a->scale - row->lse), p = exp(log_p);
        mass += p;
        sum += p * log_p;
    }
    row->top_mass = (float)mass;
    row->top_entropy = (float)(mass <= 0 ? 0 : a->top_renormalised ? log(mass) - sum / mass : -sum);
}

static void head_forward(const struct kernel_head *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *z = a->logits + r * a->vocab;
        struct kernel_head_row *row = &a->rows[r];
        vec top = vec_all(-INFINITY);
        for (size_t j = 0; j < a->vocab; j += LANES) {
            vec x = vec_load_part(z + j, a->vocab - j);
            if (a->vocab - j < LANES) x = vec_all(vec_largest_part(z + j, a->vocab - j));
            top = vec_max(x, top);
        }
        const float largest = vec_largest(top) * a->scale;
        double sum = 0, weighted = 0; /* of e^d, e^d d with d = z - max */
        for (size_t block = 0; block < a->vocab; block += SUM_BLOCK) {
            vec s = {0}, w = {0};
            size_t stop = least(block + SUM_BLOCK, a->vocab);
            for (size_t j = block; j < stop; j += LANES) {
                vec d = vec_load_part(z + j, stop - j) * a->scale - largest, e = vec_exp(d);
                if (stop - j < LANES) e = vec_keep(e, stop - j);
                s += e;
                w += e * d;
            }
            sum += (double)vec_sum(s);
            weighted += (double)vec_sum(w);
        }
        row->lse = largest + (float)log(sum);
        row->entropy = (float)(log(sum) - weighted / sum);
        if (a->top != KERNEL_TOP_NONE) top_forward(z, a, row);
    }
}

/* Adds d_top dH_S/dz to the gradient; z has already become g, so the logits come in a copy. */
static void top_backward(const float *z, float *g, const struct kernel_head *a,
                         const struct kernel_head_row *row)
{
    uint32_t ties = row->top_ties;
    const float log_mass = logf(row->top_mass), spread = row->top_mass - row->top_entropy;
    for (size_t j = 0; j < a->vocab; j++) {
        float log_p = z[j] * a->scale - row->lse, p = expf(log_p), d = 0;
        bool in = top_member(row, z[j], &ties);
        if (a->top_renormalised)
            d = in ? -p / row->top_mass * (log_p - log_mass + row->top_entropy) : 0.0f;
        else
            d = p * spread - (in ? p * (log_p + 1.0f) : 0.0f);
        g[j] += row->d_top * d * a->scale;
    }
}

static void head_backward(const struct kernel_head *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const struct kernel_head_row *row = &a->rows[r];
        float *z = a->logits + r * a->vocab;
        float *copy =
            a->top != KERNEL_TOP_NONE && row->d_top != 0 ? a->spare + begin * a->vocab : NULL;
        if (copy) memcpy(copy, z, a->vocab * sizeof *z);
        /* g = -p (d_logp + d_entropy (log p + H)) */
        const float lse = row->lse, u = row->d_logp + row->d_entropy * row->entropy,
                    v = row->d_entropy;
        for (size_t j = 0; j < a->vocab; j += LANES) {
            size_t k = a->vocab - j;
            vec log_p = vec_load_part(z + j, k) * a->scale - lse;
            vec_store_part(z + j, vec_exp(log_p) * (u + v * log_p) * -a->scale, k);
        }
        if (copy) top_backward(copy, z, a, row);
    }
}
