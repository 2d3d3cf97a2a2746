# Sums over GPUs: libcarnot_nccl.so is linked where libtorch has CUDA and brings NCCL.  Wherever there are headers, the test
# nccl_syntax compiles its one file; elsewhere that test is skipped.
#
# NCCL must be the one that libtorch loads, so the library is looked for beside its own headers only.
include(trainer/model/cuda_headers.cmake)
find_path(CN_NCCL_INCLUDE nccl.h HINTS ${CN_TORCH_DIR}/../nvidia/nccl/include ENV NCCL_HOME PATH_SUFFIXES include
    PATHS ${CN_DEVICE_HEADERS}/nvidia/nccl/include)
set(nccl_source ${CMAKE_SOURCE_DIR}/trainer/comm/comm_nccl.c)
set(nccl_linked OFF)
if(CN_CUDA_INCLUDE AND CN_NCCL_INCLUDE AND CN_CUDA_LIBRARIES)
    find_library(CN_NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS ${CN_NCCL_INCLUDE}/../lib ${CN_NCCL_INCLUDE}/../lib64)
    include(CheckCSourceCompiles)
    set(CMAKE_REQUIRED_INCLUDES ${CN_NCCL_INCLUDE} ${CN_CUDA_INCLUDE})
    check_c_source_compiles("#include <nccl.h>\nint main(void) { return 0; }" CN_NCCL_COMPILES)
    unset(CMAKE_REQUIRED_INCLUDES)
    if(CN_NCCL_LIBRARY AND CN_NCCL_COMPILES)
        set(nccl_linked ON)
    endif()
endif()
if(nccl_linked)
    add_library(carnot_nccl SHARED ${nccl_source})
    target_include_directories(carnot_nccl SYSTEM PRIVATE ${CN_NCCL_INCLUDE} ${CN_CUDA_INCLUDE})
    target_link_libraries(carnot_nccl PRIVATE carnot_flags ${CN_NCCL_LIBRARY} ${CN_CUDA_RUNTIME})
    target_compile_definitions(carnot_flags INTERFACE CN_WITH_NCCL)
    message(STATUS "sums over GPUs: built (they have not met a GPU yet)")
else()
    message(STATUS "sums over GPUs: not built (they need a libtorch with CUDA, and NCCL)")
endif()
