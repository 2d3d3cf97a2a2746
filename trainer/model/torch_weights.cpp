/* Layout, loading and random start of the weights; see torch_weights.h. */
#include "torch_weights.h"
#include "safetensors.h"
#include "torch_guard.h"

#include <cstring>
#include <string>

torch_layout::torch_layout(const struct model_shape &shape)
{
    cn_arena_init(&arena);
    torch_check(shape_tensors(&shape, &arena, &tensors, &n));
    offset.resize(n);
    for (int rank = 2; rank >= 1; rank--) {
        for (size_t i = 0; i < n; i++) {
            if (tensors[i].rank != rank) continue;
            const tensor_role role = tensors[i].role;
            bool joined = role == TENSOR_K || role == TENSOR_V || role == TENSOR_UP ||
                          role == TENSOR_K_BIAS || role == TENSOR_V_BIAS;
            if (!joined) size = (size + 15) / 16 * 16;
            offset[i] = size;
            size += tensors[i].count;
        }
        size = (size + 15) / 16 * 16;
        if (rank == 2) n_matrices = size;
    }
}

torch_layout::~torch_layout()
{
    cn_arena_free(&arena);
}

namespace
{

at::Tensor matrix_at(const at::Tensor &flat, size_t offset, int64_t rows, int64_t columns)
{
    return flat.as_strided({rows, columns}, {columns, 1}, (int64_t)offset);
}

/* Where a tensor lies: a matrix at `at` of `flat`, or a vector. */
struct tensor_place {
    const at::Tensor &flat;
    size_t at;
    float *vector;
};

void place_layer(torch_layer_view &layer, const struct model_shape &shape,
                 const shape_tensor &tensor, const tensor_place &place)
{
    const at::Tensor &flat = place.flat;
    const size_t at = place.at;
    float *vector = place.vector;
    const int64_t qkv = (int64_t)((shape.heads + 2 * shape.kv_heads) * shape.head_dim);
    switch (tensor.role) {
    case TENSOR_Q:
        layer.qkv = matrix_at(flat, at, qkv, tensor.shape[1]);
        break;
    case TENSOR_O:
        layer.o = matrix_at(flat, at, tensor.shape[0], tensor.shape[1]);
        break;
    case TENSOR_GATE:
        layer.gate_up = matrix_at(flat, at, 2 * tensor.shape[0], tensor.shape[1]);
        break;
    case TENSOR_DOWN:
        layer.down = matrix_at(flat, at, tensor.shape[0], tensor.shape[1]);
        break;
    case TENSOR_Q_BIAS:
        layer.qkv_bias = vector;
        break;
    case TENSOR_O_BIAS:
        layer.o_bias = vector;
        break;
    case TENSOR_Q_NORM:
        layer.q_norm = vector;
        break;
    case TENSOR_K_NORM:
        layer.k_norm = vector;
        break;
    case TENSOR_INPUT_NORM:
        layer.input_norm = vector;
        break;
    case TENSOR_POST_NORM:
        layer.post_norm = vector;
        break;
    default:
        break; /* second and third of pieces that lie side by side */
    }
}

} // namespace

torch_view torch_view_of(const torch_layout &layout, const struct model_shape &shape,
                         const at::Tensor &flat, float *vectors)
{
    torch_view view;
    view.layers.resize(shape.layers);
    for (size_t i = 0; i < layout.n; i++) {
        const shape_tensor &tensor = layout.tensors[i];
        const size_t at = layout.offset[i];
        float *vector = tensor.rank == 1 ? vectors + (at - layout.n_matrices) : nullptr;
        if (tensor.role == TENSOR_EMBED)
            view.embed = matrix_at(flat, at, tensor.shape[0], tensor.shape[1]);
        if (tensor.role == TENSOR_HEAD)
            view.head = matrix_at(flat, at, tensor.shape[0], tensor.shape[1]);
        if (tensor.role == TENSOR_FINAL_NORM) view.final_norm = vector;
        if (tensor.layer >= 0)
            place_layer(view.layers[(size_t)tensor.layer], shape, tensor, {flat, at, vector});
    }
    if (!view.head.defined()) view.head = view.embed;
    return view;
}

torch_compute torch_compute_of(torch_context &c, const torch_layout &layout,
                               const struct model_shape &shape, const at::Tensor &master, bool copy)
{
    torch_compute compute;
    if (!c.half) {
        compute.flat = copy ? master.clone() : master;
        compute.view =
            torch_view_of(layout, shape, compute.flat, data(compute.flat) + layout.n_matrices);
        return compute;
    }
    compute.flat = master.to(at::kBFloat16);
    compute.vectors = at::empty({(int64_t)(layout.size - layout.n_matrices)}, at::kFloat);
    torch_compute_refresh(c, layout, compute);
    compute.view = torch_view_of(layout, shape, compute.flat, data(compute.vectors));
    return compute;
}

void torch_compute_refresh(torch_context &c, const torch_layout &layout, torch_compute &compute)
{
    if (!c.half) return;
    c.k->from_bf16((const uint16_t *)compute.flat.data_ptr() + layout.n_matrices,
                   data(compute.vectors), layout.size - layout.n_matrices);
}

namespace
{

struct open_file {
    safetensors *file = nullptr;
    explicit open_file(const char *path)
    {
        torch_check(safetensors_open(path, &file));
    }
    ~open_file()
    {
        safetensors_close(file);
    }
};

bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* Tensors of a file that no place in the network needs: a tied head that was written anyway and the
 * frequencies that old checkpoints store are ignored; anything else means that the shape was
 * misread. */
void refuse_unknown(const torch_layout &layout, const struct model_shape &shape,
                    const safetensors *file, const char *folder)
{
    size_t n;
    const cn_buffer *found = safetensors_tensors(file, &n);
    for (size_t i = 0; i < n; i++) {
        bool known = has_suffix(found[i].name, ".rotary_emb.inv_freq") ||
                     (shape.tied && strcmp(found[i].name, "lm_head.weight") == 0);
        for (size_t j = 0; j < layout.n && !known; j++)
            known = strcmp(found[i].name, layout.tensors[j].name) == 0;
        if (!known)
            torch_check(cn_fail(CN_ERR_MODEL,
                                "%s: tensor %s has no place in a %s model of %zu layers: "
                                "config.json and weights do not fit",
                                folder, found[i].name, shape_family_name(shape.family),
                                shape.layers));
    }
}

} // namespace

void torch_weights_load(const torch_layout &layout, const struct model_shape &shape,
                        const char *folder, float *master)
{
    open_file open(folder);
    refuse_unknown(layout, shape, open.file, folder);
    for (size_t i = 0; i < layout.n; i++) {
        const shape_tensor &tensor = layout.tensors[i];
        torch_check(safetensors_read_f32(open.file, tensor.name, tensor.rank, tensor.shape,
                                         master + layout.offset[i]));
    }
}

void torch_weights_init(const torch_layout &layout, const struct model_shape &shape, uint64_t seed,
                        float *master)
{
    const struct cn_rng_key key = cn_rng_key(seed, 0, CN_RNG_INIT);
    for (size_t i = 0; i < layout.n; i++) {
        const shape_tensor &tensor = layout.tensors[i];
        float *out = master + layout.offset[i];
        if (tensor.rank == 1) {
            bool bias = tensor.role == TENSOR_Q_BIAS || tensor.role == TENSOR_K_BIAS ||
                        tensor.role == TENSOR_V_BIAS || tensor.role == TENSOR_O_BIAS;
            std::fill(out, out + tensor.count, bias ? 0.0f : 1.0f);
            continue;
        }
        const size_t columns = (size_t)tensor.shape[1];
        torch_rows((size_t)tensor.shape[0], 64, [&](size_t begin, size_t end) {
            for (size_t row = begin; row < end; row++) {
                cn_rng rng;
                cn_rng_open(&rng, key, i, 0, (uint32_t)row);
                for (size_t j = 0; j < columns; j++)
                    out[row * columns + j] = (float)(cn_rng_normal(&rng) * shape.initializer_range);
            }
        });
    }
}

std::vector<cn_buffer> torch_buffers(const torch_layout &layout, const at::Tensor &flat,
                                     const char *prefix, std::vector<std::string> &names)
{
    std::vector<cn_buffer> buffers(layout.n);
    const bool half = flat.scalar_type() == at::kBFloat16;
    names.clear();
    for (size_t i = 0; i < layout.n; i++)
        names.push_back(std::string(prefix) + layout.tensors[i].name);
    for (size_t i = 0; i < layout.n; i++) {
        const shape_tensor &tensor = layout.tensors[i];
        cn_buffer &b = buffers[i];
        b = {};
        b.name = names[i].c_str();
        b.dtype = half ? CN_DTYPE_BF16 : CN_DTYPE_F32;
        b.rank = tensor.rank;
        b.shape[0] = tensor.shape[0];
        b.shape[1] = tensor.rank == 2 ? tensor.shape[1] : 0;
        b.count = tensor.count;
        b.data = (char *)flat.data_ptr() + layout.offset[i] * (half ? 2 : 4);
        b.device = -1;
    }
    return buffers;
}

cn_buffer torch_flat(const at::Tensor &flat)
{
    cn_buffer b = {};
    b.name = "parameters";
    b.dtype = CN_DTYPE_F32;
    b.rank = 1;
    b.shape[0] = flat.numel();
    b.count = (size_t)flat.numel();
    b.data = flat.data_ptr();
    b.device = flat.is_cpu() ? -1 : flat.get_device();
    return b;
}
