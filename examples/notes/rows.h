/* rows.h: the rows of a query, batch by batch. */
#ifndef ROWS_H
#define ROWS_H

#include "mix.h"

/* for (rows rows = ask(query, params); next_row(&rows);) … rows.row. A loop that is left early closes it. */
typedef struct {
    mix_value row;
    mix_value handle; /* private from here on */
    mix_items batch;
    bool open;
} rows;

/* Ask the app's own database. `query` is the text or the JSON form; what people typed belongs into `params`. */
rows ask(mix_value query, mix_value params);
bool next_row(rows *rows);
void close_rows(rows *rows);

#endif
