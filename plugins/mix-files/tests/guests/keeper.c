/* Stores a file in pieces, reads it in pieces, and answers how many bytes came back and what is known of it. */
#include "mix.h"

static mix_value more(void) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "more"), mix_put_bool(&out, 1);
    mix_end(&out);
    return mix_done(&out);
}

static mix_value from(int64_t start, mix_value etag) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "start"), mix_put_int(&out, start);
    mix_key(&out, "ifMatch"), mix_put_value(&out, etag);
    mix_end(&out);
    return mix_done(&out);
}

/* Reads the part that begins there; answers where the next begins, -1 at the end. What it took is given back. */
static int64_t read_part(mix_value path, int64_t start, mix_value etag, int64_t *size) {
    mix_scope scope = mix_enter();
    mix_value part = mix_expect_ok(mix_ffi("$file_read", path, from(start, etag)));
    *size += (int64_t)mix_as_text(mix_get(part, "data")).size;
    int64_t next = mix_as_int(mix_get(part, "next"), -1);
    mix_leave(scope);
    return next;
}

static void send_piece(mix_value handle, mix_value piece) {
    mix_scope scope = mix_enter();
    mix_expect_ok(mix_ffi("$file_create", handle, piece, more()));
    mix_leave(scope);
}

static mix_value keep(mix_value params) {
    mix_value path = mix_get(params, "path"), piece = mix_get(params, "piece");
    mix_value handle = mix_expect_ok(mix_ffi("$file_create", path, piece, more()));
    for (int64_t left = mix_as_int(mix_get(params, "pieces"), 2); left > 2; left--) send_piece(handle, piece);
    mix_value made = mix_expect_ok(mix_ffi("$file_create", handle, piece));

    mix_value etag = mix_get(mix_get(made, "metadata"), "etag");
    int64_t size = 0, next = 0;
    while (next >= 0) next = read_part(path, next, etag, &size);

    mix_out answer = {0};
    mix_put_map(&answer);
    mix_key(&answer, "size"), mix_put_int(&answer, size);
    mix_key(&answer, "made"), mix_put_value(&answer, made);
    mix_end(&answer);
    return mix_done(&answer);
}
MIX_ENTRY("keep", keep)
