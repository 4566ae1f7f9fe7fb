/* Built-ins for strings and binaries. */
#include "array.h"
#include "builtin.h"
#include "made.h"
#include "operator.h"
#include "text.h"
#include "work.h"

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

/* Offset of the first occurrence between two offsets. */
static size_t found_between(const struct pattern *pattern, const struct text *text, size_t from, size_t to)
{
    size_t size = pattern->part->head.count;
    const char *part = pattern->part->bytes;
    if (size <= 32) {
        for (size_t at = from; at + size <= to; at++)
            if (text->bytes[at] == part[0] && memcmp(text->bytes + at, part, size) == 0)
                return at;
        return NOT_FOUND;
    }
    const uint32_t *next = (const uint32_t *)(const void *)pattern->next.bytes;
    for (size_t at = from, matched = 0; at < to; at++) {
        while (matched > 0 && text->bytes[at] != part[matched])
            matched = next[matched - 1];
        matched += text->bytes[at] == part[matched];
        if (matched == size)
            return at + 1 - size;
    }
    return NOT_FOUND;
}

/* How many offsets are looked at in one go: enough of them for what is looked at twice to be little. */
static size_t at_once(const struct pattern *pattern) { return pattern->part->head.count * 4 + 65536; }

/* Offset of the first occurrence from *from on, which moves on; NOT_FOUND too when the budget is used up, before *from reaches the end. */
static size_t pattern_find(struct vm *vm, const struct pattern *pattern, const struct text *text, size_t *from)
{
    size_t size = pattern->part->head.count, all = text->head.count, step = at_once(pattern);
    if (size == 0)
        return *from;
    while (*from < all) {
        size_t to = all - *from <= step + size ? all : *from + step + size - 1;
        size_t found = found_between(pattern, text, *from, to);
        charge(vm, ((found == NOT_FOUND ? to : found) - *from) / 4);
        if (found != NOT_FOUND)
            return found;
        *from = to == all ? all : *from + step;
        if (vm->fuel < 0)
            break;
    }
    return NOT_FOUND;
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

/* Offset of the first occurrence in *at, or NOT_FOUND there; false if it FAILED. */
static bool find_first(struct vm *vm, const Value *arguments, size_t *at)
{
    const struct text *text = text_of(arguments[1]);
    struct pattern pattern;
    Value nothing;
    size_t from = 0;
    work_goes_on(vm, &nothing, &from);
    if (!pattern_open(vm, &pattern, text_of(arguments[0])))
        return false;
    *at = pattern_find(vm, &pattern, text, &from);
    buffer_free(vm, &pattern.next);
    if (*at != NOT_FOUND || from == text->head.count)
        return true;
    work_leave(vm, UNDEF, from);
    return false;
}

Value builtin_string_find(struct vm *vm, const Value *arguments)
{
    size_t at;
    if (!find_first(vm, arguments, &at))
        return FAILED;
    return at == NOT_FOUND ? UNDEF : of_small(text_index(vm, text_of(arguments[1]), at));
}

Value builtin_string_find_last(struct vm *vm, const Value *arguments)
{
    const struct text *part = text_of(arguments[0]), *text = text_of(arguments[1]);
    struct pattern pattern;
    Value nothing;
    size_t size = part->head.count, before = text->head.count, last = NOT_FOUND;
    if (size == 0)
        return of_small(text->chars);
    work_goes_on(vm, &nothing, &before);
    if (!pattern_open(vm, &pattern, part))
        return FAILED;
    /* Of what starts before that offset, the last part first. */
    while (before > 0 && last == NOT_FOUND) {
        size_t step = at_once(&pattern), from = before <= step ? 0 : before - step;
        size_t to = text->head.count - before < size ? text->head.count : before + size - 1;
        for (size_t at = from; (at = found_between(&pattern, text, at, to)) != NOT_FOUND; at++)
            last = at;
        charge(vm, (to - from) / 4);
        before = from;
        if (vm->fuel < 0)
            break;
    }
    buffer_free(vm, &pattern.next);
    if (last == NOT_FOUND)
        return before == 0 ? UNDEF : work_leave(vm, UNDEF, before);
    return of_small(text_index(vm, text, last));
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

Value builtin_string_replace(struct vm *vm, const Value *arguments)
{
    const struct text *old = text_of(arguments[0]), *new = text_of(arguments[1]), *text = text_of(arguments[2]);
    struct pattern pattern;
    Value nothing;
    size_t from = 0, all = text->head.count;
    if (old->head.count == 0)
        return arguments[2];
    work_goes_on(vm, &nothing, &from);
    if (!pattern_open(vm, &pattern, old))
        return FAILED;
    bool done = true;
    while (done && from < all) {
        size_t start = from, at = pattern_find(vm, &pattern, text, &from);
        if (at == NOT_FOUND && start == 0 && from == all) {
            buffer_free(vm, &pattern.next);
            return arguments[2];
        }
        done = work_write(vm, text->bytes + start, (at == NOT_FOUND ? from : at) - start);
        if (at != NOT_FOUND) {
            done = done && work_write(vm, new->bytes, new->head.count);
            charge(vm, 1 + (at - start + new->head.count) / 16);
            from = at + old->head.count;
        }
        if (vm->fuel < 0)
            break;
    }
    buffer_free(vm, &pattern.next);
    if (done && from < all)
        return work_leave(vm, UNDEF, from);
    return work_written(vm, STRING, done);
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

static bool add_part(struct array_builder *parts, const char *bytes, size_t size)
{
    Value part = text_new(parts->vm, STRING, bytes, size);
    charge(parts->vm, 1);
    return part != FAILED && builder_push(parts, part);
}

/* Leaves a split: the next part starts there, and from there on the separator is still to be found. */
static Value split_leave(struct array_builder *parts, size_t start, size_t from)
{
    Value kept[2] = {builder_keep(parts), of_small((int64_t)start)};
    Value both = kept[0] == FAILED ? FAILED : made_values(parts->vm, SLOTS, 2, kept);
    return both == FAILED ? FAILED : work_leave(parts->vm, both, from);
}

static Value split_letters(struct array_builder *parts, const struct text *text, size_t from)
{
    size_t all = text->head.count;
    while (from < all) {
        size_t size = utf8_size((uint8_t)text->bytes[from]);
        if (!add_part(parts, text->bytes + from, size))
            return FAILED;
        from += size;
        if (parts->vm->fuel < 0 && from < all)
            return split_leave(parts, from, from);
    }
    return builder_close(parts);
}

Value builtin_string_split(struct vm *vm, const Value *arguments)
{
    const struct text *separator = text_of(arguments[0]), *text = text_of(arguments[1]);
    struct array_builder parts;
    struct pattern pattern;
    Value kept;
    size_t start = 0, from = 0;
    if (work_goes_on(vm, &kept, &from)) {
        builder_go_on(&parts, vm, values_of(kept)->at[0]);
        start = (size_t)small_of(values_of(kept)->at[1]);
    } else {
        builder_open(&parts, vm);
    }
    if (separator->head.count == 0)
        return split_letters(&parts, text, start);
    if (!pattern_open(vm, &pattern, separator))
        return FAILED;
    for (;;) {
        size_t at = pattern_find(vm, &pattern, text, &from);
        bool last = at == NOT_FOUND && from == text->head.count, added = true;
        if (at != NOT_FOUND || last)
            added = add_part(&parts, text->bytes + start, (last ? text->head.count : at) - start);
        if (at != NOT_FOUND)
            start = from = at + separator->head.count;
        if (last || !added || vm->fuel < 0) {
            buffer_free(vm, &pattern.next);
            return !added ? FAILED : last ? builder_close(&parts) : split_leave(&parts, start, from);
        }
    }
}

/* A string, or of a number its text, or a binary, as a text; NULL if it FAILED. */
static const struct text *joined_part(struct vm *vm, bool binary, Value element, size_t index)
{
    if (binary && !is_object(element, BINARY)) {
        raise_text(vm, "binary_join: expected binaries, found %v as element %d", element, (int64_t)index);
        return NULL;
    }
    if (binary)
        return text_of(element);
    if (!is_string(element) && !is_number(element)) {
        raise_text(vm, "string_join: expected strings or numbers, found %v as element %d", element, (int64_t)index);
        return NULL;
    }
    element = value_text(vm, element);
    return element == FAILED ? NULL : text_flat(vm, element);
}

static Value joined(struct vm *vm, const Value *arguments, enum object_kind kind)
{
    const struct text *separator = text_of(arguments[0]);
    Value nothing;
    size_t index = 0, count = array_count(arguments[1]);
    work_goes_on(vm, &nothing, &index);
    while (index < count) {
        const struct text *text = joined_part(vm, kind == BINARY, array_get(arguments[1], (uint32_t)index), index);
        if (text == NULL || (index > 0 && !work_write(vm, separator->bytes, separator->head.count)) ||
            !work_write(vm, text->bytes, text->head.count))
            return work_written(vm, kind, false);
        charge(vm, 1 + (text->head.count + separator->head.count) / 16);
        index++;
        if (vm->fuel < 0 && index < count)
            return work_leave(vm, UNDEF, index);
    }
    return work_written(vm, kind, true);
}

Value builtin_string_join(struct vm *vm, const Value *arguments) { return joined(vm, arguments, STRING); }

Value builtin_binary_join(struct vm *vm, const Value *arguments) { return joined(vm, arguments, BINARY); }

Value builtin_string_repeat(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[1]);
    int64_t count = whole_of(arguments[0]);
    if (count <= 0 || text->head.count == 0)
        return text_new(vm, STRING, "", 0);
    if (count > (int64_t)(MAX_TEXT / text->head.count))
        return failed(vm, FAULT_MEMORY);
    size_t size = text->head.count, all = size * (size_t)count, at;
    struct text *result = work_text(vm, STRING, all, (uint32_t)(text->chars * (uint32_t)count), &at);
    if (result == NULL)
        return FAILED;
    while (at < all) {
        /* The first one is the text, the others are what is there. */
        const char *from = at < size ? text->bytes + at : result->bytes + at % size;
        size_t there = at < size ? size - at : at - at % size, to = work_until(at, all);
        size_t part = to - at < there ? to - at : there;
        memcpy(result->bytes + at, from, part);
        charge(vm, part / 16);
        at += part;
        if (vm->fuel < 0 && at < all)
            return work_leave(vm, of_object(result), at);
    }
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
    size_t at;
    if (!find_first(vm, arguments, &at))
        return FAILED;
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
