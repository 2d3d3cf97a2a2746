/* The built-in tokenizer of models trained from a random start: one token per byte.
 *
 * It is written as the files of a Hugging Face folder and built from them like any other, so what
 * transformers loads from a saved checkpoint is the same thing by construction. */
#include "impl.h"
#include "utf8.h"

#include <stdlib.h>

enum { BYTES_PAD = 256, BYTES_BOS, BYTES_EOS };

static enum cn_status write_vocab(struct cn_str *out)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char character[4];
        struct cn_text text = {character, utf8_put(vocab_char_of_byte(byte), character)};
        CN_TRY(cn_str_add(out, byte ? "," : ""));
        CN_TRY(cn_json_quote(out, text));
        CN_TRY(cn_str_format(out, ":%u", byte));
    }
    return CN_OK;
}

static enum cn_status write_tokenizer(struct cn_str *out)
{
    static const char *const added[] = {"<|pad|>", "<|bos|>", "<|eos|>"};
    CN_TRY(cn_str_add(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
                           "\"added_tokens\":["));
    for (int i = 0; i < 3; i++)
        CN_TRY(cn_str_format(out,
                             "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":"
                             "false,\"rstrip\":false,\"normalized\":false,\"special\":true}",
                             i ? "," : "", BYTES_PAD + i, added[i]));
    static const char byte_level[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                                     "\"trim_offsets\":true,\"use_regex\":false}";
    CN_TRY(cn_str_format(out,
                         "],\"normalizer\":null,\"pre_tokenizer\":%s,\"post_processor\":null,"
                         "\"decoder\":%s,\"model\":{\"type\":\"BPE\",\"dropout\":null,"
                         "\"unk_token\":null,\"continuing_subword_prefix\":null,"
                         "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
                         "\"ignore_merges\":false,\"vocab\":{",
                         byte_level, byte_level));
    CN_TRY(write_vocab(out));
    return cn_str_add(out, "},\"merges\":[]}}\n");
}

static enum cn_status write_files(struct cn_tokenizer *tokenizer)
{
    static const char tokens[] = "\"bos_token\": \"<|bos|>\",\n  \"eos_token\": \"<|eos|>\",\n"
                                 "  \"pad_token\": \"<|pad|>\"";
    struct cn_str *file = tokenizer->file;
    CN_TRY(cn_str_add(&tokenizer->folder, "built-in byte tokenizer"));
    CN_TRY(write_tokenizer(&file[FILE_TOKENIZER]));
    CN_TRY(cn_str_format(&file[FILE_CONFIG],
                         "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  %s,\n"
                         "  \"clean_up_tokenization_spaces\": false,\n"
                         "  \"model_max_length\": 1000000000,\n"
                         "  \"chat_template\": \"{%% for message in messages %%}"
                         "{{ message['content'] + '\\\\n' }}{%% endfor %%}\"\n}\n",
                         tokens));
    CN_TRY(cn_str_format(&file[FILE_SPECIAL], "{\n  %s\n}\n", tokens));
    return cn_str_format(&file[FILE_GENERATION],
                         "{\n  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n"
                         "  \"pad_token_id\": %d\n}\n",
                         BYTES_BOS, BYTES_EOS, BYTES_PAD);
}

enum cn_status cn_tokenizer_open_bytes(struct cn_tokenizer **out)
{
    struct cn_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer) return cn_fail(CN_ERR_MEMORY, "out of memory: a tokenizer");
    enum cn_status status = write_files(tokenizer);
    if (status == CN_OK) status = tokenizer_build(tokenizer, "auto");
    if (status == CN_OK)
        *out = tokenizer;
    else
        cn_tokenizer_close(tokenizer);
    return status;
}
