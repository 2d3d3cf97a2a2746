/* Text to ids and back: the built-in byte tokenizer, UTF-8 at the edges. */
#include "check.h"

#include "carnot/tokenizer.h"

TEST(bytes_are_their_own_ids)
{
    struct cn_tokenizer *tokenizer;
    struct cn_ids ids = {0};
    struct cn_str back = {0};
    CHECK_OK(cn_tokenizer_open_bytes(&tokenizer));
    CHECK_OK(cn_tokenizer_encode(tokenizer, cn_text("a\xC3\xA9<|eos|>"), true, &ids));
    CHECK_INT(ids.count, 4);
    CHECK_INT(ids.item[0], 'a');
    CHECK_INT(ids.item[1], 0xC3);
    CHECK_INT(ids.item[3], 258);
    CHECK_OK(cn_tokenizer_decode(tokenizer, ids.item, ids.count, false, &back));
    CHECK_TEXT(back.data, "a\xC3\xA9<|eos|>");
    CHECK_INT(cn_tokenizer_size(tokenizer), 259);
    CHECK_TEXT(cn_tokenizer_template(tokenizer), "plain");
    cn_str_free(&back);
    cn_ids_free(&ids);
    cn_tokenizer_close(tokenizer);
}

TEST(only_the_beginning_of_a_character_is_held_back)
{
    CHECK_INT(cn_utf8_complete(cn_text("ab\xE2\x82")), 2);
    CHECK_INT(cn_utf8_complete(cn_text("ab\xE2\x82\xAC")), 5);
    CHECK_INT(cn_utf8_complete(cn_text("ab\xFF")), 3);
    CHECK_INT(cn_utf8_complete(cn_text("ab\x82\x82\x82\x82")), 6);
    CHECK_INT(cn_utf8_complete(cn_text("\xF0\x9F\x98")), 0);
    CHECK_INT(cn_utf8_complete(cn_text("")), 0);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
