/* The clipped token loss of methods that take tokens over from the surrogate: they set the weight
 * of those to 0 in prepare and add their own term in the loss. */
#ifndef CARNOT_ENTROPY_CLIPPED_H
#define CARNOT_ENTROPY_CLIPPED_H

#include <math.h>

/* max(-A r, -A clip(r, low, high)) with r = exp(u); for A < 0 no more than -A dual. */
struct clipped {
    double low, high; /* bounds of the ratio itself */
    double dual;      /* NaN: none */
};

/* Loss and its derivative in u.  Outside |u| <= 20 the derivative is 0. */
struct clipped_slope {
    double loss, d_u;
};

static inline struct clipped_slope clipped_eval(const struct clipped *clipped, double a, double u)
{
    const double r = exp(fmax(-20, fmin(20, u)));
    const double bounded = fmax(clipped->low, fmin(clipped->high, r));
    struct clipped_slope out = {fmax(-a * r, -a * bounded), fabs(u) > 20 ? 0 : -a * r};
    if ((a > 0 && r > clipped->high) || (a < 0 && r < clipped->low)) out.d_u = 0;
    if (a < 0 && r > clipped->dual) out = (struct clipped_slope){-a * clipped->dual, 0};
    return out;
}

/* k3 estimator of the distance to a policy of log-probability `other`: exp(d) - d - 1 with
 * d = other - logp, and its derivative in logp.  d within 20, the value at most 10. */
static inline struct clipped_slope k3_eval(double logp, double other)
{
    const double d = fmax(-20, fmin(20, other - logp));
    struct clipped_slope out = {expm1(d) - d, fabs(other - logp) > 20 ? 0 : -expm1(d)};
    if (out.loss > 10) out = (struct clipped_slope){10, 0};
    return out;
}

#endif
