/* Entropy curves of a comparison as one SVG. */
#include "compare.h"

#include <math.h>
#include <stdlib.h>

enum {
    LEFT = 60,
    TOP = 20,
    PLOT_WIDTH = 640,
    PLOT_HEIGHT = 400,
    LEGEND = 200,
    ROW = 18,
    TICKS = 5
};

struct scale {
    size_t steps;
    double top; /* nats */
};

/* Colours that differ in hue by the golden angle; every other turn of it is dashed. */
static enum cn_status put_style(struct cn_str *out, size_t method)
{
    return cn_str_format(out, "fill=\"none\" stroke=\"hsl(%d,65%%,%d%%)\" stroke-width=\"%s\"%s",
                         (int)(method * 137) % 360, method ? 45 : 0, method ? "1.5" : "3",
                         method % 2 ? " stroke-dasharray=\"6 2\"" : "");
}

/* Text of a run in XML. */
static enum cn_status put_name(struct cn_str *out, const char *name)
{
    struct cn_str clean = {0};
    enum cn_status status = cn_str_add_safe(&clean, cn_text(name), " ");
    for (size_t i = 0; status == CN_OK && i < clean.length; i++) {
        const char c = clean.data[i];
        status = c == '<'   ? cn_str_add(out, "&lt;")
                 : c == '&' ? cn_str_add(out, "&amp;")
                            : cn_str_append(out, &c, 1);
    }
    cn_str_free(&clean);
    return status;
}

static enum cn_status put_axes(const struct scale *scale, struct cn_str *out)
{
    for (int i = 0; i <= TICKS; i++) {
        const double share = (double)i / TICKS;
        const double y = TOP + PLOT_HEIGHT * (1 - share), x = LEFT + PLOT_WIDTH * share;
        CN_TRY(cn_str_format(out,
                             "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n"
                             "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.2f</text>\n",
                             LEFT, LEFT + PLOT_WIDTH, y, y, LEFT - 6, y + 4, share * scale->top));
        CN_TRY(cn_str_format(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n",
                             x, TOP + PLOT_HEIGHT + 18, 1 + share * (double)(scale->steps - 1)));
    }
    return cn_str_format(out,
                         "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n"
                         "<text x=\"14\" y=\"%d\" text-anchor=\"middle\" "
                         "transform=\"rotate(-90 14 %d)\">entropy, nats per token</text>\n",
                         LEFT + PLOT_WIDTH / 2, TOP + PLOT_HEIGHT + 36, TOP + PLOT_HEIGHT / 2,
                         TOP + PLOT_HEIGHT / 2);
}

static enum cn_status put_curve(const struct comparison *c, size_t method,
                                const struct scale *scale, struct cn_str *out)
{
    const int y = TOP + 8 + ROW * (int)method, x = LEFT + PLOT_WIDTH + 16;
    CN_TRY(cn_str_add(out, "<polyline "));
    CN_TRY(put_style(out, method));
    CN_TRY(cn_str_add(out, " points=\""));
    for (size_t at = 0; at < scale->steps; at++) {
        const double value = compare_entropy(c, method, at);
        if (isnan(value)) continue;
        CN_TRY(cn_str_format(out, "%.1f,%.1f ",
                             LEFT + PLOT_WIDTH * (double)at / (double)(scale->steps - 1),
                             TOP + PLOT_HEIGHT * (1 - value / scale->top)));
    }
    CN_TRY(cn_str_format(out, "\"/>\n<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" ", x, x + 24, y,
                         y));
    CN_TRY(put_style(out, method));
    CN_TRY(cn_str_format(out, "/>\n<text x=\"%d\" y=\"%d\">", x + 30, y + 4));
    CN_TRY(put_name(out, c->method[method]));
    return cn_str_add(out, "</text>\n");
}

static enum cn_status draw(const struct comparison *c, struct cn_str *out)
{
    struct scale scale = {.steps = compare_steps(c), .top = 0};
    const int legend = TOP + ROW * (int)c->n_methods, plot = TOP + PLOT_HEIGHT + 50;
    for (size_t m = 0; m < c->n_methods; m++)
        for (size_t at = 0; at < scale.steps; at++)
            scale.top = fmax(scale.top, compare_entropy(c, m, at)); /* fmax passes over NaN */
    if (!(scale.top > 0)) scale.top = 1;
    CN_TRY(cn_str_format(out,
                         "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                         "font-family=\"sans-serif\" font-size=\"12\">\n"
                         "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                         LEFT + PLOT_WIDTH + LEGEND, legend > plot ? legend : plot));
    CN_TRY(put_axes(&scale, out));
    for (size_t m = c->n_methods; m-- > 0;) /* the baseline last, above the others */
        CN_TRY(put_curve(c, m, &scale, out));
    return cn_str_add(out, "</svg>\n");
}

enum cn_status compare_svg(const struct comparison *c, const char *path)
{
    struct cn_str text = {0};
    enum cn_status status = draw(c, &text);
    if (status == CN_OK) status = cn_file_replace(path, text.data, text.length);
    cn_str_free(&text);
    return status;
}
