/* What needs CUDA's own headers.  torch_cuda.cpp where libtorch has CUDA, torch_cuda_none.cpp
 * elsewhere; the first is compiled without linking by the target cuda_syntax then. */
#ifndef CARNOT_MODEL_TORCH_CUDA_H
#define CARNOT_MODEL_TORCH_CUDA_H

#include "kernels/device_rows.h"

#include <functional>
#include <string>

/* Devices that are visible, and what they and the library are called: "13.0, 1 device: NAME,
 * 141 GB", or why there are none. */
int cuda_devices(std::string &description);

/* Makes a device the current one of this thread: streams and graphs are its own from then on. */
void cuda_use(int device);

/* Compute capability of the current device, ten times the version: 90 for Hopper. */
int cuda_capability();

/* Records what `step` launches into a CUDA graph and returns what launches it again.  `step` runs
 * three times before; it must touch the same memory each time and not wait for the device.
 * Where there is no CUDA: returns `step`. */
std::function<void()> cuda_record(const std::function<void()> &step);

/* The row kernels and the stream to launch them on; NULL where there is no CUDA or was no nvcc. */
const struct device_row_kernels *cuda_row_kernels();
void *cuda_stream();

#endif
