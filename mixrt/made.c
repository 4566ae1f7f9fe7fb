#include "made.h"

#include "array.h"
#include "heap.h"
#include "map.h"

Value made_case(struct vm *vm, Value name, Value argument)
{
    struct tagged *made = heap_new(vm, CASE, sizeof(struct tagged));
    if (made == NULL)
        return FAILED;
    made->name = name;
    made->argument = argument;
    return of_object(made);
}

Value made_record(struct vm *vm, Value keys, const Value *values)
{
    struct map_builder builder;
    map_builder_open(&builder, vm);
    uint32_t count = array_count(keys);
    for (uint32_t index = 0; index < count; index++) {
        Value key = array_get(keys, index);
        if (values[index] == UNDEF)
            return raise_text(vm, "undefined may not be stored in a map, as %t", key);
        if (!map_builder_push(&builder, key, values[index]))
            return FAILED;
    }
    return map_builder_close(&builder);
}

Value made_map(struct vm *vm, const Value *pairs, uint32_t count)
{
    Value map = map_empty(vm);
    for (uint32_t index = 0; index < count && map != FAILED; index++) {
        Value key = pairs[index * 2], value = pairs[index * 2 + 1];
        if (!is_string(key))
            return raise_text(vm, "expected a string as the key of a map, found %v", key);
        if (value == UNDEF)
            return raise_text(vm, "undefined may not be stored in a map, as %t", key);
        map = map_set(vm, map, key, value);
    }
    return map;
}

Value made_array(struct vm *vm, const Value *values, uint32_t count)
{
    for (uint32_t index = 0; index < count; index++)
        if (values[index] == UNDEF)
            return raise_text(vm, "undefined may not be stored in an array, as element %d", (int64_t)index);
    return array_of_values(vm, values, count);
}

Value made_values(struct vm *vm, enum object_kind kind, uint32_t count, const Value *from)
{
    struct values *made = heap_new(vm, kind, sizeof(struct values) + count * sizeof(Value));
    if (made == NULL)
        return FAILED;
    made->head.count = count;
    for (uint32_t index = 0; index < count; index++)
        made->at[index] = from == NULL ? UNDEF : from[index];
    return of_object(made);
}
