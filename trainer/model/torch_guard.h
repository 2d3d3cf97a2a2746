/* The border between C and C++: failures become exceptions inside and status codes outside. */
#ifndef CARNOT_MODEL_TORCH_GUARD_H
#define CARNOT_MODEL_TORCH_GUARD_H

#include "carnot/status.h"

#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <exception>
#include <new>

/* A failure whose message cn_fail already holds. */
struct torch_failure {
    enum cn_status status;
};

inline void torch_check(enum cn_status status)
{
    if (status != CN_OK) throw torch_failure{status};
}

/* Runs the body of an extern "C" function; nothing is thrown past it.  Autograd is off inside:
 * gradients are written by hand (torch_layers.cpp, torch_head.cpp). */
template <class body_type> enum cn_status guard(body_type body) noexcept
{
    try {
        c10::InferenceMode inference(true);
        body();
        return CN_OK;
    } catch (const torch_failure &failure) {
        return failure.status;
    } catch (const c10::OutOfMemoryError &error) {
        return cn_fail(CN_ERR_MEMORY, "out of memory: %s", error.what_without_backtrace());
    } catch (const std::bad_alloc &) {
        return cn_fail(CN_ERR_MEMORY, "out of memory in the torch back end");
    } catch (const c10::Error &error) {
        /* libtorch's CPU allocator reports a failed allocation as a plain error. */
        const char *text = error.what_without_backtrace();
        bool memory = __builtin_strstr(text, "not enough memory") ||
                      __builtin_strstr(text, "can't allocate memory");
        return cn_fail(memory ? CN_ERR_MEMORY : CN_ERR_BUG, "libtorch: %s", text);
    } catch (const std::exception &error) {
        return cn_fail(CN_ERR_BUG, "torch back end: %s", error.what());
    } catch (...) {
        return cn_fail(CN_ERR_BUG, "torch back end: unknown exception");
    }
}

#endif
