/* Decodes words and writes the value again, piece by piece, through the public functions. */
#include "mix.h"

static void copy(mix_out *out, mix_value value) {
    mix_text text = mix_as_text(value);
    switch (mix_kind_of(value)) {
    case MIX_NULL:
        mix_put_null(out);
        break;
    case MIX_BOOL:
        mix_put_bool(out, mix_as_bool(value, false));
        break;
    case MIX_INT:
        mix_put_int(out, mix_as_int(value, 0));
        break;
    case MIX_NUMBER:
        mix_put_number(out, mix_as_number(value, 0));
        break;
    case MIX_STRING:
        mix_put_text(out, text);
        break;
    case MIX_REF:
        mix_put_ref(out, text);
        break;
    case MIX_BINARY:
        mix_put_binary(out, text.at, text.size);
        break;
    case MIX_ARRAY:
        mix_put_array(out);
        for (mix_items each = mix_each(value); mix_next(&each);) copy(out, each.value);
        mix_end(out);
        break;
    case MIX_MAP:
        mix_put_map(out);
        for (mix_items each = mix_each(value); mix_next(&each);) {
            mix_key_text(out, each.key);
            copy(out, each.value);
        }
        mix_end(out);
        break;
    case MIX_CASE:
        mix_put_case(out, text);
        if (mix_kind_of(mix_case_arg(value)) != MIX_UNDEF) copy(out, mix_case_arg(value));
        mix_end(out);
        break;
    default: /* undefined, and tokens, which a guest only passes on */
        mix_put_value(out, value);
    }
}

/* Words in a binary; answers them written again, or the word that is at fault. */
static mix_value words(mix_value params) {
    mix_text bytes = mix_as_text(params);
    mix_value value;
    mix_fault fault;
    mix_out out = {0};
    if (!mix_decode(bytes.at, bytes.size, &value, &fault)) return mix_int((int64_t)fault.offset);
    copy(&out, value);
    mix_text again = mix_encoded(mix_done(&out));
    return mix_binary(again.at, again.size);
}
MIX_ENTRY("words", words)

static mix_value echo(mix_value params) {
    mix_out out = {0};
    copy(&out, params);
    return mix_done(&out);
}
MIX_ENTRY("echo", echo)

static mix_value same(mix_value params) { return params; }
MIX_ENTRY("same", same)

/* A map whose pairs come as [[key, value], …], in that order. */
static mix_value map(mix_value params) {
    mix_out out = {0};
    mix_put_map(&out);
    for (mix_items each = mix_each(params); mix_next(&each);) {
        mix_key_text(&out, mix_as_text(mix_at(each.value, 0)));
        mix_put_value(&out, mix_at(each.value, 1));
    }
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("map", map)

/* An array of that many nulls, for counts that do not fit in the header. */
static mix_value many(mix_value params) {
    mix_out out = {0};
    mix_put_array(&out);
    for (int64_t left = mix_as_int(params, 0); left > 0; left--) mix_put_null(&out);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("many", many)

/* Arrays in each other, that many. */
static mix_value nest(mix_value params) {
    mix_out out = {0};
    int64_t depth = mix_as_int(params, 0);
    for (int64_t i = 0; i < depth; i++) mix_put_array(&out);
    mix_put_int(&out, 7);
    for (int64_t i = 0; i < depth; i++) mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("nest", nest)

static mix_value clean(mix_value params) { return mix_text_value(mix_clean(mix_as_text(params))); }
MIX_ENTRY("clean", clean)
