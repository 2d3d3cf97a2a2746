/* AdamW in double; see adamw.h. */
#include "adamw.h"

#include <math.h>

double adamw_squares(const struct adamw *a)
{
    double sum = 0;
    for (size_t i = 0; i < a->n; i++)
        sum += (double)a->gradient[i] * (double)a->gradient[i];
    return sum;
}

double adamw_clip(const struct cn_step_options *o, double norm)
{
    return o->clip_norm > 0 ? fmin(1, o->clip_norm / (norm + 1e-6)) : 1;
}

void adamw_step(struct adamw *a, const struct cn_step_options *o, double clip)
{
    a->steps++;
    const double bias1 = 1 - pow(o->beta1, (double)a->steps),
                 bias2 = 1 - pow(o->beta2, (double)a->steps);
    for (size_t i = 0; i < a->n; i++) {
        const double g = (double)a->gradient[i] * clip;
        const double m = o->beta1 * (double)a->m[i] + (1 - o->beta1) * g;
        const double v = o->beta2 * (double)a->v[i] + (1 - o->beta2) * g * g;
        const double decay = i < a->n_decayed ? 1 - o->lr * o->weight_decay : 1;
        const double w = (double)a->weight[i] * decay;
        a->m[i] = (float)m;
        a->v[i] = (float)v;
        a->weight[i] = (float)(w - o->lr / bias1 * m / (sqrt(v / bias2) + o->epsilon));
    }
}
