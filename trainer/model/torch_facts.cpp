/* What libtorch is there and how fast it multiplies: for carnot doctor. */
#include "backend.h"
#include "torch_cuda.h"
#include "torch_guard.h"
#include "torch_ops.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <chrono>
#include <string>

namespace
{

double seconds_now()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

constexpr int64_t n = 1024;

/* GFLOP/s of the best product of n x n matrices within the time: the machine's other load slows
 * single ones. */
template <class body_type> double measure(double seconds, body_type multiply)
{
    double best = 1e30, end = seconds_now() + seconds;
    multiply(); /* the first one builds what it needs */
    do {
        double start = seconds_now();
        multiply();
        best = std::min(best, seconds_now() - start);
    } while (seconds_now() < end);
    return 2.0 * n * n * n / best / 1e9;
}

/* libtorch's product. */
double measure_mm(at::ScalarType type, double seconds)
{
    at::Tensor a = at::ones({n, n}, type), b = at::ones({n, n}, type), c = at::empty({n, n}, type);
    return measure(seconds, [&] { at::mm_out(c, a, b); });
}

/* That of training, which may be faster. */
double measure_linear(at::ScalarType type, double seconds)
{
    torch_context context;
    context.k = torch_kernels_pick(nullptr);
    context.half = type != at::kFloat;
    at::Tensor x = at::ones({n, n}), w = at::ones({n, n}, type), y = at::empty({n, n});
    return measure(seconds, [&] { torch_linear(context, y, x, w, nullptr); });
}

/* The better of the two. */
double measure_products(at::ScalarType type, double seconds)
{
    return std::max(measure_mm(type, seconds / 2), measure_linear(type, seconds / 2));
}

/* "Intel(R) oneAPI Math Kernel Library Version 2024.2 ..." -> "MKL 2024.2", and the instruction set
 * that libtorch's own loops were chosen for. */
std::string describe_blas()
{
    std::string config = at::show_config(), text;
    size_t mkl = config.find("Math Kernel Library Version "), open = config.find("OpenBLAS"),
           cpu = config.find("CPU capability usage: ");
    if (mkl != std::string::npos) {
        size_t begin = mkl + 28;
        text = "MKL " + config.substr(begin, config.find_first_of(" -\n", begin) - begin);
    } else {
        text = open != std::string::npos ? "OpenBLAS" : "unknown BLAS";
    }
    if (at::globalContext().hasMKLDNN()) text += ", oneDNN";
    if (cpu != std::string::npos) {
        size_t begin = cpu + 22;
        text += ", " + config.substr(begin, config.find_first_of(" \n", begin) - begin);
    }
    return text;
}

} // namespace

extern "C" __attribute__((visibility("default"))) enum cn_status
cn_model_torch_facts(double seconds, struct torch_facts *out)
{
    return guard([&] {
        struct torch_facts facts = {};
        snprintf(facts.version, sizeof facts.version, "%s", TORCH_VERSION);
        snprintf(facts.blas, sizeof facts.blas, "%s", describe_blas().c_str());
        std::string cuda;
        facts.cuda_devices = cuda_devices(cuda);
        if (facts.cuda_devices)
            cuda += cuda_row_kernels() ? "; with row kernels" : "; without row kernels (no nvcc)";
        snprintf(facts.cuda, sizeof facts.cuda, "%s", cuda.c_str());
        facts.threads = at::get_num_threads();
        facts.gflops_f32 = measure_products(at::kFloat, seconds);
        facts.gflops_bf16 = measure_products(at::kBFloat16, seconds);
        *out = facts;
    });
}
