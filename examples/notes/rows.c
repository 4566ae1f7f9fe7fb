#include "rows.h"

rows ask(mix_value query, mix_value params) {
    mix_value handle = mix_ffi("$db_execute", mix_null(), query, params);
    return (rows){.handle = handle, .open = true};
}

bool next_row(rows *rows) {
    if (!rows->open) return false;
    if (!mix_next(&rows->batch)) {
        rows->batch = mix_each(mix_ffi("$db_execute_next", rows->handle));
        if (!mix_next(&rows->batch)) {
            close_rows(rows);
            return false;
        }
    }
    rows->row = rows->batch.value;
    return true;
}

void close_rows(rows *rows) {
    if (rows->open) mix_ffi("$db_execute_close", rows->handle);
    rows->open = false;
}
