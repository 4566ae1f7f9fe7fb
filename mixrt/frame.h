/* Calls: what stands on a coroutine's stack for each, see coroutine.h for its form. */
#ifndef MIXRT_FRAME_H
#define MIXRT_FRAME_H

#include "vm.h"

enum entered { ENTERED, ANSWERED, NOT_ENTERED };

/* Calls what is in a window of the registers at vm->base, with so many arguments. ENTERED: vm->at and vm->base are the callee's;
 * ANSWERED: there were too few arguments, and *answer is a function of the rest. Changes nothing if it fails. */
enum entered frame_enter(struct vm *vm, uint32_t window, uint32_t count, uint32_t back, uint32_t flags, Value *answer);

/* Goes up to the nearest `try`, which answers error(raised). False if there is none; vm->fault if it FAILED. */
bool frame_unwind(struct vm *vm);

/* The function in which an instruction is. */
const struct function *function_at(const struct vm *vm, uint32_t at);

/* Addresses of the calls that led to vm->at, or to where what is raised once more was raised first: innermost first, at most
 * MOST_ADDRESSES. */
uint32_t backtrace(const struct vm *vm, struct address *found);
/* The error that a `try` at vm->at answers, of vm->raised; FAILED for want of memory. */
Value frame_caught(struct vm *vm);

#endif
