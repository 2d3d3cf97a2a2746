/* libFuzzer: requests to the reward service.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(service)
