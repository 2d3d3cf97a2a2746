/* Curves drawn as text. */
#include "check.h"

#include "trainer/core/plot.h"

#include <stdlib.h>

static struct cn_str draw(struct plot plot)
{
    struct cn_str out = {NULL, 0, 0};
    CHECK(plot_draw(&plot, &out) == CN_OK);
    return out;
}

TEST(a_rising_curve_rises_from_the_lower_left_to_the_upper_right)
{
    double value[5] = {0, 1, 2, 3, 4};
    struct cn_str text = draw((struct plot){
        .title = "reward", .value = value, .n = 5, .width = 5, .height = 5, .ascii = true});
    CHECK_TEXT(text.data, "           reward   last 4\n"
                          "        4 |    *\n"
                          "          |   *\n"
                          "          |  *\n"
                          "          | *\n"
                          "        0 |*\n"
                          "          +-----\n"
                          "           1   5\n");
    cn_str_free(&text);
}

TEST(gaps_between_points_are_joined)
{
    double value[2] = {0, 1}, x[2] = {10, 400};
    struct cn_str text =
        draw((struct plot){.value = value, .n = 2, .x = x, .width = 9, .height = 3, .ascii = true});
    CHECK_TEXT(text.data, "              last 1\n"
                          "        1 |       **\n"
                          "          |   ****\n"
                          "        0 |***\n"
                          "          +---------\n"
                          "           10    400\n");
    cn_str_free(&text);
}

TEST(braille_is_drawn_where_the_locale_is_utf_8)
{
    double value[4] = {0, 1, 2, 3};
    setenv("LC_ALL", "C.UTF-8", 1);
    CHECK(plot_unicode());
    struct cn_str text = draw((struct plot){.value = value, .n = 4, .width = 2, .height = 1});
    CHECK(strstr(text.data, "\xe2\xa1\xa0\xe2\xa0\x8a") !=
          NULL); /* U+2860 U+280A: dots 67 and 24 */
    cn_str_free(&text);
    setenv("LC_ALL", "C", 1);
    CHECK(!plot_unicode());
    text = draw((struct plot){.value = value, .n = 4, .width = 4, .height = 4});
    for (size_t i = 0; i < text.length; i++)
        CHECK((unsigned char)text.data[i] < 128);
    CHECK(strchr(text.data, '*') != NULL);
    cn_str_free(&text);
    unsetenv("LC_ALL");
    setenv("LC_CTYPE", "", 1);
    setenv("LANG", "en_US.utf8", 1);
    CHECK(plot_unicode());
}

TEST(odd_series_are_drawn_without_harm)
{
    double nothing[3] = {NAN, INFINITY, -INFINITY}, same[3] = {2, 2, 2}, one[1] = {-7};
    double huge[2] = {-1.7e308, 1.7e308}, mixed[4] = {1, NAN, 3, INFINITY};
    double many[5000];
    for (int i = 0; i < 5000; i++)
        many[i] = sin(i);
    struct plot plots[] = {{.value = nothing, .n = 3, .title = "x"},
                           {.value = NULL, .n = 0, .title = "x"},
                           {.value = same, .n = 3},
                           {.value = one, .n = 1},
                           {.value = huge, .n = 2},
                           {.value = mixed, .n = 4},
                           {.value = many, .n = 5000},
                           {.value = many, .n = 5000, .width = 1, .height = 1},
                           {.value = many, .n = 5000, .width = 100000, .height = 100000}};
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++)
        for (int ascii = 0; ascii < 2; ascii++) {
            setenv("LC_ALL", "C.UTF-8", 1);
            plots[i].ascii = ascii;
            struct cn_str text = draw(plots[i]);
            CHECK(text.length > 0 && text.data[text.length - 1] == '\n');
            if (i < 2) CHECK_TEXT(text.data, "x: no values yet\n");
            cn_str_free(&text);
        }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
