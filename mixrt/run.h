/* Running code. */
#ifndef MIXRT_RUN_H
#define MIXRT_RUN_H

#include "vm.h"

enum stop {
    STOP_FUEL,  /* the budget is used up */
    STOP_FFI,   /* the event is in vm->out */
    STOP_WAITS, /* no coroutine can run */
    STOP_DONE,  /* the entry has ended, with vm->result */
    STOP_PANIC, /* vm->panic, and vm->raised; vm->at and vm->base are where it happened */
};

enum stop run(struct vm *vm);

/* The function in which an instruction is. */
const struct function *function_at(const struct vm *vm, uint32_t at);

/* Addresses of the calls of the coroutine that panicked, innermost first; at most `most`. */
struct address {
    uint32_t function, at;
    bool tailed;
};
uint32_t backtrace(const struct vm *vm, struct address *found, uint32_t most);

#endif
