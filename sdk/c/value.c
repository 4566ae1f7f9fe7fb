/* value.c: reading values that were checked on arrival. */
#include <string.h>

#include "words.h"

static const uint32_t undef[1] = {TAG_UNDEF};
static const mix_value UNDEF = {undef};

static const unsigned char kinds[] = {
    [TAG_UNDEF] = MIX_UNDEF,   [TAG_NULL] = MIX_NULL,     [TAG_BOOL] = MIX_BOOL, [TAG_SMALL] = MIX_INT,
    [TAG_INT64] = MIX_INT,     [TAG_NUMBER] = MIX_NUMBER, [TAG_STRING] = MIX_STRING, [TAG_REF] = MIX_REF,
    [TAG_BINARY] = MIX_BINARY, [TAG_ARRAY] = MIX_ARRAY,   [TAG_MAP] = MIX_MAP,   [TAG_CASE] = MIX_CASE,
    [TAG_TOKEN] = MIX_TOKEN,
};

mix_kind mix_kind_of(mix_value value) { return (mix_kind)kinds[tag_of(value.word)]; }

const char *mix_kind_name(mix_kind kind) {
    static const char *const names[] = {"undefined", "null",   "bool",  "int", "number", "string",
                                        "ref",       "binary", "array", "map", "case",   "token"};
    return names[kind];
}

const uint32_t *mix_walk(const uint32_t *word, size_t *depth) {
    uint32_t left[MAX_DEPTH + 1]; /* values still to come, for each open container */
    size_t open = 0;
    left[0] = 1;
    *depth = 0;
    for (;;) {
        while (left[open] == 0)
            if (open-- == 0) return word;
        left[open]--;
        uint32_t inside = 0;
        switch (tag_of(word)) {
        case TAG_INT64:
        case TAG_NUMBER:
            word += 3;
            break;
        case TAG_STRING:
        case TAG_REF:
        case TAG_BINARY:
        case TAG_TOKEN:
            word = after_text(word);
            break;
        case TAG_ARRAY:
            word = content_of(word, &inside);
            break;
        case TAG_MAP:
            word = content_of(word, &inside);
            inside *= 2; /* a key is laid out as a String */
            break;
        case TAG_CASE:
            inside = aux_of(word);
            word = after_text(word + 1);
            break;
        default:
            word += 1;
        }
        if (inside) {
            left[++open] = inside;
            if (open > *depth) *depth = open;
        }
    }
}

static const uint32_t *after(const uint32_t *word) {
    size_t depth;
    return mix_walk(word, &depth);
}

mix_text mix_encoded(mix_value value) {
    const char *start = (const char *)value.word, *end = (const char *)after(value.word);
    return (mix_text){start, (size_t)(end - start)};
}

/* ---- Containers -------------------------------------------------------------------------------------------- */

mix_items mix_each(mix_value value) {
    mix_items items = {.value = UNDEF, .index = SIZE_MAX};
    uint32_t count;
    if (tag_of(value.word) == TAG_ARRAY || tag_of(value.word) == TAG_MAP) {
        items.at = content_of(value.word, &count);
        items.left = count;
        items.keyed = tag_of(value.word) == TAG_MAP;
    }
    return items;
}

bool mix_next(mix_items *items) {
    if (items->left == 0) return false;
    items->left--;
    items->index++;
    if (items->keyed) {
        items->key = text_of(items->at);
        items->at = after_text(items->at);
    }
    items->value = (mix_value){items->at};
    if (items->left) items->at = after(items->at);
    return true;
}

mix_value mix_get_text(mix_value map, mix_text key) {
    if (tag_of(map.word) != TAG_MAP) return UNDEF;
    for (mix_items each = mix_each(map); mix_next(&each);) {
        int order = compare_texts(each.key, key);
        if (order == 0) return each.value;
        if (order > 0) break;
    }
    return UNDEF;
}

mix_value mix_get(mix_value map, const char *key) { return mix_get_text(map, mix_text_of(key)); }

static bool fits(mix_value value, mix_kind kind) {
    mix_kind found = mix_kind_of(value);
    if (found == kind) return true;
    if (kind == MIX_NUMBER) return found == MIX_INT;
    return kind == MIX_INT && found == MIX_NUMBER && mix_as_int(value, 0) == mix_as_int(value, 1);
}

mix_value mix_need(mix_value map, const char *key, mix_kind kind) {
    mix_value value = mix_get(map, key);
    if (!fits(value, kind))
        mix_panic_join("field \"", key, "\": expected ", mix_kind_name(kind), ", found ",
                       mix_kind_name(mix_kind_of(value)), NULL);
    return value;
}

mix_value mix_at(mix_value array, size_t index) {
    if (tag_of(array.word) != TAG_ARRAY) return UNDEF;
    for (mix_items each = mix_each(array); mix_next(&each);)
        if (each.index == index) return each.value;
    return UNDEF;
}

size_t mix_count(mix_value value) { return mix_each(value).left; }

/* ---- Scalars ----------------------------------------------------------------------------------------------- */

bool mix_as_bool(mix_value value, bool fallback) {
    return tag_of(value.word) == TAG_BOOL ? aux_of(value.word) != 0 : fallback;
}

int64_t mix_as_int(mix_value value, int64_t fallback) {
    int64_t whole;
    double number;
    switch (tag_of(value.word)) {
    case TAG_SMALL:
        return (int32_t)*value.word >> 8;
    case TAG_INT64:
        memcpy(&whole, value.word + 1, sizeof whole);
        return whole;
    case TAG_NUMBER:
        memcpy(&number, value.word + 1, sizeof number);
        /* The upper bound is 2^63 itself, which no int64 has; a NaN fails every comparison. */
        if (!(number >= -0x1p63 && number < 0x1p63)) return fallback;
        whole = (int64_t)number;
        return (double)whole == number ? whole : fallback;
    default:
        return fallback;
    }
}

double mix_as_number(mix_value value, double fallback) {
    double number;
    switch (tag_of(value.word)) {
    case TAG_SMALL:
    case TAG_INT64:
        return (double)mix_as_int(value, 0);
    case TAG_NUMBER:
        memcpy(&number, value.word + 1, sizeof number);
        return number;
    default:
        return fallback;
    }
}

mix_text mix_as_text(mix_value value) {
    switch (tag_of(value.word)) {
    case TAG_STRING:
    case TAG_REF:
    case TAG_BINARY:
    case TAG_TOKEN:
        return text_of(value.word);
    case TAG_CASE:
        return text_of(value.word + 1);
    default:
        return (mix_text){NULL, 0};
    }
}

mix_value mix_case_arg(mix_value value) {
    if (tag_of(value.word) != TAG_CASE || aux_of(value.word) == 0) return UNDEF;
    return (mix_value){after_text(value.word + 1)};
}

mix_value mix_expect_ok(mix_value result) {
    mix_text name = mix_as_text(result);
    mix_value arg = mix_case_arg(result);
    if (mix_kind_of(result) == MIX_CASE && mix_text_is(name, "ok")) return arg;
    if (mix_kind_of(result) == MIX_CASE && mix_text_is(name, "error") && mix_kind_of(arg) == MIX_STRING)
        mix_panic_text(mix_as_text(arg));
    mix_panic_join("expected a result, ok(value) or error(message), found ", mix_kind_name(mix_kind_of(result)), NULL);
}
