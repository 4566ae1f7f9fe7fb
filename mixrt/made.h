/* What instructions make of their operands. FAILED if there is no memory, or if an operand may not be in it. */
#ifndef MIXRT_MADE_H
#define MIXRT_MADE_H

#include "vm.h"

/* A case whose argument is there, of a name among those that the machine knows. */
Value made_case(struct vm *vm, Value name, Value argument);
/* A map with an array of ascending keys, and as many values. */
Value made_record(struct vm *vm, Value keys, const Value *values);
/* A map of so many pairs of a key and its value. */
Value made_map(struct vm *vm, const Value *pairs, uint32_t count);
Value made_array(struct vm *vm, const Value *values, uint32_t count);
/* An object of so many values; undefined ones if there is nothing to take them from. */
Value made_values(struct vm *vm, enum object_kind kind, uint32_t count, const Value *from);

#endif
