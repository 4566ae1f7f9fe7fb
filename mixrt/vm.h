/* The machine: its code, heap, coroutines, and what it says to the host. */
#ifndef MIXRT_VM_H
#define MIXRT_VM_H

#include <string.h>

#include "code.h"
#include "heap.h"

/* Why something has FAILED. */
enum fault {
    FAULT_NONE,
    FAULT_RAISED, /* vm->raised */
    FAULT_MEMORY, /* collect, and do the instruction again; then it is a panic */
    FAULT_STACK,
    FAULT_AGAIN,  /* the budget is used up in the middle: do the instruction again, vm->work is what was done */
};

enum panic {
    PANIC_RAISED,
    PANIC_MEMORY,
    PANIC_STACK,
    PANIC_DEADLOCK,
};

/* What a step answers, as the first word. */
enum event {
    EVENT_RUNNING,
    EVENT_FFI,    /* call id, index, the array of arguments */
    EVENT_IDLE,   /* a sum of enum idle, and with ENDED_NOW the result of the entry */
    EVENT_DONE,   /* as a command wants it */
    EVENT_PANIC,  /* code, number of addresses, three words each, the value raised */
    EVENT_REFUSED, /* a text: what is wrong with the code or the command */
};

/* What is to be known of a machine that says EVENT_IDLE. */
enum idle {
    ENDED_NOW = 1, /* the entry has just ended */
    AWAITS = 2,    /* a coroutine waits for an FFI */
    GOES_ON_NOW = 4, /* another coroutine can run */
};

#define MOST_ADDRESSES 64

/* A call in a backtrace. */
struct address {
    uint32_t function, at;
    bool tailed;
};

/* A buffer that grows, outside of the heap. */
struct buffer {
    char *bytes;
    size_t size, units;
};

struct vm {
    struct heap heap;
    struct code code;
    bool loaded;

    enum fault fault;
    /* The roots, one after the other. */
    Value raised;
    Value work;        /* what a built-in has done so far */
    Value globals;     /* SLOTS */
    Value running;     /* the coroutine that runs, or null */
    Value first, last; /* coroutines that can run, linked */
    Value pending;     /* SLOTS: coroutines that wait for an FFI, by call id */
    Value entry;       /* the coroutine of the entry, or null */
    Value result;      /* of the entry, if it has ended and nobody was told; else undefined */
    Value caught;      /* what `try` caught last, with its addresses below */
    Value ok_name, error_name;

    uint32_t pending_count, next_call;

    Value *base;    /* of the running function's registers, while a coroutine runs */
    uint32_t at;    /* the instruction that is next, while nothing runs; the one at fault */
    int64_t fuel;   /* what is left of the budget; work counts down */
    uint32_t stack_limit; /* registers of a coroutine */
    bool retried;   /* all was collected for an instruction that is being done again */
    enum panic panic;

    uint64_t random[2]; /* see random.c */

    /* See text_offset. Forgotten when something is collected. */
    const struct text *hint_text;
    uint32_t hint_index, hint_offset;

    struct address caught_at[MOST_ADDRESSES];
    uint32_t caught_count;
    bool again; /* what is raised was caught before: vm->caught */

    struct buffer out;
    struct buffer written; /* by a built-in in parts, see work.h */
};

/* Ends all for want of memory: STOP_PANIC. */
int out_of_heap(struct vm *vm);

/* The roots of number `index`, 0 if there are no more. Those of loaded code are old, and given for a major collection only. */
size_t vm_roots(struct vm *vm, size_t index, bool major, Value **first);

/* Raises a message; FAILED. The format knows %s (const char *), %d (int64_t), %v (a Value's kind as text), %t (a Value that is a
 * string). */
Value raise_text(struct vm *vm, const char *format, ...);
/* FAILED for want of memory or stack. */
static inline Value failed(struct vm *vm, enum fault fault)
{
    vm->fault = fault;
    return FAILED;
}

/* Work inside of an instruction, in about the time of an instruction each. */
static inline void charge(struct vm *vm, size_t work) { vm->fuel -= (int64_t)work; }

/* Room for so many more bytes; false with FAULT_MEMORY. */
bool buffer_room(struct vm *vm, struct buffer *buffer, size_t more);
void buffer_free(struct vm *vm, struct buffer *buffer);

#endif
