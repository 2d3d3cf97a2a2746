/* Facts of a tokenizer's ids, for plug-ins that see no text. */
#include "carnot/tokenizer.h"
#include "utf8.h"

/* Whether the text has at most one character between the white space at its ends. */
static bool is_short(struct cn_text text)
{
    uint32_t code;
    text = utf8_strip(text);
    return text.length == 0 || utf8_step(text.data, text.data + text.length, &code) == text.length;
}

enum cn_status cn_tokenizer_facts(const struct cn_tokenizer *tokenizer, struct cn_arena *arena,
                                  struct cn_token_facts *out)
{
    const size_t n = cn_tokenizer_size(tokenizer);
    enum cn_status status = CN_OK;
    struct cn_str text = {0};
    uint8_t *bits;
    CN_TRY(CN_NEW(arena, n, &bits));
    for (int32_t id = 0; (size_t)id < n && status == CN_OK; id++) {
        cn_str_clear(&text);
        status = cn_tokenizer_decode(tokenizer, &id, 1, false, &text);
        if (cn_tokenizer_is_special(tokenizer, id)) bits[id] |= CN_TOKEN_SPECIAL;
        if (is_short(cn_str_text(&text))) bits[id] |= CN_TOKEN_SHORT;
    }
    cn_str_free(&text);
    CN_TRY(status);
    *out = (struct cn_token_facts){bits, n};
    return CN_OK;
}
