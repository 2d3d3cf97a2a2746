/* Exact sums of gradients where they lie: the integers of trainer/ranks/gradient_sum.h, with the
 * same roundings, by operators.  In pieces, so that what lies beside them is small. */
#include "torch_device.h"

#include <algorithm>
#include <cmath>

namespace
{

constexpr int64_t piece = 1 << 24; /* elements: 0.4 GB of doubles, integers and marks */

template <class body_type> void in_pieces(const device_model &model, body_type body)
{
    const int64_t size = model.gradient.numel();
    for (int64_t at = 0; at < size; at += piece) {
        const int64_t n = std::min(piece, size - at);
        body(model.gradient.narrow(0, at, n), model.fixed.narrow(0, at, n));
    }
}

void need(const device_model &model)
{
    if (!model.fixed.defined())
        torch_check(cn_fail(CN_ERR_BUG, "cn_model_fixed was not called before"));
}

} // namespace

void device_fixed(device_model &model, cn_buffer &out, bool &fits)
{
    if (!model.gradient.defined())
        torch_check(cn_fail(CN_ERR_BUG, "gradients of a model that was opened for scoring only"));
    model.part = PLAN_SUM;
    if (!model.fixed.defined()) {
        model.fixed = at::zeros({model.gradient.numel()}, model.of(at::kLong));
        model.misfits = at::zeros({}, model.of(at::kBool));
    }
    out = torch_flat(model.fixed);
    out.dtype = CN_DTYPE_I64;
    fits = !model.misfits.item<bool>();
}

/* What is no number is not below the limit, either. */
void device_fixed_add(device_model &model, double limit)
{
    need(model);
    model.part = PLAN_WORK;
    in_pieces(model, [&](const at::Tensor &gradient, at::Tensor fixed) {
        at::Tensor x = gradient.to(at::kDouble);
        const at::Tensor misfits = x.abs().lt(limit).logical_not_();
        model.misfits.logical_or_(misfits.any());
        fixed.add_(x.mul_(1 / CN_FIXED_UNIT).round_().masked_fill_(misfits, 0).to(at::kLong));
    });
    model.gradient.zero_();
}

void device_fixed_read(device_model &model, bool fits)
{
    need(model);
    model.part = PLAN_WORK;
    in_pieces(model, [&](at::Tensor gradient, const at::Tensor &fixed) {
        gradient.copy_(fixed.to(at::kDouble).mul_(CN_FIXED_UNIT));
    });
    if (!fits) model.gradient.narrow(0, 0, 1).fill_(NAN);
}
