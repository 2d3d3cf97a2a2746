/* Facts, and CUDA graphs; see torch_cuda.h. */
#include "torch_cuda.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <memory>

/* kernels/device_rows.cu, if nvcc was there. */
extern "C" __attribute__((weak)) const struct device_row_kernels device_row_kernels;

const struct device_row_kernels *cuda_row_kernels()
{
    return &device_row_kernels;
}

void *cuda_stream()
{
    return c10::cuda::getCurrentCUDAStream().stream();
}

int cuda_devices(std::string &description)
{
    int count = 0, version = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        (void)cudaGetLastError(); /* or the next call would report it */
        description = std::string("no device: ") + cudaGetErrorString(error);
        return 0;
    }
    cudaDeviceProp first = {};
    C10_CUDA_CHECK(cudaRuntimeGetVersion(&version));
    if (count) C10_CUDA_CHECK(cudaGetDeviceProperties(&first, 0));
    description = std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10) +
                  ", " + std::to_string(count) + (count == 1 ? " device" : " devices");
    if (count)
        description += std::string("; first: ") + first.name + ", " +
                       std::to_string(first.totalGlobalMem / 1000000000) + " GB";
    return count;
}

void cuda_use(int device)
{
    C10_CUDA_CHECK(cudaSetDevice(device));
}

int cuda_capability()
{
    int device = 0, major = 0, minor = 0;
    C10_CUDA_CHECK(cudaGetDevice(&device));
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    return 10 * major + minor;
}

namespace
{

void wait(const c10::cuda::CUDAStream &stream)
{
    C10_CUDA_CHECK(cudaStreamSynchronize(stream.stream()));
}

} // namespace

/* A graph is recorded on a stream of its own; libraries must have opened their handles there
 * before, which the three runs do. */
std::function<void()> cuda_record(const std::function<void()> &step)
{
    auto graph = std::make_shared<at::cuda::CUDAGraph>();
    const c10::cuda::CUDAStream now = c10::cuda::getCurrentCUDAStream(),
                                side = c10::cuda::getStreamFromPool();
    wait(now);
    {
        c10::cuda::CUDAStreamGuard on(side);
        for (int run = 0; run < 3; run++)
            step();
        wait(side);
        graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
        try {
            step();
        } catch (...) {
            graph->capture_end(); /* a stream that is left recording fails every later call */
            throw;
        }
        graph->capture_end();
    }
    return [graph] { graph->replay(); };
}
