/* Memory, host calls and panics. */
#include <string.h>

#include "mix.h"

static mix_value environment; /* from mix_init, which keeps what it was given */
static void init(mix_value env) { environment = env; }
MIX_INIT(init)

static mix_value env(mix_value params) {
    (void)params;
    return environment.word ? environment : mix_null();
}
MIX_ENTRY("env", env)

/* ffi(name, args…) with the items of an array. */
static mix_value ffi(mix_value params) {
    mix_value args[8];
    size_t count = 0;
    for (mix_items each = mix_each(params); mix_next(&each) && count < 8;) args[count++] = each.value;
    return mix_ffi_with("$test", args, count);
}
MIX_ENTRY("ffi", ffi)

static mix_value add(mix_value params) {
    mix_value sum = mix_ffi("$add", mix_need(params, "a", MIX_INT), mix_int(2));
    mix_ffi("$none");
    return sum;
}
MIX_ENTRY("add", add)

static mix_value result(mix_value params) {
    (void)params;
    return mix_expect_ok(mix_ffi("$result"));
}
MIX_ENTRY("result", result)

/* Many large answers, each given back. */
static mix_value loop(mix_value params) {
    int64_t total = 0;
    for (int64_t left = mix_as_int(params, 0); left > 0; left--) {
        mix_scope scope = mix_enter();
        total += (int64_t)mix_as_text(mix_ffi("$large")).size;
        mix_leave(scope);
    }
    return mix_int(total);
}
MIX_ENTRY("loop", loop)

/* Blocks of growing sizes, none of which may overlap another. */
static mix_value blocks(mix_value params) {
    enum { COUNT = 60 };
    unsigned char *blocks[COUNT], *longer = NULL;
    size_t sizes[COUNT], extended = 0, most = (size_t)mix_as_int(params, 0);
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = (i * 7919 * 31) % most;
        blocks[i] = mix_take(sizes[i]);
        if ((uintptr_t)blocks[i] % 8) return mix_string("a block is not aligned");
        memset(blocks[i], (int)i, sizes[i]);
        longer = mix_extend(longer, extended, extended + sizes[i] / 3);
        memset(longer + extended, 255, sizes[i] / 3);
        extended += sizes[i] / 3;
        if (i % 2) {
            blocks[i] = mix_extend(blocks[i], sizes[i], 2 * sizes[i]);
            sizes[i] *= 2;
            memset(blocks[i] + sizes[i] / 2, (int)i, sizes[i] / 2);
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t at = 0; at < sizes[i]; at++)
            if (blocks[i][at] != i) return mix_string("blocks overlap");
    for (size_t at = 0; at < extended; at++)
        if (longer[at] != 255) return mix_string("the extended block was overwritten");
    return mix_null();
}
MIX_ENTRY("blocks", blocks)

static mix_value fields(mix_value params) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "text"), mix_put_text(&out, mix_as_text(mix_need(params, "text", MIX_STRING)));
    mix_key(&out, "int"), mix_put_int(&out, mix_as_int(mix_need(params, "int", MIX_INT), 0));
    mix_key(&out, "number"), mix_put_number(&out, mix_as_number(mix_need(params, "number", MIX_NUMBER), 0));
    mix_key(&out, "flag"), mix_put_bool(&out, mix_as_bool(mix_get(params, "flag"), true));
    mix_key(&out, "deep"), mix_put_int(&out, mix_as_int(mix_get(mix_get(params, "a"), "b"), -1));
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("fields", fields)

static mix_value format(mix_value params) {
    mix_text name = mix_as_text(mix_get(params, "name"));
    return mix_format("%.*s has %d, %.2f", (int)name.size, name.at, 3, 1.5);
}
MIX_ENTRY("format", format)

/* The items of an array of strings, by the sign of the order of each with the one behind it. */
static mix_value order(mix_value params) {
    mix_out out = {0};
    mix_put_array(&out);
    mix_text before = mix_as_text(mix_at(params, 0));
    for (mix_items each = mix_each(params); mix_next(&each);) {
        int order = mix_text_order(before, mix_as_text(each.value));
        if (each.index) mix_put_int(&out, (order > 0) - (order < 0));
        before = mix_as_text(each.value);
    }
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("order", order)

static mix_value host(mix_value params) {
    (void)params;
    unsigned char bytes[4];
    mix_random(bytes, sizeof bytes);
    mix_log(MIX_WARNING, "careful");
    mix_out out = {0};
    mix_put_array(&out);
    mix_put_bool(&out, mix_now() > 1.5e9);
    mix_put_binary(&out, bytes, sizeof bytes);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("host", host)

static mix_value randomness(mix_value params) {
    size_t size = (size_t)mix_as_int(params, 0);
    void *bytes = mix_take(size);
    mix_random(bytes, size);
    return mix_binary(bytes, size);
}
MIX_ENTRY("randomness", randomness)

static mix_value misuse(mix_value params) {
    mix_text what = mix_as_text(params);
    mix_out out = {0};
    if (mix_text_is(what, "no key")) {
        mix_put_map(&out);
        mix_put_null(&out);
    } else if (mix_text_is(what, "no value")) {
        mix_put_map(&out);
        mix_key(&out, "a");
        mix_end(&out);
    } else if (mix_text_is(what, "key key")) {
        mix_put_map(&out);
        mix_key(&out, "a");
        mix_key(&out, "b");
    } else if (mix_text_is(what, "twice")) {
        mix_put_map(&out);
        mix_key(&out, "b"), mix_put_null(&out);
        mix_key(&out, "a"), mix_put_null(&out);
        mix_key(&out, "b"), mix_put_null(&out);
        mix_end(&out);
    } else if (mix_text_is(what, "key outside")) {
        mix_put_array(&out);
        mix_key(&out, "a");
    } else if (mix_text_is(what, "two")) {
        mix_put_null(&out);
        mix_put_null(&out);
    } else if (mix_text_is(what, "end")) {
        mix_put_null(&out);
        mix_end(&out);
    } else if (mix_text_is(what, "open")) {
        mix_put_array(&out);
    } else if (mix_text_is(what, "undefined")) {
        mix_put_array(&out);
        mix_put_value(&out, mix_get(params, "none"));
    } else if (mix_text_is(what, "case")) {
        mix_put_case(&out, MIX_TEXT("c"));
        mix_put_null(&out);
        mix_put_null(&out);
    } else if (mix_text_is(what, "latin")) {
        mix_put_string(&out, "caf\xE9");
    } else if (mix_text_is(what, "scope")) {
        mix_put_array(&out);
        mix_scope scope = mix_enter();
        mix_put_null(&out);
        mix_leave(scope);
    } else if (mix_text_is(what, "left scope")) {
        mix_scope scope = mix_enter();
        mix_put_array(&out);
        mix_leave(scope);
        scope = mix_enter();
        mix_put_null(&out);
    } else if (mix_text_is(what, "scopes")) {
        mix_scope outer = mix_enter();
        mix_enter();
        mix_leave(outer);
    } else if (mix_text_is(what, "deep")) {
        for (int i = 0; i < 257; i++) mix_put_array(&out);
        mix_put_null(&out);
    } else if (mix_text_is(what, "memory")) {
        for (;;) mix_take(1 << 28);
    } else if (mix_text_is(what, "huge")) {
        mix_take(SIZE_MAX);
    } else if (mix_text_is(what, "panic")) {
        mix_panic("on purpose");
    }
    return mix_done(&out);
}
MIX_ENTRY("misuse", misuse)

/* An array around a value that may be at the limit itself. */
static mix_value wrap(mix_value params) {
    mix_out out = {0};
    mix_put_array(&out);
    mix_put_value(&out, params);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("wrap", wrap)
