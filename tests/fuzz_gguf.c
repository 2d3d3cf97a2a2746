/* libFuzzer: the gguf reader.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(gguf)
