# CN_CUDA_INCLUDE: CUDA's headers: those of libtorch's own wheels, a toolkit's, or those that launch/setup --device-headers
# fetched.  crt/ is the part that PyTorch's wheel for CUDA 13 does not bring.
set(CN_DEVICE_HEADERS ${CMAKE_SOURCE_DIR}/.deps/headers CACHE PATH "headers of CUDA and NCCL that launch/setup --device-headers fetched")
find_path(CN_CUDA_INCLUDE crt/host_defines.h HINTS ${CN_TORCH_DIR}/../nvidia/cu13/include
    ${CN_TORCH_DIR}/../nvidia/cuda_runtime/include ENV CUDA_HOME PATH_SUFFIXES include
    PATHS /usr/local/cuda/include /opt/cuda/include ${CN_DEVICE_HEADERS}/nvidia/cu13/include)
