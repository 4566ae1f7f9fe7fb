#include "operand.h"

#include "array.h"

uint32_t table_index(struct vm *vm, Value v, Value keys)
{
    uint32_t count = array_count(keys), low = 0, high = count;
    Value name = is_case(v) ? case_of(v)->name : v;
    struct text *text = is_string(name) ? text_flat(vm, name) : NULL;
    if (text == NULL)
        return is_string(name) ? UINT32_MAX : count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = text_order(text_of(array_get(keys, middle)), text);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return count;
}
