/* libFuzzer: the jsonl reader.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(jsonl)
