/* The operators beyond what the interpreter does inline, and access to what values hold. Each answers FAILED if it did. */
#ifndef MIXRT_OPERATOR_H
#define MIXRT_OPERATOR_H

#include "vm.h"

Value value_of_int(struct vm *vm, int64_t number);
Value value_add(struct vm *vm, Value a, Value b);
Value value_sub(struct vm *vm, Value a, Value b);
Value value_mul(struct vm *vm, Value a, Value b);
Value value_div(struct vm *vm, Value a, Value b);
Value value_rem(struct vm *vm, Value a, Value b);
Value value_neg(struct vm *vm, Value a);
Value value_not(struct vm *vm, Value a);
Value value_and(struct vm *vm, Value a, Value b);
Value value_or(struct vm *vm, Value a, Value b);
/* A number as a double. */
double number_of(Value v);
/* fmod, exactly. */
double remainder_of(double a, double b);

Value value_get(struct vm *vm, Value from, Value key);
Value value_get_key(struct vm *vm, Value from, Value key);
Value value_get_int(struct vm *vm, Value from, int64_t index);
Value value_set(struct vm *vm, Value in, Value key, Value value);
Value value_length(struct vm *vm, Value v);
/* A number or string as a string. */
Value value_text(struct vm *vm, Value v);
/* Whether it is the index of an element: an int, or a double without fraction, from 0 below `count`. */
bool index_of(Value v, uint32_t count, uint32_t *index);

#endif
