/* An agent that loads modules. */
#include "mix.h"

static mix_value given(mix_value params, const char *key) {
    mix_value found = mix_get(params, key);
    return mix_kind_of(found) == MIX_UNDEF ? mix_null() : found;
}

/* load({code, function, args, times, timeout}), code as a binary or the name of a file: the answers of $wasm_call. */
static mix_value load(mix_value params) {
    mix_value loaded = mix_expect_ok(mix_ffi("$wasm_load", mix_get(params, "code")));
    mix_value module = mix_get(loaded, "module");
    mix_out out = {0};
    mix_put_array(&out);
    for (int64_t left = mix_as_int(mix_get(params, "times"), 1); left > 0; left--)
        mix_put_value(&out, mix_ffi("$wasm_call", module, mix_need(params, "function", MIX_STRING),
                                    given(params, "args"), given(params, "timeout")));
    mix_end(&out);
    if (mix_as_bool(mix_get(params, "shutdown"), true)) mix_ffi("$wasm_shutdown", module);
    return mix_done(&out);
}
MIX_ENTRY("load", load)

/* wasi({code, options}): the answer of $wasm_wasi_call. */
static mix_value wasi(mix_value params) {
    mix_value loaded = mix_expect_ok(mix_ffi("$wasm_wasi_load", mix_get(params, "code")));
    return mix_ffi("$wasm_wasi_call", mix_get(loaded, "module"), mix_get(params, "options"));
}
MIX_ENTRY("wasi", wasi)

/* bomb({code, times}): loads and loads and shuts nothing down. */
static mix_value bomb(mix_value params) {
    int64_t loaded = 0;
    for (int64_t left = mix_as_int(mix_get(params, "times"), 1); left > 0; left--) {
        mix_value answer = mix_ffi("$wasm_load", mix_get(params, "code"));
        if (!mix_text_is(mix_as_text(answer), "ok")) return mix_case_arg(answer);
        loaded++;
    }
    return mix_int(loaded);
}
MIX_ENTRY("bomb", bomb)
