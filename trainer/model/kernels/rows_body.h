/* Row loops: norm, rotation, gated unit, column sums, optimizer, bf16.  Included by kernels_*.c
 * once per instruction set; see kernels.h for what each does. */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static float sum_of_squares_row(const float *x, size_t n)
{
    vec sum = {0};
    for (size_t i = 0; i < n; i += LANES) {
        vec a = vec_load_part(x + i, n - i);
        sum += a * a;
    }
    return vec_sum(sum);
}

static void norm_forward(const struct kernel_norm *a, size_t begin, size_t end)
{
    const size_t n = a->width;
    for (size_t row = begin; row < end; row++) {
        const float *x = a->x + row * n;
        if (a->add) {
            const float *add = a->add + row * n;
            float *sum = a->sum + row * n;
            for (size_t i = 0; i < n; i += LANES)
                vec_store_part(sum + i, vec_load_part(x + i, n - i) + vec_load_part(add + i, n - i),
                               n - i);
            x = sum;
        }
        float rstd = 1.0f / sqrtf(sum_of_squares_row(x, n) / (float)n + a->eps);
        float *out = a->out + row * n;
        a->rstd[row] = rstd;
        for (size_t i = 0; i < n; i += LANES)
            vec_store_part(
                out + i, vec_load_part(a->weight + i, n - i) * (vec_load_part(x + i, n - i) * rstd),
                n - i);
    }
}

static void norm_apply(const struct kernel_norm *a, size_t begin, size_t end)
{
    const size_t n = a->width;
    for (size_t row = begin; row < end; row++) {
        const float *x = a->x + row * n, rstd = a->rstd[row];
        float *out = a->out + row * n;
        for (size_t i = 0; i < n; i += LANES)
            vec_store_part(
                out + i, vec_load_part(a->weight + i, n - i) * (vec_load_part(x + i, n - i) * rstd),
                n - i);
    }
}

/* With y = x rstd and g = d_out weight:  d_x = rstd (g - y mean(g y)),  d_weight = sum over rows of
 * d_out y. */
static void norm_backward(const struct kernel_norm *a, size_t begin, size_t end)
{
    const size_t n = a->width;
    float *partial = a->partial + begin / KERNEL_BLOCK * n;
    memset(partial, 0, n * sizeof *partial);
    for (size_t row = begin; row < end; row++) {
        const float *x = a->x + row * n, *d = a->d_out + row * n, rstd = a->rstd[row];
        float *d_x = a->d_x + row * n;
        vec dot = {0};
        for (size_t i = 0; i < n; i += LANES) {
            vec y = vec_load_part(x + i, n - i) * rstd, g = vec_load_part(d + i, n - i);
            vec_store_part(partial + i, vec_load_part(partial + i, n - i) + g * y, n - i);
            dot += g * vec_load_part(a->weight + i, n - i) * y;
        }
        float mean = vec_sum(dot) / (float)n;
        for (size_t i = 0; i < n; i += LANES) {
            vec y = vec_load_part(x + i, n - i) * rstd;
            vec g = vec_load_part(d + i, n - i) * vec_load_part(a->weight + i, n - i);
            vec_store_part(d_x + i, vec_load_part(d_x + i, n - i) + rstd * (g - y * mean), n - i);
        }
    }
}

static const float *rotate_weight(const struct kernel_rotate *a, size_t head)
{
    return head < a->query_heads ? a->query_weight : a->key_weight;
}

static void rotate_forward(const struct kernel_rotate *a, size_t begin, size_t end)
{
    const size_t size = a->head_dim, half = size / 2;
    for (size_t row = begin; row < end; row++) {
        const float *cosine = a->cosine + (size_t)a->position[row] * half;
        const float *sine = a->sine + (size_t)a->position[row] * half;
        for (size_t head = 0; head < a->heads; head++) {
            const float *x = a->x + row * a->x_stride + head * size;
            float *y = a->y + row * a->y_stride + head * size;
            const float *weight = rotate_weight(a, head);
            float rstd = 1.0f;
            if (weight) {
                rstd = 1.0f / sqrtf(sum_of_squares_row(x, size) / (float)size + a->eps);
                a->rstd[row * a->heads + head] = rstd;
            }
            for (size_t i = 0; i < half; i += LANES) {
                size_t k = half - i;
                vec low = vec_load_part(x + i, k) * rstd,
                    high = vec_load_part(x + half + i, k) * rstd;
                vec c = vec_load_part(cosine + i, k), s = vec_load_part(sine + i, k);
                if (weight) {
                    low *= vec_load_part(weight + i, k);
                    high *= vec_load_part(weight + half + i, k);
                }
                vec_store_part(y + i, low * c - high * s, k);
                vec_store_part(y + half + i, high * c + low * s, k);
            }
        }
    }
}

/* Norm of one head backwards, in place: d is the gradient of weight x rstd. */
static void rotate_norm_back(const struct kernel_rotate *a, size_t row, size_t head, float *partial)
{
    const size_t n = a->head_dim;
    const float *x = a->x + row * a->x_stride + head * n, *weight = rotate_weight(a, head);
    const float rstd = a->rstd[row * a->heads + head];
    float *d = a->d + row * a->d_stride + head * n;
    float *sum = partial + (head < a->query_heads ? 0 : n);
    vec dot = {0};
    for (size_t i = 0; i < n; i += LANES) {
        vec y = vec_load_part(x + i, n - i) * rstd, g = vec_load_part(d + i, n - i);
        vec_store_part(sum + i, vec_load_part(sum + i, n - i) + g * y, n - i);
        dot += g * vec_load_part(weight + i, n - i) * y;
    }
    float mean = vec_sum(dot) / (float)n;
    for (size_t i = 0; i < n; i += LANES) {
        vec y = vec_load_part(x + i, n - i) * rstd;
        vec g = vec_load_part(d + i, n - i) * vec_load_part(weight + i, n - i);
        vec_store_part(d + i, rstd * (g - y * mean), n - i);
    }
}

static void rotate_backward(const struct kernel_rotate *a, size_t begin, size_t end)
{
    const size_t size = a->head_dim, half = size / 2;
    float *partial = a->query_weight ? a->partial + begin / KERNEL_BLOCK * 2 * size : NULL;
    if (partial) memset(partial, 0, 2 * size * sizeof *partial);
    for (size_t row = begin; row < end; row++) {
        const float *cosine = a->cosine + (size_t)a->position[row] * half;
        const float *sine = a->sine + (size_t)a->position[row] * half;
        for (size_t head = 0; head < a->heads; head++) {
            float *d = a->d + row * a->d_stride + head * size;
            for (size_t i = 0; i < half; i += LANES) {
                size_t k = half - i;
                vec low = vec_load_part(d + i, k), high = vec_load_part(d + half + i, k);
                vec c = vec_load_part(cosine + i, k), s = vec_load_part(sine + i, k);
                vec_store_part(d + i, low * c + high * s, k);
                vec_store_part(d + half + i, high * c - low * s, k);
            }
            if (partial) rotate_norm_back(a, row, head, partial);
        }
    }
}

static void gated_forward(const struct kernel_gated *a, size_t begin, size_t end)
{
    const size_t n = a->width;
    for (size_t row = begin; row < end; row++) {
        const float *gate = a->gate_up + row * 2 * n, *up = gate + n;
        float *hidden = a->hidden + row * n;
        for (size_t i = 0; i < n; i += LANES) {
            vec g = vec_load_part(gate + i, n - i), u = vec_load_part(up + i, n - i);
            vec_store_part(hidden + i, g / (1.0f + vec_exp(-g)) * u, n - i);
        }
    }
}

/* silu(g) = g s with s = sigmoid(g);  silu'(g) = s (1 + g (1 - s)). */
static void gated_backward(const struct kernel_gated *a, size_t begin, size_t end)
{
    const size_t n = a->width;
    for (size_t row = begin; row < end; row++) {
        const float *gate = a->gate_up + row * 2 * n, *up = gate + n, *d = a->d_hidden + row * n;
        float *hidden = a->hidden + row * n, *d_gate = a->d_gate_up + row * 2 * n,
              *d_up = d_gate + n;
        for (size_t i = 0; i < n; i += LANES) {
            size_t k = n - i;
            vec g = vec_load_part(gate + i, k), u = vec_load_part(up + i, k),
                dh = vec_load_part(d + i, k);
            vec s = 1.0f / (1.0f + vec_exp(-g)), silu = g * s;
            vec_store_part(hidden + i, silu * u, k);
            vec_store_part(d_gate + i, dh * u * s * (1.0f + g * (1.0f - s)), k);
            vec_store_part(d_up + i, dh * silu, k);
        }
    }
}

static void column_sum(const float *x, size_t stride, size_t width, size_t rows, float *partial)
{
    memset(partial, 0, width * sizeof *partial);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < width; i += LANES)
            vec_store_part(partial + i,
                           vec_load_part(partial + i, width - i) +
                               vec_load_part(x + row * stride + i, width - i),
                           width - i);
}

static void reduce(const float *partial, size_t blocks, size_t stride, float *out, size_t begin,
                   size_t end)
{
    for (size_t i = begin; i < end; i += LANES) {
        vec sum = {0};
        for (size_t block = 0; block < blocks; block++)
            sum += vec_load_part(partial + block * stride + i, end - i);
        vec_store_part(out + i, vec_load_part(out + i, end - i) + sum, end - i);
    }
}

static uint16_t half_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static void to_bf16(const float *x, uint16_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_of(x[i]);
}

static void from_bf16(const uint16_t *x, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)x[i] << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void add_bf16(const uint16_t *x, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)x[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        out[i] += value;
    }
}

/* m and v are the moments of the clipped gradient; the decay acts on the weight directly. */
static void adamw(const struct kernel_adamw *a, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i += LANES) {
        size_t k = end - i;
        vec g = vec_load_part(a->gradient + i, k) * a->clip;
        vec m = vec_load_part(a->m + i, k), v = vec_load_part(a->v + i, k);
        vec w = vec_load_part(a->weight + i, k) * a->decay;
        m = m + (g - m) * (1.0f - a->beta1);
        v = v * a->beta2 + (1.0f - a->beta2) * g * g;
        float root[LANES];
        vec_store(root, v);
        for (size_t j = 0; j < LANES; j++)
            root[j] = sqrtf(root[j]);
        w = w - a->rate * m / (vec_load(root) * a->correction + a->epsilon);
        vec_store_part(a->m + i, m, k);
        vec_store_part(a->v + i, v, k);
        vec_store_part(a->weight + i, w, k);
    }
    if (a->half) to_bf16(a->weight + begin, a->half + begin, end - begin);
}

static double sum_squares(const float *x, size_t n)
{
    double lane[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++)
            lane[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        lane[i % 8] += (double)x[i] * (double)x[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}
