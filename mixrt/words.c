/* Built-ins for strings and binaries. */
#include "array.h"
#include "builtin.h"
#include "made.h"
#include "operator.h"
#include "text.h"

#define NOT_FOUND SIZE_MAX

/* A part to look for: `next` (KMP's) is there for a long one, so that looking is linear whatever the text. */
struct pattern {
    const struct text *part;
    struct buffer next;
};

static bool pattern_open(struct vm *vm, struct pattern *pattern, const struct text *part)
{
    size_t size = part->head.count;
    *pattern = (struct pattern){.part = part};
    if (size <= 32)
        return true;
    if (size > MAX_TEXT / sizeof(uint32_t)) {
        vm->fault = FAULT_MEMORY;
        return false;
    }
    if (!buffer_room(vm, &pattern->next, size * sizeof(uint32_t)))
        return false;
    uint32_t *next = (uint32_t *)(void *)pattern->next.bytes, matched = 0;
    next[0] = 0;
    for (size_t index = 1; index < size; index++) {
        while (matched > 0 && part->bytes[index] != part->bytes[matched])
            matched = next[matched - 1];
        matched += part->bytes[index] == part->bytes[matched];
        next[index] = matched;
    }
    charge(vm, size / 4);
    return true;
}

/* Offset of the first occurrence from `from` on, or of the last. */
static size_t pattern_find(struct vm *vm, const struct pattern *pattern, const struct text *text, size_t from, bool last)
{
    size_t size = pattern->part->head.count, all = text->head.count;
    const char *part = pattern->part->bytes;
    if (from > all || size > all - from)
        return NOT_FOUND;
    if (size == 0)
        return from;
    size_t at = from, found = NOT_FOUND;
    if (size <= 32) {
        for (; at + size <= all; at++)
            if (text->bytes[at] == part[0] && memcmp(text->bytes + at, part, size) == 0) {
                found = at;
                if (!last)
                    break;
            }
    } else {
        const uint32_t *next = (const uint32_t *)(const void *)pattern->next.bytes;
        for (uint32_t matched = 0; at < all; at++) {
            while (matched > 0 && text->bytes[at] != part[matched])
                matched = next[matched - 1];
            matched += text->bytes[at] == part[matched];
            if (matched == size) {
                found = at + 1 - size;
                if (!last)
                    break;
                matched = next[matched - 1];
            }
        }
    }
    charge(vm, (at - from) / 4);
    return found;
}

static size_t moved_to(struct vm *vm, const struct text *text, Value index)
{
    int64_t number = whole_of(index);
    return number <= 0 ? 0 : number >= text->chars ? text->head.count : text_offset(vm, text, (uint32_t)number);
}

Value builtin_string_sub(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[2]);
    size_t from = moved_to(vm, text, arguments[0]);
    return text_part(vm, arguments[2], from, moved_to(vm, text, arguments[1]));
}

Value builtin_string_find(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[1]);
    struct pattern pattern;
    if (!pattern_open(vm, &pattern, text_of(arguments[0])))
        return FAILED;
    size_t at = pattern_find(vm, &pattern, text, 0, false);
    buffer_free(vm, &pattern.next);
    return at == NOT_FOUND ? UNDEF : of_small(text_index(vm, text, at));
}

Value builtin_string_find_last(struct vm *vm, const Value *arguments)
{
    const struct text *part = text_of(arguments[0]), *text = text_of(arguments[1]);
    struct pattern pattern;
    if (part->head.count == 0)
        return of_small(text->chars);
    if (!pattern_open(vm, &pattern, part))
        return FAILED;
    size_t last = pattern_find(vm, &pattern, text, 0, true);
    buffer_free(vm, &pattern.next);
    return last == NOT_FOUND ? UNDEF : of_small(text_index(vm, text, last));
}

Value builtin_string_has_prefix(struct vm *vm, const Value *arguments)
{
    (void)vm;
    const struct text *prefix = text_of(arguments[0]), *text = text_of(arguments[1]);
    return of_bool(prefix->head.count <= text->head.count && memcmp(prefix->bytes, text->bytes, prefix->head.count) == 0);
}

Value builtin_string_has_suffix(struct vm *vm, const Value *arguments)
{
    (void)vm;
    const struct text *suffix = text_of(arguments[0]), *text = text_of(arguments[1]);
    size_t size = suffix->head.count, all = text->head.count;
    return of_bool(size <= all && memcmp(suffix->bytes, text->bytes + all - size, size) == 0);
}

static bool append(struct vm *vm, struct buffer *to, const char *bytes, size_t size)
{
    if (size == 0)
        return true;
    if (to->size + size > MAX_TEXT) {
        vm->fault = FAULT_MEMORY;
        return false;
    }
    if (!buffer_room(vm, to, size))
        return false;
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
    return true;
}

/* The bytes of a buffer as a string, unless something FAILED before; the buffer is free then. */
static Value closed(struct vm *vm, struct buffer *buffer, bool done)
{
    Value result = done ? text_new(vm, STRING, buffer->size == 0 ? "" : buffer->bytes, buffer->size) : FAILED;
    buffer_free(vm, buffer);
    return result;
}

Value builtin_string_replace(struct vm *vm, const Value *arguments)
{
    const struct text *old = text_of(arguments[0]), *new = text_of(arguments[1]), *text = text_of(arguments[2]);
    struct pattern pattern;
    struct buffer result = {0};
    if (old->head.count == 0)
        return arguments[2];
    if (!pattern_open(vm, &pattern, old))
        return FAILED;
    size_t from = 0, at;
    bool done = true;
    while (done && (at = pattern_find(vm, &pattern, text, from, false)) != NOT_FOUND) {
        done = append(vm, &result, text->bytes + from, at - from) && append(vm, &result, new->bytes, new->head.count);
        from = at + old->head.count;
    }
    buffer_free(vm, &pattern.next);
    if (done && from == 0) {
        buffer_free(vm, &result);
        return arguments[2];
    }
    done = done && append(vm, &result, text->bytes + from, text->head.count - from);
    return closed(vm, &result, done);
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static Value trimmed(struct vm *vm, Value string, bool left, bool right)
{
    const struct text *text = text_of(string);
    size_t from = 0, to = text->head.count;
    while (left && from < to && is_space(text->bytes[from]))
        from++;
    while (right && from < to && is_space(text->bytes[to - 1]))
        to--;
    charge(vm, (from + text->head.count - to) / 4);
    return text_part(vm, string, from, to);
}

Value builtin_string_trim(struct vm *vm, const Value *arguments) { return trimmed(vm, arguments[0], true, true); }

Value builtin_string_trim_left(struct vm *vm, const Value *arguments) { return trimmed(vm, arguments[0], true, false); }

Value builtin_string_trim_right(struct vm *vm, const Value *arguments) { return trimmed(vm, arguments[0], false, true); }

/* The parts that a split has found, in the end an array: a builder's at first, then, from when the budget was used up, one that
 * grows by itself. */
struct parts {
    struct vm *vm;
    struct array_builder builder;
    Value grown;
};

static bool parts_add(struct parts *parts, const char *bytes, size_t size)
{
    Value part = text_new(parts->vm, STRING, bytes, size);
    if (part == FAILED)
        return false;
    charge(parts->vm, 1);
    if (parts->grown == UNDEF)
        return builder_push(&parts->builder, part);
    parts->grown = array_push(parts->vm, parts->grown, part);
    return parts->grown != FAILED;
}

static Value parts_close(struct parts *parts)
{
    return parts->grown == UNDEF ? builder_close(&parts->builder) : parts->grown;
}

/* Leaves a split in the middle: it goes on at that byte. */
static Value parts_keep(struct parts *parts, size_t from)
{
    struct vm *vm = parts->vm;
    Value kept[2] = {parts_close(parts), of_small((int64_t)from)};
    Value work = kept[0] == FAILED ? FAILED : made_values(vm, SLOTS, 2, kept);
    if (work == FAILED)
        return FAILED;
    vm->work = work;
    return failed(vm, FAULT_AGAIN);
}

Value builtin_string_split(struct vm *vm, const Value *arguments)
{
    const struct text *separator = text_of(arguments[0]), *text = text_of(arguments[1]);
    struct parts parts = {.vm = vm, .grown = UNDEF};
    struct pattern pattern;
    builder_open(&parts.builder, vm);
    size_t from = 0, all = text->head.count;
    if (vm->work != UNDEF) {
        parts.grown = values_of(vm->work)->at[0];
        from = (size_t)small_of(values_of(vm->work)->at[1]);
    }
    if (separator->head.count == 0) {
        while (from < all) {
            size_t size = utf8_size((uint8_t)text->bytes[from]);
            if (!parts_add(&parts, text->bytes + from, size))
                return FAILED;
            from += size;
            if (vm->fuel < 0 && from < all)
                return parts_keep(&parts, from);
        }
        return parts_close(&parts);
    }
    if (!pattern_open(vm, &pattern, separator))
        return FAILED;
    for (;;) {
        size_t at = pattern_find(vm, &pattern, text, from, false);
        bool last = at == NOT_FOUND, added = parts_add(&parts, text->bytes + from, (last ? all : at) - from);
        from = at + separator->head.count;
        if (last || !added || vm->fuel < 0) {
            buffer_free(vm, &pattern.next);
            return !added ? FAILED : last ? parts_close(&parts) : parts_keep(&parts, from);
        }
    }
}

Value builtin_string_join(struct vm *vm, const Value *arguments)
{
    const struct text *separator = text_of(arguments[0]);
    struct buffer result = {0};
    bool done = true;
    uint32_t count = array_count(arguments[1]);
    for (uint32_t index = 0; done && index < count; index++) {
        Value element = array_get(arguments[1], index);
        if (!is_string(element) && !is_number(element)) {
            raise_text(vm, "string_join: expected strings or numbers, found %v as element %d", element, (int64_t)index);
            done = false;
            break;
        }
        element = value_text(vm, element);
        struct text *text = element == FAILED ? NULL : text_flat(vm, element);
        done = text != NULL && (index == 0 || append(vm, &result, separator->bytes, separator->head.count)) &&
               append(vm, &result, text->bytes, text->head.count);
        charge(vm, 1);
    }
    return closed(vm, &result, done);
}

Value builtin_string_repeat(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[1]);
    int64_t count = whole_of(arguments[0]);
    if (count <= 0 || text->head.count == 0)
        return text_new(vm, STRING, "", 0);
    if (count > (int64_t)(MAX_TEXT / text->head.count))
        return failed(vm, FAULT_MEMORY);
    size_t size = text->head.count, all = size * (size_t)count;
    struct text *result = text_make(vm, STRING, all, (uint32_t)(text->chars * (uint32_t)count));
    if (result == NULL)
        return FAILED;
    memcpy(result->bytes, text->bytes, size);
    for (size_t done = size; done < all; done *= 2)
        memcpy(result->bytes + done, result->bytes, done * 2 <= all ? done : all - done);
    charge(vm, all / 16);
    return of_object(result);
}

Value builtin_string_from_code_point(struct vm *vm, const Value *arguments)
{
    int64_t code = whole_of(arguments[0]);
    char bytes[4];
    if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return raise_text(vm, "string_from_code_point: expected the code of a character, found %d", code);
    return text_new(vm, STRING, bytes, utf8_encode((uint32_t)code, bytes));
}

Value builtin_string_code_point_at(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[1]);
    uint32_t index;
    if (!index_of(arguments[0], text->chars, &index))
        return UNDEF;
    return of_small(utf8_decode(text->bytes + text_offset(vm, text, index)));
}

Value builtin_binary_of_string(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    return text_new(vm, BINARY, text->bytes, text->head.count);
}

Value builtin_binary_to_string(struct vm *vm, const Value *arguments)
{
    const struct text *binary = text_of(arguments[0]);
    uint32_t chars;
    charge(vm, binary->head.count / 8);
    if (!utf8_check(binary->bytes, binary->head.count, &chars))
        return UNDEF;
    return text_new(vm, STRING, binary->bytes, binary->head.count);
}

Value builtin_binary_find(struct vm *vm, const Value *arguments)
{
    struct pattern pattern;
    if (!pattern_open(vm, &pattern, text_of(arguments[0])))
        return FAILED;
    size_t at = pattern_find(vm, &pattern, text_of(arguments[1]), 0, false);
    buffer_free(vm, &pattern.next);
    return at == NOT_FOUND ? UNDEF : of_small((int64_t)at);
}

Value builtin_ref_of_string(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    return text_new(vm, REF, text->bytes, text->head.count);
}

Value builtin_ref_to_string(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    return text_new(vm, STRING, text->bytes, text->head.count);
}
