/* An agent that does what it is told: steps({steps: [{ffi, args}, …]}) calls one FFI after the other and answers what they
 * answered. An argument {of: 2, key: "socket"} stands for what the third step answered, or for what it has under that
 * key; tokens are answered as null. */
#include <string.h>

#include "mix.h"

enum { MOST = 32, ARGS = 9 };

static mix_value unwrapped(mix_value answer) {
    if (mix_kind_of(answer) != MIX_CASE) return answer;
    mix_value held = mix_case_arg(answer);
    return mix_kind_of(held) == MIX_UNDEF ? mix_null() : held;
}

static mix_value steps(mix_value params) {
    mix_value answers[MOST];
    size_t count = 0;
    mix_out out = {0};
    mix_put_array(&out);
    for (mix_items each = mix_each(mix_need(params, "steps", MIX_ARRAY)); mix_next(&each) && count < MOST;) {
        mix_value args[ARGS];
        size_t given = 0;
        for (mix_items arg = mix_each(mix_need(each.value, "args", MIX_ARRAY)); mix_next(&arg) && given < ARGS;) {
            mix_value of = mix_kind_of(arg.value) == MIX_MAP ? mix_get(arg.value, "of") : mix_get(params, "none");
            if (mix_kind_of(of) == MIX_UNDEF) {
                args[given++] = arg.value;
                continue;
            }
            mix_value from = unwrapped(answers[mix_as_int(of, 0)]);
            mix_value key = mix_get(arg.value, "key");
            args[given++] = mix_kind_of(key) == MIX_UNDEF ? from : mix_get_text(from, mix_as_text(key));
        }
        char name[64] = {0};
        mix_text called = mix_as_text(mix_need(each.value, "ffi", MIX_STRING));
        memcpy(name, called.at, called.size < sizeof name ? called.size : sizeof name - 1);
        mix_value answer = mix_ffi_with(name, args, given);
        answers[count++] = answer;
        bool secret = mix_kind_of(unwrapped(answer)) == MIX_TOKEN ||
                      mix_kind_of(mix_get(each.value, "quiet")) != MIX_UNDEF;
        mix_put_value(&out, secret ? mix_null() : answer);
    }
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("steps", steps)

/* collect({filter, count, ready}): so many payloads that are published to the filter; there is a file `ready` from when on it
 * listens. */
static mix_value collect(mix_value params) {
    mix_value handle = mix_expect_ok(mix_ffi("$mqtt_subscribe", mix_need(params, "filter", MIX_STRING)));
    mix_expect_ok(mix_ffi("$file_create", mix_need(params, "ready", MIX_STRING), mix_string("")));
    mix_out out = {0};
    mix_put_array(&out);
    for (int64_t left = mix_as_int(mix_need(params, "count", MIX_INT), 0); left > 0; left--) {
        mix_value answer = mix_ffi("$mqtt_next", handle, mix_int(20000));
        mix_value message = mix_case_arg(answer);
        mix_put_value(&out, mix_kind_of(message) == MIX_MAP ? mix_get(message, "payload") : mix_text_value(mix_as_text(answer)));
    }
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("collect", collect)
