/* Curves drawn as text: braille dots (2 x 4 per character) where the locale is UTF-8, else
 * asterisks. */
#ifndef CARNOT_CORE_PLOT_H
#define CARNOT_CORE_PLOT_H

#include "carnot/str.h"

/* What to draw; zero-initialise, everything but `value` and `n` is optional. */
struct plot {
    const char *title;
    const double *value; /* (n); entries that are not finite are left out */
    size_t n;
    const double *x;   /* (n), ascending: steps; NULL: 1 .. n */
    int width, height; /* characters of the drawing area; 0: 60 x 8; at most 400 x 100 */
    bool ascii;        /* asterisks, whatever the locale is */
};

/* Appends title, last value, curve with the range of values at its left and the range of x below,
 * each line ended by a newline.  Several values in a column are drawn as their mean.  Fails:
 * CN_ERR_MEMORY only. */
enum cn_status plot_draw(const struct plot *plot, struct cn_str *out);

/* Whether LC_ALL, else LC_CTYPE, else LANG names UTF-8. */
bool plot_unicode(void);

#endif
