/* What carnot convert is made of. */
#ifndef CARNOT_CONVERT_H
#define CARNOT_CONVERT_H

#include "carnot/status.h"

struct gguf;
struct model_shape;

/* Writes tokenizer.json, tokenizer_config.json (chat template included) and generation_config.json
 * of a GGUF file's byte-level BPE tokenizer, so that transformers loads them. Fails: CN_ERR_MODEL
 * naming the key for another kind of tokenizer or an unknown pre-tokenizer, CN_ERR_IO. */
enum cn_status convert_tokenizer(const struct gguf *file, const struct model_shape *shape,
                                 const char *folder);

#endif
