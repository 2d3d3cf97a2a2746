/* libFuzzer: the rewards beside math, and the finder of programs.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(answers)
