/* Coroutines: objects with a stack of their own, in a line of those that can run.
 *
 * The stack of one: a register for the result; then the frames, each of its registers, below which stand the closure and
 * the link. A link is a small int: where to go on (24 bits), how far down the caller's registers are (17 bits), and flags.
 */
#ifndef MIXRT_COROUTINE_H
#define MIXRT_COROUTINE_H

#include "vm.h"

/* The values of a coroutine. */
enum {
    CO_STACK,
    CO_AT,     /* the instruction with which it goes on */
    CO_BASE,   /* index in the stack of the running function's registers */
    CO_STATE,
    CO_ANSWER, /* what it waited for */
    CO_REGISTER, /* where the answer goes; -1: nowhere */
    CO_CALL,   /* the id of its FFI call */
    CO_NEXT,   /* the next in line */
    CO_LOCAL,  /* so many values that the program keeps in it */
    CO_SIZE = CO_LOCAL + 2,
};

enum co_state { READY, RAISES, RUNNING, PARKED, WAITS_FFI, ENDED };

#define LINK_AT UINT64_C(0xFFFFFF)
#define LINK_DELTA 24
#define LINK_FLAGS 41
enum {
    TRIES = 1,  /* the result becomes ok(result) */
    READS = 2,  /* a generator called by `next` */
    EXTRA = 4,  /* below the closure stand arguments for the result */
    TAILED = 8, /* calls are missing in a backtrace */
};

static inline Value make_link(uint32_t at, uint32_t delta, uint32_t flags)
{
    return TAG_INT | at | (uint64_t)delta << LINK_DELTA | (uint64_t)flags << LINK_FLAGS;
}
static inline uint32_t link_at(Value link) { return (uint32_t)(link & LINK_AT); }
static inline uint32_t link_delta(Value link) { return (uint32_t)(link >> LINK_DELTA) & 0x1FFFF; }
static inline uint32_t link_flags(Value link) { return (uint32_t)(link >> LINK_FLAGS) & 0x7F; }

static inline enum co_state state_of(Value coroutine) { return (enum co_state)small_of(values_of(coroutine)->at[CO_STATE]); }
static inline void set_state(Value coroutine, enum co_state state)
{
    values_of(coroutine)->at[CO_STATE] = of_small(state);
}

/* A new one that calls a closure with as many arguments as it takes. Not in line yet. */
Value coroutine_new(struct vm *vm, Value closure, const Value *arguments);
/* Puts one at the end of the line. */
void coroutine_enqueue(struct vm *vm, Value coroutine);
/* Takes the first that can run, or null. */
Value coroutine_dequeue(struct vm *vm);
/* Lets a waiting one go on with an answer, or with a raised error. */
void coroutine_answer(struct vm *vm, Value coroutine, Value answer, bool raises);
void coroutine_cancel(struct vm *vm, Value coroutine);
/* Notes that one waits for an FFI: the call's id, or 0 if it FAILED. */
uint32_t coroutine_pending(struct vm *vm, Value coroutine);
/* Who waits for that call, which is over with it; null if nobody does. */
Value coroutine_of_call(struct vm *vm, uint32_t call);

/* More room in the running coroutine's stack, for so many registers from its base; false if it FAILED. */
bool stack_grow(struct vm *vm, size_t registers);

#endif
