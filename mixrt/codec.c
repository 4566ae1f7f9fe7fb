/* The u32 codec. The words of the host may lie at any address. */
#include "codec.h"

#include "array.h"
#include "compare.h"
#include "intern.h"
#include "map.h"

#define LONG_FORM 0xFFFFFFu
#define INT24_MIN (-(1 << 23))
#define INT24_MAX ((1 << 23) - 1)

static uint32_t load32(const char *at)
{
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

static uint64_t load64(const char *at)
{
    uint64_t words;
    memcpy(&words, at, 8);
    return words;
}

bool codec_word(struct vm *vm, struct buffer *to, uint32_t word)
{
    if (!buffer_room(vm, to, 4))
        return false;
    memcpy(to->bytes + to->size, &word, 4);
    to->size += 4;
    return true;
}

static bool put_length(struct vm *vm, struct buffer *to, enum kind tag, uint32_t length)
{
    if (length < LONG_FORM)
        return codec_word(vm, to, (uint32_t)tag | length << 8);
    return codec_word(vm, to, (uint32_t)tag | LONG_FORM << 8) && codec_word(vm, to, length);
}

static bool put_pair(struct vm *vm, struct buffer *to, enum kind tag, uint64_t words)
{
    return codec_word(vm, to, tag) && codec_word(vm, to, (uint32_t)words) && codec_word(vm, to, (uint32_t)(words >> 32));
}

static bool put_text(struct vm *vm, struct buffer *to, enum kind tag, const struct text *text)
{
    uint32_t size = text->head.count, padded = (size + 3) & ~3u;
    if (!put_length(vm, to, tag, size) || !buffer_room(vm, to, padded))
        return false;
    memcpy(to->bytes + to->size, text->bytes, size);
    memset(to->bytes + to->size + size, 0, padded - size);
    to->size += padded;
    return true;
}

static bool put_string(struct vm *vm, struct buffer *to, Value string)
{
    struct text *text = text_flat(vm, string);
    return text != NULL && put_text(vm, to, KIND_STRING, text);
}

static bool put(struct vm *vm, struct buffer *to, Value value, unsigned depth)
{
    enum kind kind = kind_of(value);
    if (depth > MAX_DEPTH) {
        raise_text(vm, "expected a value of at most %d levels, found more", (int64_t)MAX_DEPTH);
        return false;
    }
    switch (kind) {
    case KIND_UNDEF:
    case KIND_NULL: return codec_word(vm, to, kind);
    case KIND_BOOL: return codec_word(vm, to, (uint32_t)kind | (uint32_t)(value == TRUE) << 8);
    case KIND_INT: {
        int64_t number = int_of(value);
        if (number >= INT24_MIN && number <= INT24_MAX)
            return codec_word(vm, to, (uint32_t)KIND_INT | (uint32_t)number << 8);
        return put_pair(vm, to, KIND_INT64, (uint64_t)number);
    }
    case KIND_NUMBER: return put_pair(vm, to, kind, value);
    case KIND_STRING: return put_string(vm, to, value);
    case KIND_REF:
    case KIND_BINARY:
    case KIND_TOKEN: return put_text(vm, to, kind, text_of(value));
    case KIND_ARRAY: {
        uint32_t count = array_count(value);
        if (!put_length(vm, to, kind, count))
            return false;
        for (uint32_t index = 0; index < count; index++)
            if (!put(vm, to, array_get(value, index), depth + 1))
                return false;
        return true;
    }
    case KIND_MAP: {
        if (!put_length(vm, to, kind, map_count(value)))
            return false;
        struct map_cursor cursor;
        Value key, item;
        cursor_open(&cursor, value);
        while (cursor_next(&cursor, &key, &item))
            if (!put_text(vm, to, KIND_STRING, text_of(key)) || !put(vm, to, item, depth + 1))
                return false;
        return true;
    }
    case KIND_CASE: {
        Value argument = case_of(value)->argument;
        return codec_word(vm, to, (uint32_t)kind | (uint32_t)(argument != UNDEF) << 8) &&
               put_string(vm, to, case_of(value)->name) && (argument == UNDEF || put(vm, to, argument, depth + 1));
    }
    default: raise_text(vm, "expected data, found a %v, which cannot leave the program", value); return false;
    }
}

bool codec_encode(struct vm *vm, struct buffer *to, Value value)
{
    size_t start = to->size;
    bool done = put(vm, to, value, 0);
    charge(vm, (to->size - start) / 16);
    return done;
}

/* Reads words one after the other. `room` counts those that nobody has claimed yet; see docs/values.md. */
struct reader {
    struct vm *vm;
    const char *words;
    size_t at, room;
    bool tokens;
    bool names; /* every string may be a key, as in constants */
};

static Value bad(struct reader *reader, size_t at, const char *what)
{
    return raise_text(reader->vm, "word %d: %s", (int64_t)at, what);
}

static uint32_t next_word(struct reader *reader) { return load32(reader->words + reader->at++ * 4); }

static bool claim(struct reader *reader, size_t words)
{
    if (words > reader->room)
        return false;
    reader->room -= words;
    return true;
}

/* The length that aux or a word of its own says; false if there is something wrong with it. */
static bool get_length(struct reader *reader, uint32_t aux, uint32_t *length)
{
    *length = aux;
    if (aux < LONG_FORM)
        return true;
    if (!claim(reader, 1))
        return false;
    *length = next_word(reader);
    return *length >= LONG_FORM;
}

/* `named`: it is a key or the name of a case, of which the code may have a constant. */
static Value get_text(struct reader *reader, enum object_kind kind, uint32_t aux, size_t at, bool named)
{
    uint32_t length, chars = 0;
    if (!get_length(reader, aux, &length) || !claim(reader, (length >> 2) + ((length & 3) != 0)))
        return bad(reader, at, "its length is wrong, or reaches beyond the end");
    const char *bytes = reader->words + reader->at * 4;
    reader->at += (length >> 2) + ((length & 3) != 0);
    for (uint32_t index = length; index & 3; index++)
        if (bytes[index] != 0)
            return bad(reader, at, "the padding is not zero");
    if (kind == STRING && named) {
        Value known = intern(reader->vm, bytes, length);
        if (known != UNDEF)
            return known;
    }
    if ((kind == STRING || kind == REF) && !utf8_check(bytes, length, &chars))
        return bad(reader, at, "the bytes are not UTF-8");
    struct text *text = text_make(reader->vm, kind, length, chars);
    if (text == NULL)
        return FAILED;
    memcpy(text->bytes, bytes, length);
    return of_object(text);
}

static Value get_name(struct reader *reader)
{
    size_t at = reader->at;
    uint32_t header = next_word(reader);
    if ((header & 0xFF) != KIND_STRING)
        return bad(reader, at, "expected a string as a key or name");
    return get_text(reader, STRING, header >> 8, at, true);
}

static Value get(struct reader *reader, unsigned depth);

/* What stands inside of a container. */
static Value get_part(struct reader *reader, unsigned depth)
{
    size_t at = reader->at;
    Value part = get(reader, depth);
    return part == UNDEF ? bad(reader, at, "undefined may not be stored in arrays, maps and cases") : part;
}

static Value get_array(struct reader *reader, uint32_t count, unsigned depth)
{
    struct array_builder builder;
    builder_open(&builder, reader->vm);
    for (uint32_t index = 0; index < count; index++) {
        Value item = get_part(reader, depth + 1);
        if (item == FAILED || !builder_push(&builder, item))
            return FAILED;
    }
    return builder_close(&builder);
}

static Value get_map(struct reader *reader, uint32_t count, unsigned depth)
{
    struct map_builder builder;
    struct text *last = NULL;
    map_builder_open(&builder, reader->vm);
    for (uint32_t index = 0; index < count; index++) {
        size_t at = reader->at;
        Value key = get_name(reader);
        if (key == FAILED)
            return FAILED;
        if (last != NULL && text_order(last, text_of(key)) >= 0)
            return bad(reader, at, "map keys must ascend strictly by their bytes");
        last = text_of(key);
        Value item = get_part(reader, depth + 1);
        if (item == FAILED || !map_builder_push(&builder, key, item))
            return FAILED;
    }
    return map_builder_close(&builder);
}

static Value get_case(struct reader *reader, bool has_argument, size_t at, unsigned depth)
{
    if (!claim(reader, has_argument ? 2 : 1))
        return bad(reader, at, "a case needs more words than are left");
    Value name = get_name(reader);
    Value argument = name == FAILED ? FAILED : has_argument ? get_part(reader, depth + 1) : UNDEF;
    if (argument == FAILED)
        return FAILED;
    struct tagged *made = heap_new(reader->vm, CASE, sizeof(struct tagged));
    if (made == NULL)
        return FAILED;
    made->name = name;
    made->argument = argument;
    return of_object(made);
}

static Value get(struct reader *reader, unsigned depth)
{
    size_t at = reader->at;
    if (depth > MAX_DEPTH)
        return bad(reader, at, "nesting above 256");
    uint32_t header = next_word(reader), tag = header & 0xFF, aux = header >> 8, count;
    if (tag <= KIND_BOOL || tag == KIND_INT64 || tag == KIND_NUMBER || tag == KIND_CASE)
        if (aux > (tag == KIND_BOOL || tag == KIND_CASE ? 1u : 0u))
            return bad(reader, at, "aux is too large");
    switch (tag) {
    case KIND_UNDEF: return UNDEF;
    case KIND_NULL: return NIL;
    case KIND_BOOL: return of_bool(aux == 1);
    case KIND_INT: return of_small((int32_t)header >> 8);
    case KIND_INT64:
    case KIND_NUMBER: {
        if (!claim(reader, 2))
            return bad(reader, at, "two more words are needed");
        uint64_t words = load64(reader->words + reader->at * 4);
        reader->at += 2;
        if (tag == KIND_NUMBER) {
            Value number = of_double(double_of(words));
            return number == words ? number : bad(reader, at, "expected the canonical NaN");
        }
        int64_t number = (int64_t)words;
        if (number >= INT24_MIN && number <= INT24_MAX)
            return bad(reader, at, "an int that fits in 24 bits has no words of its own");
        if (fits_small(number))
            return of_small(number);
        struct int64 *object = heap_new(reader->vm, INT64, sizeof(struct int64));
        if (object == NULL)
            return FAILED;
        object->number = number;
        return of_object(object);
    }
    case KIND_STRING: return get_text(reader, STRING, aux, at, reader->names);
    case KIND_REF: return get_text(reader, REF, aux, at, false);
    case KIND_BINARY: return get_text(reader, BINARY, aux, at, false);
    case KIND_TOKEN:
        return reader->tokens ? get_text(reader, TOKEN, aux, at, false) : bad(reader, at, "a token is not known here");
    case KIND_ARRAY:
        if (!get_length(reader, aux, &count) || !claim(reader, count))
            return bad(reader, at, "its count is wrong, or promises more than is there");
        return get_array(reader, count, depth);
    case KIND_MAP:
        if (!get_length(reader, aux, &count) || count > reader->room / 2 || !claim(reader, (size_t)count * 2))
            return bad(reader, at, "its count is wrong, or promises more than is there");
        return get_map(reader, count, depth);
    case KIND_CASE: return get_case(reader, aux == 1, at, depth);
    default: return bad(reader, at, "unknown tag");
    }
}

Value codec_decode(struct vm *vm, const char *words, size_t size, bool tokens)
{
    struct reader reader = {.vm = vm, .words = words, .room = size / 4 - 1, .tokens = tokens, .names = !vm->loaded};
    if (size % 4 != 0)
        return bad(&reader, size / 4, "the last word is cut");
    if (size == 0)
        return bad(&reader, 0, "expected a value, found nothing");
    charge(vm, size / 16);
    Value value = get(&reader, 0);
    if (value != FAILED && reader.room != 0)
        return bad(&reader, reader.at, "expected the end");
    return value;
}
