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

#endif
