/* Equality and order of the language, and the names of kinds. */
#ifndef MIXRT_COMPARE_H
#define MIXRT_COMPARE_H

#include "vm.h"

#define MAX_DEPTH 256

enum truth { NO, YES, UNKNOWN, BROKEN }; /* BROKEN: FAILED, vm->fault says why */
enum order { LESS = -1, SAME = 0, MORE = 1, APART = 2, ORDER_FAILED = 3 };

/* Deep equality of two defined values: YES, NO or BROKEN. */
enum truth value_equal(struct vm *vm, Value a, Value b);
/* APART if they do not compare. */
enum order value_order(struct vm *vm, Value a, Value b);
/* `a == b`, `a < b`, `a <= b`: UNKNOWN if they have no answer. */
enum truth value_eq(struct vm *vm, Value a, Value b);
enum truth value_lt(struct vm *vm, Value a, Value b);
enum truth value_le(struct vm *vm, Value a, Value b);

#endif
