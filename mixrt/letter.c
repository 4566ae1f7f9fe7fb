/* Built-ins for upper and lower case. */
#include "builtin.h"
#include "regex.h"
#include "text.h"
#include "work.h"

struct case_run {
    uint32_t first, last;
    int32_t step, distance;
};

struct case_several {
    uint32_t code, to[3];
};

#include "case_table.h"

struct mapping {
    const struct case_run *runs;
    size_t run_count;
    const struct case_several *several;
    size_t several_count;
    char first, last; /* of the ASCII letters that change */
};

#define COUNT_OF(table) (sizeof(table) / sizeof(table)[0])
static const struct mapping upper = {upper_runs, COUNT_OF(upper_runs), upper_several, COUNT_OF(upper_several), 'a', 'z'};
static const struct mapping lower = {lower_runs, COUNT_OF(lower_runs), lower_several, COUNT_OF(lower_several), 'A', 'Z'};
static const struct mapping fold = {fold_runs, COUNT_OF(fold_runs), fold_several, COUNT_OF(fold_several), 'A', 'Z'};

/* What a character becomes: how many, at most 3. */
static unsigned convert(const struct mapping *mapping, uint32_t code, uint32_t *to)
{
    to[0] = code;
    if (code < 0x80) {
        if (code >= (uint32_t)mapping->first && code <= (uint32_t)mapping->last)
            to[0] = code ^ 0x20;
        return 1;
    }
    size_t low = 0, high = mapping->run_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct case_run *run = &mapping->runs[middle];
        if (code > run->last) {
            low = middle + 1;
        } else if (code < run->first) {
            high = middle;
        } else {
            if ((code - run->first) % (uint32_t)run->step == 0)
                to[0] = (uint32_t)((int64_t)code + run->distance);
            return 1;
        }
    }
    for (low = 0, high = mapping->several_count; low < high;) {
        size_t middle = (low + high) / 2;
        const struct case_several *several = &mapping->several[middle];
        if (code == several->code) {
            memcpy(to, several->to, sizeof several->to);
            return to[2] != 0 ? 3 : 2;
        }
        if (code > several->code)
            low = middle + 1;
        else
            high = middle;
    }
    return 1;
}

/* At the end of a word, Σ becomes ς. */
#define SIGMA 0x3A3u
#define FINAL_SIGMA 0x3C2u

static bool is_letter(uint32_t code)
{
    uint32_t to[3];
    return convert(&upper, code, to) != 1 || to[0] != code || convert(&lower, code, to) != 1 || to[0] != code;
}

static bool ends_word(const struct text *text, size_t at)
{
    size_t before = at;
    if (before == 0)
        return false;
    do
        before--;
    while (((uint8_t)text->bytes[before] & 0xC0) == 0x80);
    size_t after = at + utf8_size((uint8_t)text->bytes[at]);
    return is_letter(utf8_decode(text->bytes + before)) &&
           (after >= text->head.count || !is_letter(utf8_decode(text->bytes + after)));
}

#define AT_ONCE 4096 /* bytes */

/* A text converted, or its first character only. */
static Value converted(struct vm *vm, Value string, const struct mapping *mapping, bool first)
{
    const struct text *text = text_of(string);
    size_t size = text->head.count, at = 0;
    Value nothing;
    work_goes_on(vm, &nothing, &at);
    while (at < size) {
        /* A character of two bytes may become one of three, or three of two: never more than three times its bytes. */
        char part[AT_ONCE * 3 + 16];
        size_t written = 0, start = at;
        while (at < size && at - start < AT_ONCE && (at == 0 || !first)) {
            uint32_t code = utf8_decode(text->bytes + at), to[3];
            unsigned count = convert(mapping, code, to);
            if (code == SIGMA && mapping == &lower && ends_word(text, at))
                to[0] = FINAL_SIGMA;
            for (unsigned index = 0; index < count; index++)
                written += utf8_encode(to[index], part + written);
            at += utf8_size((uint8_t)text->bytes[at]);
        }
        charge(vm, (at - start) / 2);
        if (!work_write(vm, part, written))
            return work_written(vm, STRING, false);
        if (first)
            return work_written(vm, STRING, work_write(vm, text->bytes + at, size - at));
        if (vm->fuel < 0 && at < size)
            return work_leave(vm, UNDEF, at);
    }
    return work_written(vm, STRING, true);
}

Value builtin_string_uppercase(struct vm *vm, const Value *arguments) { return converted(vm, arguments[0], &upper, false); }

Value builtin_string_lowercase(struct vm *vm, const Value *arguments) { return converted(vm, arguments[0], &lower, false); }

Value builtin_string_fold(struct vm *vm, const Value *arguments) { return converted(vm, arguments[0], &fold, false); }

Value builtin_string_capitalize(struct vm *vm, const Value *arguments) { return converted(vm, arguments[0], &upper, true); }

static uint32_t one(const struct mapping *mapping, uint32_t code)
{
    uint32_t to[3];
    return convert(mapping, code, to) == 1 ? to[0] : code;
}

uint32_t letter_fold(uint32_t code) { return one(&fold, code); }
uint32_t letter_upper(uint32_t code) { return one(&upper, code); }
uint32_t letter_lower(uint32_t code) { return one(&lower, code); }
