/* The heap: making and collecting objects. */
#include "heap.h"

#include "array.h"
#include "memory.h"
#include "vm.h"

#define NURSERY_UNITS 4
#define LARGE_SIZE ((size_t)4096)
#define MAJOR_UNITS 32 /* the first major collection, and the least between two */
#define FRESH_LARGE ((size_t)1 << 20)

static char *start_of(struct block *block) { return (char *)(block + 1); }

static struct block *new_block(size_t units)
{
    struct block *block = memory_take(units);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->units = units;
    block->top = start_of(block);
    block->end = (char *)block + units * UNIT;
    return block;
}

bool heap_open(struct heap *heap, size_t limit)
{
    heap->limit = limit;
    heap->young = new_block(NURSERY_UNITS);
    if (heap->young == NULL)
        return false;
    heap->small_units = NURSERY_UNITS;
    heap->next_major = MAJOR_UNITS;
    heap->top = heap->young->top;
    heap->end = heap->young->end;
    heap->fail_from = UINT64_MAX;
    return true;
}

/* Whether so many units more leave enough for a collection that moves everything. */
static bool within_limit(const struct heap *heap, size_t small, size_t large)
{
    size_t units = (heap->small_units + small) * 2 + (heap->small_units + small) / 16 + 1;
    units += heap->large_units + large + heap->other_units;
    return units <= heap->limit / UNIT;
}

static void *out_of_memory(struct vm *vm)
{
    vm->fault = FAULT_MEMORY;
    return NULL;
}

static void *new_large(struct vm *vm, enum object_kind kind, size_t size)
{
    struct heap *heap = &vm->heap;
    size_t units = units_for(size + sizeof(struct large));
    if (!within_limit(heap, 0, units))
        return out_of_memory(vm);
    struct large *large = memory_take(units);
    if (large == NULL)
        return out_of_memory(vm);
    heap->large_units += units;
    heap->fresh_large += units * UNIT;
    if (heap->fresh_large > FRESH_LARGE)
        heap->full = true;
    large->units = units;
    large->gray = NULL;
    large->next = heap->young_large;
    heap->young_large = large;
    struct object *object = (struct object *)(large + 1);
    *object = (struct object){.kind = (uint8_t)kind, .flags = LARGE};
    return object;
}

void *heap_new(struct vm *vm, enum object_kind kind, size_t size)
{
    struct heap *heap = &vm->heap;
    size = (size + 7) & ~(size_t)7;
    if (size < 16)
        size = 16; /* room for the new address */
    heap->allocations++;
    if (heap->allocations >= heap->fail_from && heap->allocations < heap->fail_until)
        return out_of_memory(vm);
    if (heap->stress)
        heap->full = true;
    if (size > LARGE_SIZE)
        return new_large(vm, kind, size);
    if ((size_t)(heap->end - heap->top) < size) {
        heap->full = true;
        if (!within_limit(heap, 1, 0))
            return out_of_memory(vm);
        struct block *more = new_block(1);
        if (more == NULL)
            return out_of_memory(vm);
        heap->small_units++;
        heap->young->top = heap->top;
        more->next = heap->young;
        heap->young = more;
        heap->top = more->top;
        heap->end = more->end;
    }
    struct object *object = (struct object *)heap->top;
    heap->top += size;
    *object = (struct object){.kind = (uint8_t)kind};
    return object;
}

void *heap_take(struct vm *vm, size_t bytes, size_t *units)
{
    *units = units_for(bytes);
    if (!within_limit(&vm->heap, 0, *units))
        return out_of_memory(vm);
    void *taken = memory_take(*units);
    if (taken == NULL)
        return out_of_memory(vm);
    vm->heap.other_units += *units;
    return taken;
}

void heap_give(struct vm *vm, void *start, size_t units)
{
    if (start == NULL)
        return;
    memory_give(start, units);
    vm->heap.other_units -= units;
}

void heap_remember(struct vm *vm, struct object *object)
{
    struct heap *heap = &vm->heap;
    if (heap->remembered_count * sizeof(struct object *) == heap->remembered_units * UNIT) {
        size_t units = heap->remembered_units == 0 ? 1 : heap->remembered_units * 2;
        struct object **more = memory_take(units);
        if (more == NULL) {
            heap->forgot = heap->full = true;
            return;
        }
        if (heap->remembered_units != 0) {
            memcpy(more, heap->remembered, heap->remembered_count * sizeof *more);
            memory_give(heap->remembered, heap->remembered_units);
        }
        heap->other_units += units - heap->remembered_units;
        heap->remembered = more;
        heap->remembered_units = units;
    }
    object->flags |= REMEMBERED;
    heap->remembered[heap->remembered_count++] = object;
}

static size_t size_of(const struct object *object)
{
    size_t size = 0;
    switch ((enum object_kind)object->kind) {
    case MOVED:
    case INT64:
    case MAP: size = 16; break;
    case STRING:
    case REF:
    case BINARY:
    case TOKEN: size = sizeof(struct text) + object->count; break;
    case ROPE: size = sizeof(struct rope); break;
    case ARRAY:
    case CASE: size = 24; break;
    case STACK: size = sizeof(struct stack) + (size_t)object->count * sizeof(Value); break;
    case NODE:
    case LEAF:
    case BRANCH:
    case CLOSURE:
    case PARTIAL:
    case SLOTS:
    case STREAM:
    case COROUTINE: size = sizeof(struct object) + (size_t)object->count * sizeof(Value); break;
    }
    size = (size + 7) & ~(size_t)7;
    return size < 16 ? 16 : size;
}

static struct object *new_old(struct heap *heap, size_t size)
{
    struct block *block = heap->newest;
    if (block == NULL || (size_t)(block->end - block->top) < size) {
        struct block *more = new_block(1);
        if (more == NULL)
            return NULL;
        heap->small_units++;
        if (block == NULL)
            heap->old = more;
        else
            block->next = more;
        heap->newest = block = more;
    }
    struct object *object = (struct object *)block->top;
    block->top += size;
    return object;
}

/* The value as it is after the collection: what it points to is moved, unless it was, and will be looked at. */
static Value reach(struct heap *heap, Value v, bool major)
{
    if (!is_pointer(v))
        return v;
    struct object *object = object_of(v);
    if (object->kind == MOVED)
        return ((struct values *)object)->at[0];
    if (object->kind == ROPE && ((struct rope *)object)->right == UNDEF)
        return reach(heap, ((struct rope *)object)->left, major);
    if (!major && (object->flags & OLD))
        return v;
    if (object->flags & LARGE) {
        if (!(object->flags & REACHED)) {
            object->flags |= REACHED | OLD;
            struct large *large = (struct large *)object - 1;
            large->gray = heap->gray;
            heap->gray = large;
        }
        return v;
    }
    size_t size = size_of(object);
    struct object *to = new_old(heap, size);
    if (to == NULL) {
        heap->dead = true;
        return v;
    }
    memcpy(to, object, size);
    to->flags = OLD;
    object->kind = MOVED;
    ((struct values *)object)->at[0] = of_object(to);
    return of_object(to);
}

/* Reaches what an object holds. */
static void look_at(struct heap *heap, struct object *object, bool major)
{
    Value *at = ((struct values *)object)->at;
    size_t count = 0;
    switch ((enum object_kind)object->kind) {
    case MOVED:
    case INT64:
    case STRING:
    case REF:
    case BINARY:
    case TOKEN: return;
    case ROPE:
        at = &((struct rope *)object)->left;
        count = 2;
        break;
    case MAP: count = 1; break;
    case ARRAY:
        if (major)
            array_share(of_object(object));
    case CASE: count = 2; break;
    case STACK: {
        struct stack *stack = (struct stack *)object;
        at = stack->at;
        count = stack->used;
        /* What lies above is of calls that have ended, and may be moved or gone. */
        for (size_t index = count; index < object->count; index++)
            at[index] = UNDEF;
        break;
    }
    case NODE:
        if (major)
            object->aux = 0; /* nobody's */
    case LEAF:
    case BRANCH:
    case CLOSURE:
    case PARTIAL:
    case SLOTS:
    case STREAM:
    case COROUTINE: count = object->count; break;
    }
    for (size_t index = 0; index < count && !heap->dead; index++)
        at[index] = reach(heap, at[index], major);
}

static void free_blocks(struct heap *heap, struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        heap->small_units -= block->units;
        memory_give(block, block->units);
        block = next;
    }
}

/* Frees the large objects that were not reached, and puts the others in front of `kept`. */
static struct large *sweep(struct heap *heap, struct large *large, struct large *kept)
{
    while (large != NULL) {
        struct large *next = large->next;
        struct object *object = (struct object *)(large + 1);
        if (object->flags & REACHED) {
            object->flags &= (uint8_t)~(REACHED | REMEMBERED);
            large->next = kept;
            kept = large;
        } else {
            heap->large_units -= large->units;
            memory_give(large, large->units);
        }
        large = next;
    }
    return kept;
}

/* The first object that was moved to where old memory ended before, and those after it. */
static void look_at_moved(struct heap *heap, struct block *block, char *at, bool major)
{
    for (;;) {
        while (heap->gray != NULL) {
            struct large *large = heap->gray;
            heap->gray = large->gray;
            look_at(heap, (struct object *)(large + 1), major);
        }
        if (block == NULL) {
            block = heap->old;
            if (block == NULL)
                return;
            at = start_of(block);
        }
        if (at == block->top) {
            if (block->next == NULL) {
                if (heap->gray == NULL)
                    return;
                continue;
            }
            block = block->next;
            at = start_of(block);
            continue;
        }
        struct object *object = (struct object *)at;
        at += size_of(object);
        look_at(heap, object, major);
        if (heap->dead)
            return;
    }
}

void heap_collect(struct vm *vm, bool major)
{
    struct heap *heap = &vm->heap;
    if (heap->dead)
        return;
    major = major || heap->forgot || heap->stress || heap->small_units + heap->large_units > heap->next_major;
    heap->collections++;
    vm->hint_text = NULL;
    heap->young->top = heap->top;
    struct block *from = NULL, *block = heap->newest;
    char *at = block == NULL ? NULL : block->top;
    if (major) {
        heap->majors++;
        heap->owners = 0;
        from = heap->old;
        heap->old = heap->newest = block = NULL;
        at = NULL;
    } else {
        for (size_t index = 0; index < heap->remembered_count && !heap->dead; index++)
            look_at(heap, heap->remembered[index], false);
    }
    Value *first;
    size_t count;
    for (size_t root = 0; (count = vm_roots(vm, root, major, &first)) != 0 && !heap->dead; root++)
        for (size_t index = 0; index < count && !heap->dead; index++)
            first[index] = reach(heap, first[index], major);
    if (!heap->dead)
        look_at_moved(heap, block, at, major);
    if (heap->dead)
        return;
    if (!major) {
        for (size_t index = 0; index < heap->remembered_count; index++)
            heap->remembered[index]->flags &= (uint8_t)~REMEMBERED;
        heap->large = sweep(heap, heap->young_large, heap->large);
    } else {
        struct large *kept = sweep(heap, heap->large, NULL);
        heap->large = sweep(heap, heap->young_large, kept);
        free_blocks(heap, from);
    }
    heap->young_large = NULL;
    heap->remembered_count = 0;
    heap->forgot = false;
    /* Of the young blocks the nursery alone stays. */
    while (heap->young->next != NULL) {
        struct block *next = heap->young->next;
        heap->young->next = NULL;
        free_blocks(heap, heap->young);
        heap->young = next;
    }
    heap->young->top = heap->top = start_of(heap->young);
    heap->end = heap->young->end;
#ifndef __wasm__
    if (heap->stress)
        memset(heap->top, 0xDB, (size_t)(heap->end - heap->top));
#endif
    heap->fresh_large = 0;
    heap->full = false;
    if (major) {
        heap->next_major = (heap->small_units + heap->large_units) * 2;
        if (heap->next_major < MAJOR_UNITS)
            heap->next_major = MAJOR_UNITS;
    }
}

size_t heap_used(const struct heap *heap)
{
    size_t used = heap->large_units * UNIT;
    for (const struct block *block = heap->young; block != NULL; block = block->next)
        used += (size_t)((block == heap->young ? heap->top : block->top) - (const char *)(block + 1));
    for (const struct block *block = heap->old; block != NULL; block = block->next)
        used += (size_t)(block->top - (const char *)(block + 1));
    return used;
}
