/* libFuzzer: the reward math.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(math)
