/* libFuzzer: the json reader.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(json)
