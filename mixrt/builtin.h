/* Built-ins: functions in C, by number. They call nothing in the program.
 *
 * One gets its arguments checked, with strings flat, and answers a value or FAILED. One that works for long does it in parts: when
 * vm->fuel is below 0 it keeps what is done in vm->work and is FAILED with FAULT_AGAIN; vm->work is undefined at first. See work.h.
 */
#ifndef MIXRT_BUILTIN_H
#define MIXRT_BUILTIN_H

#include "vm.h"

/* Before the first call. */
void builtins_open(void);
/* Calls one with the arguments in registers, which may be replaced by equal values. */
Value builtin_call(struct vm *vm, uint32_t number, Value *arguments);

typedef Value Builtin(struct vm *vm, const Value *arguments);

#define BUILTIN(name, count, parameters) Builtin builtin_##name;
BUILTINS(BUILTIN)
#undef BUILTIN

/* A number without fraction, moved into the range of int64. */
int64_t whole_of(Value v);

#endif
