/* Strings that the code has as constants: a hash table of their indices, which stay while the strings move. */
#include "intern.h"

#include "text.h"

#define LONGEST 32u /* bytes: longer strings are seldom keys */

static uint32_t hash(const char *bytes, size_t size)
{
    uint32_t sum = 2166136261u;
    for (size_t index = 0; index < size; index++)
        sum = (sum ^ (uint8_t)bytes[index]) * 16777619u;
    return sum;
}

bool intern_open(struct vm *vm)
{
    struct code *code = &vm->code;
    uint32_t size = 16, units_of = code->constant_count;
    while (size < units_of * 2)
        size *= 2;
    size_t units;
    code->interned = heap_take(vm, (size_t)size * sizeof(uint32_t), &units);
    if (code->interned == NULL)
        return false;
    code->intern_mask = size - 1;
    memset(code->interned, 0, (size_t)size * sizeof(uint32_t));
    for (uint32_t index = 0; index < code->constant_count; index++) {
        Value constant = code->constants[index];
        if (!is_object(constant, STRING) || text_size(constant) > LONGEST)
            continue;
        uint32_t at = hash(text_of(constant)->bytes, text_size(constant)) & code->intern_mask;
        while (code->interned[at] != 0)
            at = (at + 1) & code->intern_mask;
        code->interned[at] = index + 1;
    }
    return true;
}

Value intern(const struct vm *vm, const char *bytes, size_t size)
{
    const struct code *code = &vm->code;
    if (code->interned == NULL || size > LONGEST)
        return UNDEF;
    for (uint32_t at = hash(bytes, size) & code->intern_mask; code->interned[at] != 0; at = (at + 1) & code->intern_mask) {
        Value constant = code->constants[code->interned[at] - 1];
        if (text_size(constant) == size && memcmp(text_of(constant)->bytes, bytes, size) == 0)
            return constant;
    }
    return UNDEF;
}
