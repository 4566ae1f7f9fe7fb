/* What an operand is: asked by instructions that look into slots and match patterns. */
#ifndef MIXRT_OPERAND_H
#define MIXRT_OPERAND_H

#include "compare.h"
#include "text.h"

/* The slot of an object of slots, or NULL with what is wrong raised. */
static inline Value *slot_of(struct vm *vm, Value slots, uint32_t index)
{
    if (!is_object(slots, SLOTS)) {
        raise_text(vm, "expected an object of slots, found %v", slots);
        return NULL;
    }
    if (index >= object_of(slots)->count) {
        raise_text(vm, "expected a slot below %d, found %d", (int64_t)object_of(slots)->count, (int64_t)index);
        return NULL;
    }
    return &values_of(slots)->at[index];
}

static inline bool is_case_named(Value v, Value name)
{
    if (!is_case(v))
        return false;
    Value own = case_of(v)->name;
    return own == name || text_same(text_of(own), text_of(name));
}

static inline bool is_kind(Value v, uint32_t kind)
{
    enum kind own = kind_of(v);
    return own == kind || (own == KIND_INT && kind == KIND_NUMBER);
}

/* Index of a case's name, or of a string, among ascending keys; their number if it is none of them; UINT32_MAX if it FAILED. */
uint32_t table_index(struct vm *vm, Value v, Value keys);

#endif
