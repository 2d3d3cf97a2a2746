# The CUDA path: linked where libtorch has CUDA, compiled without linking everywhere else.
#
# Sets CN_CUDA_LIBRARIES and CN_CUDA_INCLUDE, and takes out of torch_sources what this build cannot link.
#   torch_cuda.cpp   needs CUDA's headers          target cuda_syntax, if libtorch has no CUDA
#   kernels/device_rows.cu   needs nvcc            target cuda_kernels
set(cuda_only ${CMAKE_SOURCE_DIR}/trainer/model/torch_cuda.cpp)
set(cuda_none ${CMAKE_SOURCE_DIR}/trainer/model/torch_cuda_none.cpp)
include(trainer/model/cuda_headers.cmake)
find_program(CN_NVCC nvcc HINTS ENV CUDA_HOME PATH_SUFFIXES bin PATHS /usr/local/cuda/bin /opt/cuda/bin)
set(cuda_kernels "")
if(CN_NVCC)
    set(cuda_kernels ${CMAKE_BINARY_DIR}/device_rows.o)
    set(source ${CMAKE_SOURCE_DIR}/trainer/model/kernels/device_rows)
    # --fmad=false: double operations must be those of the CPU, one by one
    add_custom_command(OUTPUT ${cuda_kernels} DEPENDS ${source}.cu ${source}.h VERBATIM COMMENT "nvcc device_rows.cu"
        COMMAND ${CN_NVCC} -c -O3 -std=c++17 --fmad=false -Xcompiler -fPIC,-Wall -Werror all-warnings
            -gencode arch=compute_80,code=sm_80 -gencode "arch=compute_90,code=[sm_90,compute_90]" ${source}.cu -o ${cuda_kernels})
    add_custom_target(cuda_kernels ALL DEPENDS ${cuda_kernels})
else()
    message(WARNING "run.device=cuda: no nvcc, so its row kernels are neither built nor compiled (operators serve instead)")
endif()

set(CN_CUDA_LIBRARIES "")
if(EXISTS ${CN_TORCH_DIR}/lib/libtorch_cuda.so AND CN_CUDA_INCLUDE)
    find_library(CN_CUDA_RUNTIME NAMES cudart libcudart.so.13 libcudart.so.12 HINTS ${CN_CUDA_INCLUDE}/../lib64
        ${CN_CUDA_INCLUDE}/../lib ${CN_TORCH_DIR}/../nvidia/cuda_runtime/lib REQUIRED)
    set(CN_CUDA_LIBRARIES ${CN_TORCH_DIR}/lib/libtorch_cuda.so ${CN_TORCH_DIR}/lib/libc10_cuda.so ${CN_CUDA_RUNTIME})
    list(APPEND torch_sources ${cuda_kernels})
    if(cuda_kernels)
        set_source_files_properties(${cuda_kernels} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    endif()
    list(REMOVE_ITEM torch_sources ${cuda_none})
    set_source_files_properties(${cuda_only} PROPERTIES COMPILE_OPTIONS "-isystem;${CN_CUDA_INCLUDE}")
    message(STATUS "run.device=cuda: built")
else()
    list(REMOVE_ITEM torch_sources ${cuda_only})
    if(CN_CUDA_INCLUDE)
        # The define stands for a header that only a libtorch with CUDA generates.
        add_library(cuda_syntax OBJECT ${cuda_only})
        target_compile_definitions(cuda_syntax PRIVATE C10_CUDA_NO_CMAKE_CONFIGURE_FILE)
        target_include_directories(cuda_syntax SYSTEM PRIVATE ${CN_TORCH_DIR}/include
            ${CN_TORCH_DIR}/include/torch/csrc/api/include ${CN_CUDA_INCLUDE})
        target_link_libraries(cuda_syntax PRIVATE carnot_flags)
        set_target_properties(cuda_syntax PROPERTIES CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON)
        message(STATUS "run.device=cuda: not built (this libtorch has no CUDA); its files are compiled only")
    else()
        message(WARNING "run.device=cuda: neither built nor compiled: no headers (launch/setup --device-headers, or -DCN_CUDA_INCLUDE=DIR)")
        set(CN_CUDA_INCLUDE "")
    endif()
endif()
