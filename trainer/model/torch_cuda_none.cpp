/* A libtorch without CUDA; see torch_cuda.h. */
#include "torch_cuda.h"

int cuda_devices(std::string &description)
{
    description = "this libtorch has no CUDA";
    return 0;
}

void cuda_use(int)
{
}

int cuda_capability()
{
    return 0;
}

const struct device_row_kernels *cuda_row_kernels()
{
    return nullptr;
}

void *cuda_stream()
{
    return nullptr;
}

std::function<void()> cuda_record(const std::function<void()> &step)
{
    return step;
}
