/* Where the transformers of a test compute, and lent buffers that may lie on a GPU.
 *
 * CMakeLists.txt runs some tests again with CN_TEST_DEVICE=cpu-operators and, labelled gpu, cuda.
 */
#ifndef CARNOT_TEST_DEVICE_H
#define CARNOT_TEST_DEVICE_H

#include "carnot/buffer.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static inline const char *test_device(void)
{
    const char *device = getenv("CN_TEST_DEVICE");
    return device && *device ? device : "cpu";
}

/* Copies `bytes` with a function of the CUDA driver; false if there is none. */
static inline bool driver_copy(const char *name, const void *to, const void *from, size_t bytes)
{
    int (*copy)(unsigned long long, unsigned long long, size_t);
    void *library = dlopen("libcuda.so.1", RTLD_NOW),
         *symbol = library ? dlsym(library, name) : NULL;
    memcpy(&copy, &symbol, sizeof copy);
    return symbol && copy((uintptr_t)to, (uintptr_t)from, bytes) == 0;
}

/* Contents of a buffer to the host, and back. */
static inline bool buffer_read(const struct cn_buffer *buffer, void *out)
{
    const size_t bytes = buffer->count * cn_dtype_size(buffer->dtype);
    if (buffer->device >= 0) return driver_copy("cuMemcpyDtoH_v2", out, buffer->data, bytes);
    memcpy(out, buffer->data, bytes);
    return true;
}

static inline bool buffer_write(const struct cn_buffer *buffer, const void *from)
{
    const size_t bytes = buffer->count * cn_dtype_size(buffer->dtype);
    if (buffer->device >= 0) return driver_copy("cuMemcpyHtoD_v2", buffer->data, from, bytes);
    memcpy(buffer->data, from, bytes);
    return true;
}

/* Whether two buffers hold the same bits. */
static inline bool buffers_equal(const struct cn_buffer *a, const struct cn_buffer *b)
{
    const size_t bytes = a->count * cn_dtype_size(a->dtype);
    char *left = malloc(bytes), *right = malloc(bytes);
    bool equal = left && right && a->count == b->count && buffer_read(a, left) &&
                 buffer_read(b, right) && memcmp(left, right, bytes) == 0;
    free(left);
    free(right);
    return equal;
}

#endif
