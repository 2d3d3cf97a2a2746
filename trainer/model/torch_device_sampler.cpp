/* Sampling on the device: static slots, each with a row of the cache of keys and values.
 *
 *   slot 0   t t t t t t . . . . |x      t: keys and values; x: where idle slots and padding write
 *   slot 1   t t t . . . . . . . |x
 *
 * One step computes one token for every slot, whatever is open, from state that lies on the device:
 * so a step is always the same launches (a CUDA graph) and waits for nothing.  The host asks for
 * several steps at once and keeps what was drawn beyond its question; a draw depends on its
 * counters and its past only, so running ahead changes no sample.  What was drawn ahead is dropped
 * when the slot closes or gets other tokens; the cache behind the slot's length is then written
 * again. */
#include "torch_cuda.h"
#include "torch_device.h"

#include <cmath>
#include <deque>

extern "C" enum cn_status choose_check(const struct cn_draw *draw); /* decode/choose.h */

namespace
{

constexpr size_t steps_ahead = 8;     /* tokens drawn between two looks at the host's wishes */
constexpr size_t prefill_rows = 8192; /* prompt tokens of one pass, about */

struct device_slot {
    bool open = false;
    cn_draw draw = {};
    size_t cached = 0;          /* tokens in the cache, of those the host knows */
    int32_t pending = 0;        /* the token after them */
    std::vector<int32_t> todo;  /* tokens to go into the cache before that */
    std::deque<cn_drawn> ahead; /* drawn, not handed out yet */

    size_t tokens() const
    {
        return cached + todo.size() + 1;
    }
};

/* Rows of the state beyond those of a draw. */
enum { STATE_PENDING = DRAW_INTEGERS, STATE_LENGTH, STATE_LIMIT, STATE_ROWS };

struct device_sampler {
    device_model &model;
    size_t slots, context, width = (slots + 7) / 8 * 8;
    std::vector<device_slot> slot = {};
    at::Tensor k = {}, v = {};         /* (layers, width, context + 1, kv_heads, head_dim) */
    at::Tensor state = {}, reals = {}; /* (STATE_ROWS, width) int64, (DRAW_REALS, width) double */
    at::Tensor counter = {},
               results =
                   {}; /* (1) int64: step of the run; (steps_ahead, width, DRAWN_VALUES) double */
    at::Tensor slot_ids = {}, cu_q = {}, cu_k = {};
    std::function<void()> step[2] = {}; /* launches a step, plain and with top-k or top-p */
};

device_sampler &sampler_of(void *self)
{
    return *(device_sampler *)self;
}

/* ---- one pass over the cache --------------------------------------------- */

/* Rows of several slots: tokens `ids` at `position` of slot `row`. */
struct cache_rows {
    at::Tensor ids, position, row;
    device_spans spans; /* keys: the cache's rows of all slots, end to end */
};

at::Tensor pass(device_sampler &s, const cache_rows &rows)
{
    const device_attend attend = [&](size_t layer, const at::Tensor &q, const at::Tensor &k,
                                     const at::Tensor &v) {
        at::Tensor keys = s.k[(int64_t)layer], values = s.v[(int64_t)layer];
        keys.index_put_({rows.row, rows.position}, k);
        values.index_put_({rows.row, rows.position}, v);
        return device_attention_forward(q, keys.flatten(0, 1), values.flatten(0, 1), rows.spans);
    };
    return device_hidden(device_net_of(s.model, s.model.weights, rows.position, attend), rows.ids);
}

/* Computes the waiting tokens of slots from `first` on; returns where to go on. */
size_t prefill_some(device_sampler &s, size_t first)
{
    std::vector<int32_t> ids;
    std::vector<size_t> position, row, cu_q = {0}, used;
    size_t longest = 2; /* flash takes 1 to mean that every slot has a query */
    for (size_t i = 0; i < s.width; i++) {
        device_slot &slot = s.slot[i];
        const size_t n = i < first || ids.size() > prefill_rows ? 0 : slot.todo.size();
        for (size_t j = 0; j < n; j++) {
            ids.push_back(slot.todo[j]);
            position.push_back(slot.cached + j);
            row.push_back(i);
        }
        longest = std::max(longest, n);
        cu_q.push_back(ids.size());
        used.push_back(n ? slot.cached + n : 1);
        if (n) slot.todo.clear();
        slot.cached += n;
    }
    while (ids.size() % 8) { /* a row's bits then do not depend on the number of rows (MKL) */
        ids.push_back(0);
        position.push_back(s.context);
        row.push_back(0);
    }
    if (ids.empty()) return s.width;
    cache_rows rows = {device_upload(s.model, ids),
                       device_upload(s.model, position),
                       device_upload(s.model, row),
                       {}};
    rows.spans.cu_q = device_upload(s.model, cu_q, at::kInt);
    rows.spans.cu_k = s.cu_k;
    rows.spans.used = device_upload(s.model, used, at::kInt);
    rows.spans.max_q = (int64_t)longest;
    rows.spans.max_k = (int64_t)s.context + 1;
    pass(s, rows);
    size_t next = first;
    while (next < s.width && s.slot[next].todo.empty())
        next++;
    return next;
}

void prefill(device_sampler &s)
{
    s.model.part = PLAN_ROWS;
    for (size_t next = 0; next < s.width;)
        next = prefill_some(s, next);
}

/* One step of all slots. */
void advance(device_sampler &s, bool truncated)
{
    const int64_t context = (int64_t)s.context;
    at::Tensor pending = s.state[STATE_PENDING], length = s.state[STATE_LENGTH];
    cache_rows rows = {pending, length, s.slot_ids, {}};
    rows.spans.cu_q = s.cu_q;
    rows.spans.cu_k = s.cu_k;
    rows.spans.used = at::where(length < context, length + 1, 1).to(at::kInt);
    rows.spans.max_q = 1;
    rows.spans.max_k = context + 1;
    at::Tensor z = device_logits(s.model.weights, pass(s, rows));
    at::Tensor drawn = device_draw(z, s.state.narrow(0, 0, DRAW_INTEGERS), s.reals, truncated);
    s.results.index_copy_(0, s.counter, drawn.unsqueeze(0));
    at::Tensor running = s.counter < s.state[STATE_LIMIT];
    pending.copy_(at::where(running, drawn.select(1, 0).to(at::kLong), pending));
    length.add_(running);
    s.state[DRAW_POSITION].add_(running);
    s.counter.add_(1);
}

/* ---- runs of steps ------------------------------------------------------- */

bool is_truncated(const device_sampler &s, const cn_draw &draw)
{
    return draw.top_p < 1 ||
           (draw.top_k > 0 && (uint64_t)draw.top_k < (uint64_t)s.model.host->shape.vocab);
}

/* What the device is told before a run. */
struct run_state {
    at::Tensor integers, reals; /* on the host */
    int64_t steps = 0;
    bool truncated = false;
};

run_state idle_state(const device_sampler &s)
{
    run_state r;
    r.integers = at::zeros({STATE_ROWS, (int64_t)s.width}, at::kLong);
    r.reals = at::ones({DRAW_REALS, (int64_t)s.width}, at::kDouble);
    r.integers[STATE_LENGTH].fill_((int64_t)s.context);
    r.integers[DRAW_TOP_K].fill_((int64_t)s.model.host->shape.vocab);
    return r;
}

/* A slot that goes on, from its last token drawn so far. */
void set_slot(const device_sampler &s, run_state &r, size_t index)
{
    const device_slot &slot = s.slot[index];
    const size_t tokens = slot.tokens() + slot.ahead.size();
    const int64_t limit = (int64_t)std::min(steps_ahead - slot.ahead.size(), s.context - tokens);
    cn_rng rng;
    cn_rng_open(&rng, slot.draw.key, slot.draw.prompt, slot.draw.sample, (uint32_t)tokens);
    const int64_t column[STATE_ROWS] = {rng.key.word[0],
                                        rng.key.word[1],
                                        rng.counter[3],
                                        rng.counter[2],
                                        rng.counter[1],
                                        slot.draw.greedy,
                                        slot.draw.top_k > 0 ? slot.draw.top_k
                                                            : (int64_t)s.model.host->shape.vocab,
                                        slot.ahead.empty() ? slot.pending : slot.ahead.back().token,
                                        (int64_t)tokens - 1,
                                        limit};
    for (int64_t i = 0; i < STATE_ROWS; i++)
        r.integers.data_ptr<int64_t>()[i * (int64_t)s.width + (int64_t)index] = column[i];
    r.reals.data_ptr<double>()[index] = slot.draw.temperature;
    r.reals.data_ptr<double>()[s.width + index] = slot.draw.top_p;
    r.steps = std::max(r.steps, limit);
    r.truncated = r.truncated || is_truncated(s, slot.draw);
}

void upload(device_sampler &s, const run_state &r)
{
    s.state.copy_(r.integers);
    s.reals.copy_(r.reals);
    s.counter.zero_();
}

/* The launches of a step, recorded once; recording runs steps, so every slot idles meanwhile. */
const std::function<void()> &step_of(device_sampler &s, bool truncated)
{
    std::function<void()> &step = s.step[truncated];
    if (step) return step;
    const std::function<void()> launch = [&s, truncated] { advance(s, truncated); };
    const bool fixed = device_attention_is_flash(s.model.device, s.model.type,
                                                 (int64_t)s.model.host->shape.head_dim);
    upload(s, idle_state(s));
    step = fixed ? cuda_record(launch) : launch;
    return step;
}

/* Fills `ahead` of the listed slots: the only wait is for the results of the whole run. */
void run(device_sampler &s, const size_t *slots, size_t n)
{
    prefill(s);
    run_state r = idle_state(s);
    for (size_t i = 0; i < n; i++)
        if (s.slot[slots[i]].ahead.size() < steps_ahead) set_slot(s, r, slots[i]);
    const std::function<void()> &step = step_of(s, r.truncated);
    upload(s, r);
    for (int64_t i = 0; i < r.steps; i++)
        step();
    const at::Tensor host = s.results.narrow(0, 0, r.steps).to(at::kCPU).contiguous();
    const int64_t *limit = r.integers.data_ptr<int64_t>() + STATE_LIMIT * (int64_t)s.width;
    for (size_t i = 0; i < n; i++)
        for (int64_t t = 0; t < limit[slots[i]]; t++) {
            const double *d =
                host.data_ptr<double>() + (t * (int64_t)s.width + (int64_t)slots[i]) * DRAWN_VALUES;
            s.slot[slots[i]].ahead.push_back({(int32_t)d[DRAWN_TOKEN], d[DRAWN_LOGP],
                                              d[DRAWN_LOGP_TRUNCATED], d[DRAWN_ENTROPY]});
        }
}

/* ---- the table of functions; checks and messages as in sampler_plain.c ---- */

void check_ids(const device_sampler &s, const int32_t *ids, size_t n, size_t already)
{
    if (n > s.context || already > s.context - n)
        torch_check(cn_fail(CN_ERR_MODEL,
                            "a sequence of %zu tokens exceeds the sampler's context of %zu",
                            already + n, s.context));
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= s.model.host->shape.vocab)
            torch_check(cn_fail(CN_ERR_MODEL,
                                "token id %d at position %zu is outside the vocabulary of %zu",
                                ids[i], already + i, s.model.host->shape.vocab));
}

device_slot &open_slot(device_sampler &s, size_t index)
{
    if (index >= s.slots || !s.slot[index].open)
        torch_check(cn_fail(CN_ERR_BUG, "slot %zu is not open", index));
    return s.slot[index];
}

size_t free_slot(const device_sampler &s)
{
    for (size_t i = 0; i < s.slots; i++)
        if (!s.slot[i].open) return i;
    torch_check(cn_fail(CN_ERR_BUG, "all %zu slots are open", s.slots));
    return 0;
}

void allocate(device_sampler &s)
{
    const device_model &m = s.model;
    const struct model_shape &shape = m.host->shape;
    const int64_t width = (int64_t)s.width, rows = (int64_t)s.context + 1;
    s.model.part = PLAN_CACHE;
    s.k = at::zeros(
        {(int64_t)shape.layers, width, rows, (int64_t)shape.kv_heads, (int64_t)shape.head_dim},
        m.of(m.type));
    s.v = at::zeros_like(s.k);
    s.model.part = PLAN_ROWS;
    s.slot.resize(s.width);
    s.state = at::zeros({STATE_ROWS, width}, m.of(at::kLong));
    s.reals = at::ones({DRAW_REALS, width}, m.of(at::kDouble));
    s.counter = at::zeros({1}, m.of(at::kLong));
    s.results = at::zeros({(int64_t)steps_ahead, width, DRAWN_VALUES}, m.of(at::kDouble));
    s.slot_ids = at::arange(width, m.of(at::kLong));
    s.cu_q = at::arange(width + 1, m.of(at::kInt));
    s.cu_k = s.cu_q * (int32_t)rows;
}

enum cn_status sampler_open(struct cn_model *model, const struct cn_sampler_settings *settings,
                            void **self)
{
    device_model &m = *(device_model *)model_self(model);
    return device_guard(&m, [&] {
        if (settings->context > m.host->info.context_length)
            torch_check(cn_fail(
                CN_ERR_MODEL,
                "%zu tokens of context are asked for, the model has %zu: shorten the prompt or "
                "rollout.max_tokens",
                settings->context, m.host->info.context_length));
        std::unique_ptr<device_sampler> s(
            new device_sampler{.model = m, .slots = settings->slots, .context = settings->context});
        allocate(*s);
        *self = s.release();
    });
}

void sampler_close(void *self)
{
    (void)guard([&] { delete (device_sampler *)self; });
}

enum cn_status sampler_refresh(void *self)
{
    for (const device_slot &slot : sampler_of(self).slot)
        CN_BUG_IF(slot.open);
    return CN_OK; /* the weights changed in place */
}

enum cn_status sampler_slot_open(void *self, const int32_t *ids, size_t n,
                                 const struct cn_draw *draw, size_t *slot)
{
    device_sampler &s = sampler_of(self);
    return device_guard(&s.model, [&] {
        check_ids(s, ids, n, 0);
        *slot = free_slot(s);
        s.slot[*slot] = {true, *draw, 0, ids[n - 1], std::vector<int32_t>(ids, ids + n - 1), {}};
    });
}

/* The common past is copied: a slot's keys and values lie in one piece. */
enum cn_status sampler_slot_fork(void *self, size_t from, const struct cn_draw *draw, size_t *slot)
{
    device_sampler &s = sampler_of(self);
    return device_guard(&s.model, [&] {
        const device_slot &source = open_slot(s, from);
        const size_t to = free_slot(s);
        prefill(s);
        for (const at::Tensor &cache : {s.k, s.v})
            cache.select(1, (int64_t)to)
                .narrow(1, 0, (int64_t)source.cached)
                .copy_(cache.select(1, (int64_t)from).narrow(1, 0, (int64_t)source.cached));
        s.slot[to] = {true, *draw, source.cached, source.pending, {}, {}};
        *slot = to;
    });
}

enum cn_status sampler_slot_append(void *self, size_t slot, const int32_t *ids, size_t n)
{
    device_sampler &s = sampler_of(self);
    return device_guard(&s.model, [&] {
        device_slot &one = open_slot(s, slot);
        check_ids(s, ids, n, one.tokens());
        if (!n) return;
        one.ahead.clear();
        one.todo.push_back(one.pending);
        one.todo.insert(one.todo.end(), ids, ids + n - 1);
        one.pending = ids[n - 1];
    });
}

void sampler_slot_close(void *self, size_t slot)
{
    device_sampler &s = sampler_of(self);
    if (slot < s.slots) s.slot[slot] = device_slot();
}

enum cn_status sampler_step(void *self, const size_t *slots, size_t n, struct cn_drawn *out)
{
    device_sampler &s = sampler_of(self);
    return device_guard(&s.model, [&] {
        bool dry = false;
        for (size_t i = 0; i < n; i++) {
            const device_slot &slot = open_slot(s, slots[i]);
            dry = dry || slot.ahead.empty();
            if (slot.tokens() >= s.context)
                torch_check(cn_fail(CN_ERR_MODEL,
                                    "slot %zu is full: %zu tokens are the sampler's context",
                                    slots[i], s.context));
        }
        if (dry) run(s, slots, n);
        for (size_t i = 0; i < n; i++) {
            device_slot &slot = s.slot[slots[i]];
            out[i] = slot.ahead.front();
            if (!std::isfinite(out[i].logp) || !std::isfinite(out[i].entropy))
                torch_check(
                    cn_fail(CN_ERR_NUMERIC,
                            "the model's logits at position %zu are not finite: the weights "
                            "hold NaN or infinite values, or training diverged",
                            slot.tokens()));
            slot.ahead.pop_front();
            slot.cached++;
            slot.pending = out[i].token;
        }
    });
}

/* Scores of rows [begin, begin + n): the next token, entropy, and the largest. */
struct score_out {
    double temperature;
    size_t top;
    double *logp, *entropy;
    int32_t *top_ids;
    double *top_logp;
};

void score_rows(const at::Tensor &z, const int32_t *next, const score_out &o, size_t at)
{
    const size_t n = (size_t)z.size(0);
    at::Tensor log_p = z.to(at::kDouble).div_(o.temperature).log_softmax(-1);
    at::Tensor entropy = (log_p.exp() * log_p).sum(-1).neg_().to(at::kCPU);
    at::Tensor ids = at::empty({(int64_t)n, 1}, at::kLong);
    std::copy(next, next + n, ids.data_ptr<int64_t>());
    at::Tensor logp = log_p.gather(-1, ids.to(z.device())).to(at::kCPU);
    std::copy_n(logp.data_ptr<double>(), n, o.logp + at);
    std::copy_n(entropy.data_ptr<double>(), n, o.entropy + at);
    if (!o.top) return;
    at::Tensor order = std::get<1>(z.sort(true, -1, true)).narrow(-1, 0, (int64_t)o.top);
    at::Tensor best = log_p.gather(-1, order).to(at::kCPU),
               host = order.to(at::kInt).to(at::kCPU).contiguous();
    std::copy_n(host.data_ptr<int32_t>(), n * o.top, o.top_ids + at * o.top);
    std::copy_n(best.data_ptr<double>(), n * o.top, o.top_logp + at * o.top);
}

enum cn_status sampler_score(void *self, const int32_t *ids, size_t n, double temperature,
                             size_t top, double *logp, double *entropy, int32_t *top_ids,
                             double *top_logp)
{
    device_sampler &s = sampler_of(self);
    return device_guard(&s.model, [&] {
        device_model &m = s.model;
        cn_draw draw = {};
        draw.temperature = temperature;
        draw.top_p = 1;
        if (!n) return;
        torch_check(choose_check(&draw));
        check_ids(s, ids, n, 0);
        if (top > m.host->shape.vocab)
            torch_check(
                cn_fail(CN_ERR_CONFIG,
                        "the %zu largest log-probabilities are asked for, the vocabulary has %zu",
                        top, m.host->shape.vocab));
        m.part = PLAN_WORK;
        logp[0] = entropy[0] = 0;
        std::fill_n(top_ids, top, -1);
        std::fill_n(top_logp, top, 0.0);
        const size_t start[] = {0, n}, chunk = (size_t)device_chunk_rows(m);
        const torch_plan plan = torch_plan_rows(ids, start, 1, true, m.host->info);
        const at::Tensor hidden = device_score_rows(m, m.weights, device_rows_of(m, plan));
        for (size_t begin = 0; begin + 1 < n; begin += chunk) {
            const size_t count = std::min(chunk, n - 1 - begin);
            score_rows(device_logits(m.weights, hidden.narrow(0, (int64_t)begin, (int64_t)count)),
                       ids + begin + 1, {temperature, top, logp, entropy, top_ids, top_logp},
                       begin + 1);
        }
    });
}

} // namespace

const struct cn_sampler_backend cn_sampler_device = {
    .name = "device",
    .open = sampler_open,
    .close = sampler_close,
    .refresh = sampler_refresh,
    .rest = nullptr,
    .slot_open = sampler_slot_open,
    .slot_fork = sampler_slot_fork,
    .slot_append = sampler_slot_append,
    .slot_close = sampler_slot_close,
    .step = sampler_step,
    .score = sampler_score,
};
