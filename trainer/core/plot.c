/* Curves drawn as text.
 *
 * The curve is drawn into a grid of dots, column by column: the mean of the values that fall into a
 * column, joined to the column before by a straight line, so that a few steps look like a curve and
 * many like their average. */
#include "plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WIDTH_MAX = 400, HEIGHT_MAX = 100, WIDTH = 60, HEIGHT = 8, LABEL = 9 };

/* The drawing area in dots; row 0 is the top. */
struct grid {
    int columns, rows, cell_columns, cell_rows; /* dots; dots per character */
    uint8_t *dot;                               /* (rows x columns) */
};

struct range {
    double x_min, x_max, y_min, y_max, last;
    size_t n; /* finite values */
};

bool plot_unicode(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0]) return strcasestr(value, "UTF-8") || strcasestr(value, "UTF8");
    }
    return false;
}

static double x_of(const struct plot *plot, size_t i)
{
    return plot->x ? plot->x[i] : (double)(i + 1);
}

static struct range find_range(const struct plot *plot)
{
    struct range r = {INFINITY, -INFINITY, INFINITY, -INFINITY, NAN, 0};
    for (size_t i = 0; i < plot->n; i++) {
        double x = x_of(plot, i), y = plot->value[i];
        if (!isfinite(y) || !isfinite(x)) continue;
        r.x_min = fmin(r.x_min, x), r.x_max = fmax(r.x_max, x);
        r.y_min = fmin(r.y_min, y), r.y_max = fmax(r.y_max, y);
        r.last = y;
        r.n++;
    }
    return r;
}

/* Place of `value` in low..high as 0 .. cells-1; the middle if the range is a point. */
static int place(double value, double low, double high, int cells)
{
    double share = high > low ? value / (high - low) - low / (high - low) : 0.5;
    if (!isfinite(share)) share = 0.5;
    int at = (int)lround(share * (cells - 1));
    return at < 0 ? 0 : at >= cells ? cells - 1 : at;
}

/* Joins two points of neighbouring values by dots. */
static void draw_line(struct grid *grid, int x0, int y0, int x1, int y1)
{
    int steps = abs(x1 - x0) > abs(y1 - y0) ? abs(x1 - x0) : abs(y1 - y0);
    for (int i = 0; i <= steps; i++) {
        double share = steps ? (double)i / steps : 0;
        int x = (int)lround(x0 + share * (x1 - x0)), y = (int)lround(y0 + share * (y1 - y0));
        grid->dot[(size_t)y * (size_t)grid->columns + (size_t)x] = 1;
    }
}

static void draw_curve(const struct plot *plot, const struct range *r, struct grid *grid)
{
    double sum[2 * WIDTH_MAX] = {0};
    size_t count[2 * WIDTH_MAX] = {0};
    for (size_t i = 0; i < plot->n; i++) {
        double x = x_of(plot, i), y = plot->value[i];
        if (!isfinite(y) || !isfinite(x)) continue;
        int column = place(x, r->x_min, r->x_max, grid->columns);
        sum[column] += y;
        count[column]++;
    }
    int before = -1, row_before = 0;
    for (int column = 0; column < grid->columns; column++) {
        if (!count[column]) continue;
        double mean = sum[column] / (double)count[column];
        int row = grid->rows - 1 - place(mean, r->y_min, r->y_max, grid->rows);
        draw_line(grid, before < 0 ? column : before, before < 0 ? row : row_before, column, row);
        before = column;
        row_before = row;
    }
}

static int dot(const struct grid *grid, int column, int row)
{
    return grid->dot[(size_t)row * (size_t)grid->columns + (size_t)column];
}

/* One character of the drawing area. */
static enum cn_status put_cell(const struct grid *grid, int column, int row, struct cn_str *out)
{
    static const unsigned char bits[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    if (grid->cell_rows == 1) return cn_str_add(out, dot(grid, column, row) ? "*" : " ");
    unsigned pattern = 0;
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 2; x++)
            if (dot(grid, 2 * column + x, 4 * row + y)) pattern |= bits[y][x];
    if (!pattern) return cn_str_add(out, " ");
    const char utf8[] = {(char)0xe2, (char)(0xa0 | pattern >> 6), (char)(0x80 | (pattern & 0x3f)),
                         0}; /* U+2800 + pattern */
    return cn_str_add(out, utf8);
}

static enum cn_status put_rows(const struct grid *grid, const struct range *r, struct cn_str *out)
{
    int height = grid->rows / grid->cell_rows, width = grid->columns / grid->cell_columns;
    for (int row = 0; row < height; row++) {
        if (row == 0)
            CN_TRY(cn_str_format(out, "%*.4g |", LABEL, r->y_max));
        else if (row == height - 1)
            CN_TRY(cn_str_format(out, "%*.4g |", LABEL, r->y_min));
        else
            CN_TRY(cn_str_format(out, "%*s |", LABEL, ""));
        for (int column = 0; column < width; column++)
            CN_TRY(put_cell(grid, column, row, out));
        while (out->length && out->data[out->length - 1] == ' ')
            out->data[--out->length] = 0;
        CN_TRY(cn_str_add(out, "\n"));
    }
    CN_TRY(cn_str_format(out, "%*s +", LABEL, ""));
    for (int column = 0; column < width; column++)
        CN_TRY(cn_str_add(out, "-"));
    char left[32], right[32];
    snprintf(left, sizeof left, "%.6g", r->x_min);
    snprintf(right, sizeof right, "%.6g", r->x_max);
    int space = width - (int)strlen(left);
    return cn_str_format(out, "\n%*s  %s%*s\n", LABEL, "", left, space > 0 ? space : 0, right);
}

enum cn_status plot_draw(const struct plot *plot, struct cn_str *out)
{
    struct range r = find_range(plot);
    const char *title = plot->title ? plot->title : "";
    if (!r.n) return cn_str_format(out, "%s: no values yet\n", title);
    CN_TRY(cn_str_format(out, "%*s  %s   last %.4g\n", LABEL, "", title, r.last));
    bool unicode = !plot->ascii && plot_unicode();
    int width = plot->width > 0 ? plot->width : WIDTH,
        height = plot->height > 0 ? plot->height : HEIGHT;
    if (width > WIDTH_MAX) width = WIDTH_MAX;
    if (height > HEIGHT_MAX) height = HEIGHT_MAX;
    struct grid grid = {.cell_columns = unicode ? 2 : 1, .cell_rows = unicode ? 4 : 1};
    grid.columns = width * grid.cell_columns;
    grid.rows = height * grid.cell_rows;
    grid.dot = calloc((size_t)grid.columns * (size_t)grid.rows, 1);
    if (!grid.dot) return cn_fail(CN_ERR_MEMORY, "out of memory: a curve");
    draw_curve(plot, &r, &grid);
    enum cn_status status = put_rows(&grid, &r, out);
    free(grid.dot);
    return status;
}
