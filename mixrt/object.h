/* The objects of the heap: a header of 8 bytes, then what the kind says.
 *
 *     INT64      the 8 bytes of an int that does not fit in 48 bits
 *     STRING     the number of characters, 4 bytes that are 0, the bytes. aux 1: all of them are ASCII
 *     REF BINARY TOKEN   like STRING; characters of a binary and a token are 0
 *     ROPE       count as of a string; the number of characters; left, right. Once its text was needed: the string, undefined
 *     ARRAY      count elements; aux: see array.c; root, tail
 *     NODE       values: a leaf or an inner node of an array
 *     MAP        count entries; root
 *     LEAF       key, value, key, value …: a leaf of a map
 *     BRANCH     first key, child, number of entries, …: an inner node of a map
 *     CASE       name, argument or undefined
 *     CLOSURE    aux: the function; what it captured
 *     PARTIAL    a function, and the arguments that it was given so far
 *     SLOTS      mutable values
 *     STREAM     aux: see stream.c; four mutable values
 *     COROUTINE  see coroutine.c; mutable values
 *     STACK      how many registers are in use (8 bytes); the registers
 *
 * All but the marked ones never change once they are made, so that an old object points to a young one only where
 * `heap_wrote` was told. (The exceptions: push into the free end of an array's tail, and the text of a rope.)
 */
#ifndef MIXRT_OBJECT_H
#define MIXRT_OBJECT_H

#include "value.h"

enum object_kind {
    MOVED, /* only while collecting: the new address follows */
    INT64,
    STRING,
    REF,
    BINARY,
    TOKEN,
    ROPE,
    ARRAY,
    NODE,
    MAP,
    LEAF,
    BRANCH,
    CASE,
    CLOSURE,
    PARTIAL,
    SLOTS,
    STREAM,
    COROUTINE,
    STACK,
};

enum {
    OLD = 1,        /* survived a collection */
    LARGE = 2,      /* has its memory for itself, and is not moved */
    REMEMBERED = 4, /* old, and may point to young ones */
    REACHED = 8,    /* a large one, while collecting */
};

struct object {
    uint8_t kind;
    uint8_t flags;
    uint16_t aux;
    uint32_t count;
};

/* STRING, REF, BINARY, TOKEN. */
struct text {
    struct object head;
    uint32_t chars;
    uint32_t zero;
    char bytes[];
};

struct int64 {
    struct object head;
    int64_t number;
};

/* All whose content is values right after the header. */
struct values {
    struct object head;
    Value at[];
};

struct rope {
    struct object head;
    uint32_t chars;
    uint32_t zero;
    Value left, right;
};

struct array {
    struct object head;
    Value root, tail;
};

struct map {
    struct object head;
    Value root;
};

struct tagged {
    struct object head;
    Value name, argument;
};

struct stack {
    struct object head;
    uint64_t used;
    Value at[];
};

#define ASCII 1u

static inline struct object *object_of(Value v) { return (struct object *)(uintptr_t)(v & PAYLOAD); }
static inline Value of_object(const void *object) { return TAG_POINTER | (uint64_t)(uintptr_t)object; }
static inline bool is_object(Value v, enum object_kind kind) { return is_pointer(v) && object_of(v)->kind == kind; }

static inline struct text *text_of(Value v) { return (struct text *)object_of(v); }
static inline struct values *values_of(Value v) { return (struct values *)object_of(v); }
static inline struct array *array_of(Value v) { return (struct array *)object_of(v); }
static inline struct map *map_of(Value v) { return (struct map *)object_of(v); }
static inline struct tagged *case_of(Value v) { return (struct tagged *)object_of(v); }
static inline struct rope *rope_of(Value v) { return (struct rope *)object_of(v); }
static inline struct stack *stack_of(Value v) { return (struct stack *)object_of(v); }

static inline bool is_string(Value v)
{
    return is_pointer(v) && (object_of(v)->kind == STRING || object_of(v)->kind == ROPE);
}
static inline bool is_array(Value v) { return is_object(v, ARRAY); }
static inline bool is_map(Value v) { return is_object(v, MAP); }
static inline bool is_case(Value v) { return is_object(v, CASE); }
static inline bool is_int(Value v) { return is_small(v) || is_object(v, INT64); }
static inline bool is_number(Value v) { return is_double(v) || is_int(v); }

static inline int64_t int_of(Value v) { return is_small(v) ? small_of(v) : ((struct int64 *)object_of(v))->number; }

enum kind kind_of(Value v);
const char *kind_name(enum kind kind);

#endif
