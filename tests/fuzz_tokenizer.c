/* libFuzzer: the tokenizer reader.  launch/fuzz runs it. */
#include "fuzz.h"

FUZZ_MAIN(tokenizer)
