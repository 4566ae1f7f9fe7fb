/* The heap: objects are made in young blocks, one after the other; those that survive a collection move to old blocks.
 *
 * Nothing is collected in the middle of an instruction: `heap_new` takes more young memory instead, and notes that
 * the heap is `full`. The interpreter collects after an instruction that allocates, when every value that lives is in a
 * register, a global, or an object. So C code holds values and pointers freely within one instruction. What it costs:
 * an instruction that makes a lot takes memory for all of it. If there is none, the instruction fails, all is collected, and it
 * is done once more from the start: so an instruction changes nothing that lives before it has all that it needs.
 *
 * A minor collection looks at what is young, at the stack, and at the old objects that were written to since the last one. A
 * major one moves everything (but large objects) into new blocks, for which as much memory is held back as the old ones have.
 */
#ifndef MIXRT_HEAP_H
#define MIXRT_HEAP_H

#include "object.h"

struct vm;

struct block {
    struct block *next;
    char *top, *end;
    size_t units;
};

struct large {
    struct large *next, *gray;
    size_t units;
    uint64_t zero;
};

struct heap {
    char *top, *end;      /* the free part of the young block that is being filled */
    bool full;            /* collect after this instruction */
    bool dead;            /* memory ran out while collecting: nothing can go on */
    struct block *young;  /* the newest first; the last one is the nursery, which stays */
    struct block *old;    /* the newest last */
    struct block *newest; /* of the old ones */
    struct large *large, *young_large, *gray;
    struct object **remembered;
    size_t remembered_count, remembered_units;
    bool forgot; /* there was no room to remember: the next collection is a major one */
    size_t small_units, large_units, other_units;
    size_t limit;        /* bytes in all */
    size_t fresh_large;  /* bytes of large objects since the last collection */
    size_t next_major;   /* in units of old memory */
    uint64_t collections, majors;
    unsigned owners; /* numbers given to owners of arrays since the last major collection, see array.h */
    /* For tests. */
    bool stress;         /* a major collection after each instruction that allocates */
    uint64_t allocations, fail_from, fail_until;
};

/* False if there is no memory for the nursery. */
bool heap_open(struct heap *heap, size_t limit);

/* A new object with its header; the rest is not set. `size` is in bytes with the header, which is rounded up to 8. NULL
 * if the limit is reached, with vm->fault set. */
void *heap_new(struct vm *vm, enum object_kind kind, size_t size);

/* After a value was written into an object that may be old. */
void heap_remember(struct vm *vm, struct object *object);
static inline void heap_wrote(struct vm *vm, void *object)
{
    if ((((struct object *)object)->flags & (OLD | REMEMBERED)) == OLD)
        heap_remember(vm, object);
}

void heap_collect(struct vm *vm, bool major);

/* Memory outside of the objects that counts towards the limit; NULL if there is none. */
void *heap_take(struct vm *vm, size_t bytes, size_t *units);
void heap_give(struct vm *vm, void *start, size_t units);

/* Bytes that objects have now. */
size_t heap_used(const struct heap *heap);

#endif
