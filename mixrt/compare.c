/* Equality and order of the language. */
#include "compare.h"

#include "array.h"
#include "map.h"

enum kind kind_of(Value v)
{
    if (is_double(v))
        return KIND_NUMBER;
    if (is_small(v))
        return KIND_INT;
    if (!is_pointer(v))
        return v == NIL ? KIND_NULL : v == TRUE || v == FALSE ? KIND_BOOL : KIND_UNDEF;
    switch ((enum object_kind)object_of(v)->kind) {
    case INT64: return KIND_INT;
    case STRING:
    case ROPE: return KIND_STRING;
    case REF: return KIND_REF;
    case BINARY: return KIND_BINARY;
    case TOKEN: return KIND_TOKEN;
    case ARRAY: return KIND_ARRAY;
    case MAP: return KIND_MAP;
    case CASE: return KIND_CASE;
    case CLOSURE:
    case PARTIAL: return KIND_FUNCTION;
    case STREAM: return KIND_STREAM;
    case COROUTINE: return KIND_COROUTINE;
    default: return KIND_SLOTS;
    }
}

const char *kind_name(enum kind kind)
{
    /* What programs see of slots is cells of other modules: links. */
    static const char *const names[KIND_COUNT] = {"undefined", "null", "bool", "int",  "int",   "number",   "string", "ref",  "binary",
                                                  "array",  "map",   "case", "token", "function", "stream", "link", "coroutine"};
    return names[kind];
}

/* An int and a double by their mathematical values. */
static enum order order_mixed(int64_t whole, double number)
{
    if (number != number)
        return APART;
    if (number >= 9223372036854775808.0)
        return LESS;
    if (number < -9223372036854775808.0)
        return MORE;
    int64_t truncated = (int64_t)number;
    if (whole != truncated)
        return whole < truncated ? LESS : MORE;
    double rest = number - (double)truncated;
    return rest > 0 ? LESS : rest < 0 ? MORE : SAME;
}

static enum order order_numbers(Value a, Value b)
{
    if (are_small(a, b))
        return small_of(a) < small_of(b) ? LESS : small_of(a) > small_of(b);
    if (is_double(a) && is_double(b)) {
        double x = double_of(a), y = double_of(b);
        return x < y ? LESS : x > y ? MORE : x == y ? SAME : APART;
    }
    if (is_double(a)) {
        enum order order = order_mixed(int_of(b), double_of(a));
        return order == LESS ? MORE : order == MORE ? LESS : order;
    }
    if (is_double(b))
        return order_mixed(int_of(a), double_of(b));
    int64_t x = int_of(a), y = int_of(b);
    return x < y ? LESS : x > y;
}

static enum truth too_deep(struct vm *vm)
{
    raise_text(vm, "expected values of at most %d levels to compare, found more", (int64_t)MAX_DEPTH);
    return BROKEN;
}

/* Where a comparison was left when the budget was used up, from the outside in: of each array, map and case the index of the part that
 * was being compared. The instruction is done again, with the same values. Values that share their parts with themselves
 * may take longer than any program runs. */
static struct {
    unsigned depth;
    uint32_t at[MAX_DEPTH + 1];
} left;

/* The part to begin with. */
static uint32_t gone_on(unsigned depth)
{
    if (left.depth <= depth)
        return 0;
    if (left.depth == depth + 1)
        left.depth = 0;
    return left.at[depth];
}

/* Leaves a comparison before that part. */
static void give_way(struct vm *vm, unsigned depth, uint32_t index)
{
    left.depth = depth + 1;
    left.at[depth] = index;
    vm->fault = FAULT_AGAIN;
}

static enum truth equal_at(struct vm *vm, Value a, Value b, unsigned depth);

static enum truth equal_arrays(struct vm *vm, Value a, Value b, unsigned depth)
{
    uint32_t count = array_count(a);
    if (count != array_count(b))
        return NO;
    for (uint32_t index = gone_on(depth); index < count;) {
        const Value *x = array_leaf(a, index), *y = array_leaf(b, index);
        uint32_t end = (index | (LEAF_SIZE - 1)) + 1;
        end = end < count ? end : count;
        charge(vm, x == y ? 1 : end - index);
        for (; x != y && index < end; index++) {
            left.at[depth] = index;
            enum truth equal = equal_at(vm, x[index & (LEAF_SIZE - 1)], y[index & (LEAF_SIZE - 1)], depth + 1);
            if (equal != YES)
                return equal;
        }
        index = end;
        if (vm->fuel < 0) {
            give_way(vm, depth, index);
            return BROKEN;
        }
    }
    return YES;
}

static enum truth equal_maps(struct vm *vm, Value a, Value b, unsigned depth)
{
    if (map_count(a) != map_count(b))
        return NO;
    struct map_cursor one, two;
    Value key, value, other_key, other;
    uint32_t index = gone_on(depth);
    cursor_seek(&one, a, index);
    cursor_seek(&two, b, index);
    while (cursor_next(&one, &key, &value) && cursor_next(&two, &other_key, &other)) {
        if (!text_same(text_of(key), text_of(other_key)))
            return NO;
        left.at[depth] = index++;
        enum truth equal = equal_at(vm, value, other, depth + 1);
        if (equal != YES)
            return equal;
        charge(vm, 1);
        if (vm->fuel < 0) {
            give_way(vm, depth, index);
            return BROKEN;
        }
    }
    return YES;
}

static enum truth equal_texts(struct vm *vm, Value a, Value b)
{
    if (text_size(a) != text_size(b))
        return NO;
    struct text *x = text_flat(vm, a), *y = x == NULL ? NULL : text_flat(vm, b);
    if (y == NULL)
        return BROKEN;
    charge(vm, text_size(a) / 16);
    return text_same(x, y);
}

static enum truth equal_at(struct vm *vm, Value a, Value b, unsigned depth)
{
    if (a == b)
        return YES;
    if (is_number(a) && is_number(b))
        return order_numbers(a, b) == SAME;
    if (!is_pointer(a) || !is_pointer(b))
        return NO;
    enum kind kind = kind_of(a);
    if (kind != kind_of(b))
        return NO;
    if (depth == MAX_DEPTH)
        return too_deep(vm);
    switch (kind) {
    case KIND_STRING: return equal_texts(vm, a, b);
    case KIND_REF:
    case KIND_BINARY: return text_same(text_of(a), text_of(b));
    case KIND_ARRAY: return equal_arrays(vm, a, b, depth);
    case KIND_MAP: return equal_maps(vm, a, b, depth);
    case KIND_CASE: {
        left.at[depth] = gone_on(depth);
        enum truth names = equal_texts(vm, case_of(a)->name, case_of(b)->name);
        return names != YES ? names : equal_at(vm, case_of(a)->argument, case_of(b)->argument, depth + 1);
    }
    default: return NO; /* the same one only */
    }
}

enum truth value_equal(struct vm *vm, Value a, Value b) { return equal_at(vm, a, b, 0); }

static enum order order_at(struct vm *vm, Value a, Value b, unsigned depth)
{
    if (is_number(a) && is_number(b))
        return order_numbers(a, b);
    if (a == NIL || b == NIL)
        return a == UNDEF || b == UNDEF ? APART : (a != NIL) - (b != NIL);
    if (kind_of(a) != kind_of(b))
        return APART;
    switch (kind_of(a)) {
    case KIND_BOOL: return (a == TRUE) - (b == TRUE);
    case KIND_STRING: {
        struct text *x = text_flat(vm, a), *y = x == NULL ? NULL : text_flat(vm, b);
        if (y == NULL)
            return ORDER_FAILED;
        charge(vm, (x->head.count < y->head.count ? x : y)->head.count / 16);
        return (enum order)text_order(x, y);
    }
    case KIND_ARRAY: {
        if (depth == MAX_DEPTH) {
            too_deep(vm);
            return ORDER_FAILED;
        }
        uint32_t x = array_count(a), y = array_count(b), shorter = x < y ? x : y;
        for (uint32_t index = gone_on(depth); index < shorter; index++) {
            left.at[depth] = index;
            enum order order = order_at(vm, array_get(a, index), array_get(b, index), depth + 1);
            if (order != SAME)
                return order;
            charge(vm, 1);
            if (vm->fuel < 0) {
                give_way(vm, depth, index + 1);
                return ORDER_FAILED;
            }
        }
        return x < y ? LESS : x > y;
    }
    default: return APART;
    }
}

enum order value_order(struct vm *vm, Value a, Value b) { return order_at(vm, a, b, 0); }

enum truth value_eq(struct vm *vm, Value a, Value b)
{
    return a == UNDEF || b == UNDEF ? UNKNOWN : value_equal(vm, a, b);
}

enum truth value_lt(struct vm *vm, Value a, Value b)
{
    enum order order = value_order(vm, a, b);
    return order == ORDER_FAILED ? BROKEN : order == APART ? UNKNOWN : order == LESS;
}

enum truth value_le(struct vm *vm, Value a, Value b)
{
    enum order order = value_order(vm, a, b);
    return order == ORDER_FAILED ? BROKEN : order == APART ? UNKNOWN : order != MORE;
}
