/* What a value is: 64 bits that are a double, or else say what they are in their upper 16.
 *
 *     0000 … FFF8   a double. Of the NaNs only 7FF8 0000 0000 0000 is ever made, so that all above FFF8 is free.
 *     FFF9          a pointer to an object of the heap, in the lower 48 bits
 *     FFFA          undefined, null, false, true, the end of a stream, and what only the machine sees
 *     FFFF          an int of 48 bits with its sign
 *
 * Ints beyond 48 bits are objects of the heap, and never of a size that would fit: an int has one form. The tag of ints is
 * all ones, so that one comparison tells whether two values are both ints: of (a & b).
 *
 * A value can be copied freely between two instructions only as long as nothing collects: see heap.h.
 */
#ifndef MIXRT_VALUE_H
#define MIXRT_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t Value;

#define TAG_POINTER UINT64_C(0xFFF9000000000000)
#define TAG_SPECIAL UINT64_C(0xFFFA000000000000)
#define TAG_INT UINT64_C(0xFFFF000000000000)
#define PAYLOAD UINT64_C(0x0000FFFFFFFFFFFF)

#define UNDEF (TAG_SPECIAL | 0)
#define NIL (TAG_SPECIAL | 1)
#define FALSE (TAG_SPECIAL | 2)
#define TRUE (TAG_SPECIAL | 3)
#define END (TAG_SPECIAL | 4)
/* What a function answers that failed: vm->fault says why. It is in no register and no object. */
#define FAILED (TAG_SPECIAL | 15)

#define INT48_MIN (-(INT64_C(1) << 47))
#define INT48_MAX ((INT64_C(1) << 47) - 1)
#define CANONICAL_NAN UINT64_C(0x7FF8000000000000)

/* The kinds that the language sees; the first 13 are the tags of the codec. */
enum kind {
    KIND_UNDEF,
    KIND_NULL,
    KIND_BOOL,
    KIND_INT,
    KIND_INT64, /* as a tag of the codec only */
    KIND_NUMBER,
    KIND_STRING,
    KIND_REF,
    KIND_BINARY,
    KIND_ARRAY,
    KIND_MAP,
    KIND_CASE,
    KIND_TOKEN,
    KIND_FUNCTION,
    KIND_STREAM,
    KIND_SLOTS,
    KIND_COROUTINE,
    KIND_COUNT,
};

static inline bool is_double(Value v) { return v < TAG_POINTER; }
static inline bool is_small(Value v) { return v >= TAG_INT; }
static inline bool are_small(Value a, Value b) { return (a & b) >= TAG_INT; }
static inline bool is_pointer(Value v) { return v >> 48 == TAG_POINTER >> 48; }

static inline int64_t small_of(Value v) { return (int64_t)(v << 16) >> 16; }
static inline Value of_small(int64_t n) { return TAG_INT | ((uint64_t)n & PAYLOAD); }
static inline bool fits_small(int64_t n) { return n >= INT48_MIN && n <= INT48_MAX; }

static inline double double_of(Value v)
{
    union {
        uint64_t bits;
        double number;
    } both = {.bits = v};
    return both.number;
}

static inline Value of_double(double number)
{
    union {
        double number;
        uint64_t bits;
    } both = {.number = number};
    return number != number ? CANONICAL_NAN : both.bits;
}

static inline Value of_bool(bool b) { return b ? TRUE : FALSE; }

#endif
