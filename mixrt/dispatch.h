/* How instructions are written in run.c: operands, and ways to go on.
 *
 * `at` is the running instruction, `r` the running function's registers. An instruction that allocates ends with SAFE, which
 * collects if the heap is full: everything that lives is in registers then. One that fails leaves `at` where it is, so that
 * it can be done again.
 */
#ifndef MIXRT_DISPATCH_H
#define MIXRT_DISPATCH_H

#define A (r[at->a])
#define B (r[at->b])
#define C (r[at->c])
#define CONSTANT(index) (vm->code.constants[index])
#define NEXT \
    { \
        at++; \
        continue; \
    }
#define SAFE \
    { \
        at++; \
        if (vm->heap.full) \
            goto collect; \
        continue; \
    }
#define ANSWER(value) \
    { \
        Value answered = (value); \
        if (answered == FAILED) \
            goto fault; \
        A = answered; \
        SAFE \
    }
#define JUMP_IF(condition, distance) \
    { \
        if (condition) { \
            int32_t by = (distance); \
            at += 1 + by; \
            if (by < 0 && --vm->fuel < 0) \
                goto fuel; \
            continue; \
        } \
        NEXT \
    }
/* A comparison that is not inline: may fail. */
#define JUMP_TRUTH(expected, compared) \
    { \
        enum truth found = (compared); \
        if (found == BROKEN) \
            goto fault; \
        if (vm->heap.full) { \
            int32_t by = (found == YES) == (expected) ? (int16_t)at->c : 0; \
            at += 1 + by; \
            goto collect; \
        } \
        JUMP_IF((found == YES) == (expected), (int16_t)at->c) \
    }
#define SHIFTED(v) ((int64_t)((v) << 16))
/* The same value is equal, and two different ints are not. */
#define JUMP_EQUAL(expected) \
    { \
        Value x = A, y = B; \
        if (x == y && x != UNDEF) \
            JUMP_IF(expected, (int16_t)at->c) \
        if (are_small(x, y)) \
            JUMP_IF(!(expected), (int16_t)at->c) \
        JUMP_TRUTH(expected, value_eq(vm, x, y)) \
    }
/* Compares two registers: ints and doubles here, all else in a function. */
#define JUMP_COMPARE(operator, function, expected) \
    { \
        Value x = A, y = B; \
        if (are_small(x, y)) \
            JUMP_IF((SHIFTED(x) operator SHIFTED(y)) == (expected), (int16_t)at->c) \
        if (is_double(x) && is_double(y)) \
            JUMP_IF((double_of(x) operator double_of(y)) == (expected), (int16_t)at->c) \
        JUMP_TRUTH(expected, function(vm, x, y)) \
    }
#define JUMP_COMPARE_INT(operator, expected, compared) \
    { \
        Value x = A; \
        int64_t y = (int16_t)at->b; \
        if (is_small(x)) \
            JUMP_IF((small_of(x) operator y) == (expected), (int16_t)at->c) \
        if (is_double(x)) \
            JUMP_IF((double_of(x) operator(double) y) == (expected), (int16_t)at->c) \
        JUMP_TRUTH(expected, compared) \
    }
#define ARITHMETIC(operator, function) \
    { \
        Value x = B, y = C; \
        if (are_small(x, y)) { \
            int64_t number = small_of(x) operator small_of(y); \
            if (fits_small(number)) { \
                A = of_small(number); \
                NEXT \
            } \
        } else if (is_double(x) && is_double(y)) { \
            A = of_double(double_of(x) operator double_of(y)); \
            NEXT \
        } \
        ANSWER(function(vm, x, y)) \
    }
/* The same with what follows, see fuse.c: the result is kept in another register as well. */
#define ARITHMETIC_STORE(operator) \
    { \
        Value x = B, y = C; \
        if (are_small(x, y)) { \
            int64_t number = small_of(x) operator small_of(y); \
            if (fits_small(number)) { \
                A = r[at[2].a] = of_small(number); \
                at += 3; \
                continue; \
            } \
        } else if (is_double(x) && is_double(y)) { \
            A = r[at[2].a] = of_double(double_of(x) operator double_of(y)); \
            at += 3; \
            continue; \
        } \
    }
#define TRUTH_ANSWER(compared, of_yes) \
    { \
        enum truth found = (compared); \
        if (found == BROKEN) \
            goto fault; \
        A = found == UNKNOWN ? UNDEF : of_bool((found == YES) == (of_yes)); \
        SAFE \
    }

#endif
