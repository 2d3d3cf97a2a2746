/* libFuzzer: frames between the service and its workers.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(frame)
