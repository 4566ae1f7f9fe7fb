/* out.c: writing values, always in canonical form. */
#include <string.h>

#include "words.h"

struct mix_frame {
    size_t at;       /* word index of the header */
    size_t count;    /* items, pairs, or values that a case carries */
    size_t last_key; /* word index of it */
    unsigned char tag;
    bool keyed;  /* a key waits for its value */
    bool sorted; /* so far */
};

/* Space for more words, where `used` then stands behind them. */
static uint32_t *room(mix_out *out, size_t words) {
    if (out->words == NULL) out->scope = mix_scope_id();
    if (out->scope != mix_scope_id()) mix_panic("a value is written outside of the scope that it was begun in");
    if (words > SIZE_MAX / 16 - out->used) mix_panic("a value is too long");
    size_t needed = out->used + words;
    if (needed > out->capacity) {
        size_t capacity = needed + out->capacity < 16 ? 16 : needed + out->capacity;
        out->words = mix_extend(out->words, out->used * 4, capacity * 4);
        out->capacity = capacity;
    }
    uint32_t *at = out->words + out->used;
    out->used = needed;
    return at;
}

static struct mix_frame *top(mix_out *out) { return out->depth ? &out->frames[out->depth - 1] : NULL; }

/* A value comes here, `depth` deep in itself. */
static void begin(mix_out *out, size_t depth) {
    struct mix_frame *frame = top(out);
    if (out->depth + depth > MAX_DEPTH) mix_panic("values are nested more than 256 deep");
    if (frame == NULL) {
        if (out->complete) mix_panic("a second value follows a finished one: put them into an array or a map");
    } else if (frame->tag == TAG_MAP) {
        if (!frame->keyed) mix_panic("a value in a map has no key: call mix_key before it");
        frame->keyed = false;
    } else {
        if (frame->tag == TAG_CASE && frame->count) mix_panic("a case carries one value, found a second");
        frame->count++;
    }
}

static void finished(mix_out *out) { out->complete = out->depth == 0; }

static void put_word(mix_out *out, uint32_t tag, uint32_t aux) {
    begin(out, 0);
    *room(out, 1) = tag | aux << 8;
    finished(out);
}

static void put_long(mix_out *out, uint32_t tag, const void *eight_bytes) {
    begin(out, 0);
    uint32_t *at = room(out, 3);
    at[0] = tag;
    memcpy(at + 1, eight_bytes, 8);
    finished(out);
}

static void append_bytes(mix_out *out, uint32_t tag, const void *bytes, size_t size) {
    size_t words = words_of(size);
    bool is_long = size >= LONG;
    uint32_t *at = room(out, 1 + is_long + words);
    *at++ = tag | (is_long ? LONG : (uint32_t)size) << 8;
    if (is_long) *at++ = (uint32_t)size;
    if (words) at[words - 1] = 0; /* the padding */
    if (size) memcpy(at, bytes, size);
}

static void append_text(mix_out *out, uint32_t tag, mix_text text) {
    if (mix_utf8_fault(text) < text.size) mix_panic("a text is not UTF-8: pass bytes from outside through mix_clean");
    append_bytes(out, tag, text.at, text.size);
}

void mix_put_null(mix_out *out) { put_word(out, TAG_NULL, 0); }
void mix_put_bool(mix_out *out, bool value) { put_word(out, TAG_BOOL, value); }

void mix_put_int(mix_out *out, int64_t value) {
    if (value >= SMALL_MIN && value <= SMALL_MAX)
        put_word(out, TAG_SMALL, (uint32_t)value & 0xFFFFFF);
    else
        put_long(out, TAG_INT64, &value);
}

void mix_put_number(mix_out *out, double value) {
    uint64_t nan = CANONICAL_NAN;
    put_long(out, TAG_NUMBER, value == value ? (const void *)&value : &nan);
}

void mix_put_text(mix_out *out, mix_text text) {
    begin(out, 0);
    append_text(out, TAG_STRING, text);
    finished(out);
}

void mix_put_string(mix_out *out, const char *string) { mix_put_text(out, mix_text_of(string)); }

void mix_put_ref(mix_out *out, mix_text id) {
    begin(out, 0);
    append_text(out, TAG_REF, id);
    finished(out);
}

void mix_put_binary(mix_out *out, const void *bytes, size_t size) {
    begin(out, 0);
    append_bytes(out, TAG_BINARY, bytes, size);
    finished(out);
}

void mix_put_value(mix_out *out, mix_value value) {
    size_t depth;
    size_t words = (size_t)(mix_walk(value.word, &depth) - value.word);
    if (out->depth && mix_kind_of(value) == MIX_UNDEF)
        mix_panic("undefined may not be stored in an array, map or case");
    begin(out, depth);
    memcpy(room(out, words), value.word, words * 4);
    finished(out);
}

/* ---- Containers -------------------------------------------------------------------------------------------- */

static void open_frame(mix_out *out, unsigned char tag) {
    begin(out, 0);
    size_t at = out->used;
    *room(out, 1) = tag;
    if (out->depth == out->frame_capacity) {
        size_t size = sizeof(struct mix_frame), capacity = 2 * out->frame_capacity + 8;
        out->frames = mix_extend(out->frames, out->frame_capacity * size, capacity * size);
        out->frame_capacity = capacity;
    }
    out->frames[out->depth++] = (struct mix_frame){.at = at, .tag = tag, .sorted = true};
}

void mix_put_array(mix_out *out) { open_frame(out, TAG_ARRAY); }
void mix_put_map(mix_out *out) { open_frame(out, TAG_MAP); }

void mix_put_case(mix_out *out, mix_text name) {
    open_frame(out, TAG_CASE);
    append_text(out, TAG_STRING, name);
}

void mix_key_text(mix_out *out, mix_text key) {
    struct mix_frame *map = top(out);
    if (map == NULL || map->tag != TAG_MAP) mix_panic("a key stands outside of a map");
    if (map->keyed) mix_panic("a key follows a key: the first one has no value");
    size_t at = out->used;
    append_text(out, TAG_STRING, key);
    if (map->count && compare_texts(text_of(out->words + map->last_key), text_of(out->words + at)) >= 0)
        map->sorted = false;
    map->last_key = at;
    map->keyed = true;
    map->count++;
}

void mix_key(mix_out *out, const char *key) { mix_key_text(out, mix_text_of(key)); }

typedef struct {
    const uint32_t *key, *end; /* the pair's words */
} pair;

static int compare_pairs(const pair *a, const pair *b) { return compare_texts(text_of(a->key), text_of(b->key)); }

/* Heapsort, and not qsort: libc's brings 13 KiB with it, as much as all of this library. */
static void sift(pair *pairs, size_t root, size_t count) {
    pair moved = pairs[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare_pairs(&pairs[child], &pairs[child + 1]) < 0) child++;
        if (compare_pairs(&moved, &pairs[child]) >= 0) break;
        pairs[root] = pairs[child];
    }
    pairs[root] = moved;
}

static void sort_pairs(pair *pairs, size_t count) {
    for (size_t root = count / 2; root-- > 0;) sift(pairs, root, count);
    for (size_t last = count; last-- > 1;) {
        pair largest = pairs[0];
        pairs[0] = pairs[last];
        pairs[last] = largest;
        sift(pairs, 0, last);
    }
}

static void sort_map(mix_out *out, const struct mix_frame *map) {
    mix_scope scratch = mix_enter();
    uint32_t *start = out->words + map->at + 1, *to = start;
    size_t words = out->used - map->at - 1, depth;
    pair *pairs = mix_take(map->count * sizeof *pairs);
    uint32_t *copy = mix_take(words * 4);
    memcpy(copy, start, words * 4);
    const uint32_t *at = copy;
    for (size_t i = 0; i < map->count; i++) {
        pairs[i].key = at;
        at = pairs[i].end = mix_walk(after_text(at), &depth);
    }
    sort_pairs(pairs, map->count);
    for (size_t i = 0; i < map->count; i++) {
        if (i && compare_pairs(&pairs[i - 1], &pairs[i]) == 0) mix_panic("a key stands twice in a map");
        size_t length = (size_t)(pairs[i].end - pairs[i].key);
        memcpy(to, pairs[i].key, length * 4);
        to += length;
    }
    mix_leave(scratch);
}

void mix_end(mix_out *out) {
    struct mix_frame *frame = top(out);
    if (frame == NULL) mix_panic("mix_end without an open array, map or case");
    if (frame->keyed) mix_panic("the last key of a map has no value");
    if (!frame->sorted) sort_map(out, frame);
    if (frame->count < LONG) {
        out->words[frame->at] |= (uint32_t)frame->count << 8;
    } else {
        size_t inside = out->used - frame->at - 1;
        room(out, 1);
        uint32_t *header = out->words + frame->at;
        memmove(header + 2, header + 1, inside * 4);
        header[0] |= LONG << 8;
        header[1] = (uint32_t)frame->count;
    }
    out->depth--;
    finished(out);
}

mix_value mix_done(mix_out *out) {
    if (out->depth) mix_panic("an array, map or case is still open: mix_end is missing");
    if (!out->complete) mix_panic("nothing was written");
    mix_value value = {out->words};
    *out = (mix_out){0};
    return value;
}

/* ---- Small values ------------------------------------------------------------------------------------------ */

mix_value mix_null(void) {
    static const uint32_t null[1] = {TAG_NULL};
    return (mix_value){null};
}

mix_value mix_bool(bool value) {
    static const uint32_t bools[2] = {TAG_BOOL, TAG_BOOL | 1 << 8};
    return (mix_value){bools + value};
}

mix_value mix_int(int64_t value) {
    mix_out out = {0};
    mix_put_int(&out, value);
    return mix_done(&out);
}

mix_value mix_number(double value) {
    mix_out out = {0};
    mix_put_number(&out, value);
    return mix_done(&out);
}

mix_value mix_text_value(mix_text text) {
    mix_out out = {0};
    mix_put_text(&out, text);
    return mix_done(&out);
}

mix_value mix_string(const char *string) { return mix_text_value(mix_text_of(string)); }

mix_value mix_binary(const void *bytes, size_t size) {
    mix_out out = {0};
    mix_put_binary(&out, bytes, size);
    return mix_done(&out);
}
