/* One line of a data file -> a row. */
#ifndef CARNOT_TEXT_ROW_H
#define CARNOT_TEXT_ROW_H

#include "carnot/data.h"

/* Reads the row of `line`; copies go to `arena`.  system: as in cn_data_open.  Sets all of *out but
 * file and line. Fails: CN_ERR_DATA naming key and what is wrong with it; `name` is what the line
 * is called in messages. */
enum cn_status row_read(struct cn_text line, const char *name, const char *system,
                        struct cn_arena *arena, struct cn_row *out);

#endif
