/* libFuzzer: the safetensors reader.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(safetensors)
