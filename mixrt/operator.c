/* The operators, and access to what values hold. */
#include "operator.h"

#include "array.h"
#include "map.h"
#include "number.h"

Value value_of_int(struct vm *vm, int64_t number)
{
    if (fits_small(number))
        return of_small(number);
    struct int64 *object = heap_new(vm, INT64, sizeof(struct int64));
    if (object == NULL)
        return FAILED;
    object->number = number;
    return of_object(object);
}

double number_of(Value v) { return is_double(v) ? double_of(v) : (double)int_of(v); }

static Value expected_numbers(struct vm *vm, const char *operator, Value a, Value b)
{
    return raise_text(vm, "%s: expected two numbers, found %v and %v", operator, a, b);
}

/* What arithmetic with undefined or null answers, or FAILED without a fault if neither operand is one. */
static Value lifted(struct vm *vm, Value a, Value b)
{
    vm->fault = FAULT_NONE;
    if (a == UNDEF || b == UNDEF)
        return UNDEF;
    return a == NIL || b == NIL ? NIL : FAILED;
}

Value value_text(struct vm *vm, Value v)
{
    if (is_string(v))
        return v;
    char bytes[NUMBER_TEXT];
    size_t size = is_int(v) ? number_of_int(int_of(v), bytes) : number_of_double(double_of(v), bytes);
    return text_new(vm, STRING, bytes, size);
}

Value value_add(struct vm *vm, Value a, Value b)
{
    if (is_number(a) && is_number(b)) {
        if (is_double(a) || is_double(b))
            return of_double(number_of(a) + number_of(b));
        int64_t sum;
        if (__builtin_add_overflow(int_of(a), int_of(b), &sum))
            return of_double((double)int_of(a) + (double)int_of(b));
        return value_of_int(vm, sum);
    }
    Value result = lifted(vm, a, b);
    if (result != FAILED)
        return result;
    if ((is_string(a) && (is_string(b) || is_number(b))) || (is_string(b) && is_number(a))) {
        Value left = value_text(vm, a), right = left == FAILED ? FAILED : value_text(vm, b);
        return right == FAILED ? FAILED : text_join(vm, left, right);
    }
    if (is_array(a) && is_array(b))
        return array_join(vm, a, b);
    if (is_map(a) && is_map(b))
        return map_join(vm, a, b);
    return raise_text(vm, "+: expected two numbers, strings, arrays or maps, found %v and %v", a, b);
}

Value value_sub(struct vm *vm, Value a, Value b)
{
    if (!is_number(a) || !is_number(b)) {
        Value result = lifted(vm, a, b);
        return result != FAILED ? result : expected_numbers(vm, "-", a, b);
    }
    if (is_double(a) || is_double(b))
        return of_double(number_of(a) - number_of(b));
    int64_t difference;
    if (__builtin_sub_overflow(int_of(a), int_of(b), &difference))
        return of_double((double)int_of(a) - (double)int_of(b));
    return value_of_int(vm, difference);
}

/* False if the product does not fit. By halves: there is no library for products of 128 bits. */
static bool multiply(int64_t a, int64_t b, int64_t *product)
{
    uint64_t x = a < 0 ? -(uint64_t)a : (uint64_t)a, y = b < 0 ? -(uint64_t)b : (uint64_t)b;
    bool negative = (a < 0) != (b < 0);
    if (x >> 32 != 0 && y >> 32 != 0)
        return false;
    uint64_t high = (x >> 32) * (y & UINT32_MAX) + (y >> 32) * (x & UINT32_MAX);
    uint64_t low = (x & UINT32_MAX) * (y & UINT32_MAX);
    if (high >> 32 != 0 || low > UINT64_MAX - (high << 32))
        return false;
    uint64_t all = (high << 32) + low;
    if (all > (uint64_t)INT64_MAX + negative)
        return false;
    *product = negative ? (int64_t)-all : (int64_t)all;
    return true;
}

Value value_mul(struct vm *vm, Value a, Value b)
{
    if (!is_number(a) || !is_number(b)) {
        Value result = lifted(vm, a, b);
        return result != FAILED ? result : expected_numbers(vm, "*", a, b);
    }
    if (is_double(a) || is_double(b))
        return of_double(number_of(a) * number_of(b));
    int64_t product;
    if (!multiply(int_of(a), int_of(b), &product))
        return of_double((double)int_of(a) * (double)int_of(b));
    return value_of_int(vm, product);
}

Value value_div(struct vm *vm, Value a, Value b)
{
    if (is_number(a) && is_number(b))
        return of_double(number_of(a) / number_of(b));
    Value result = lifted(vm, a, b);
    return result != FAILED ? result : expected_numbers(vm, "/", a, b);
}

double remainder_of(double a, double b)
{
    if (a != a || b != b || b == 0 || a - a != 0)
        return (double)__builtin_nan("");
    double x = a < 0 ? -a : a, y = b < 0 ? -b : b;
    if (y - y != 0 || x < y)
        return a;
    if (x < 9007199254740992.0 && y >= 1 && (double)(int64_t)x == x && (double)(int64_t)y == y) {
        double rest = (double)((int64_t)x % (int64_t)y);
        return a < 0 ? -rest : rest;
    }
    /* Subtracts y times each power of two that fits; each difference is exact. */
    double scaled = y;
    while (scaled <= x * 0.5)
        scaled *= 2;
    for (; scaled >= y; scaled *= 0.5)
        if (x >= scaled)
            x -= scaled;
    return a < 0 ? -x : x;
}

Value value_rem(struct vm *vm, Value a, Value b)
{
    if (is_number(a) && is_number(b))
        return of_double(remainder_of(number_of(a), number_of(b)));
    Value result = lifted(vm, a, b);
    return result != FAILED ? result : expected_numbers(vm, "%", a, b);
}

Value value_neg(struct vm *vm, Value a)
{
    if (is_double(a))
        return of_double(-double_of(a));
    if (is_int(a))
        return int_of(a) == INT64_MIN ? of_double(9223372036854775808.0) : value_of_int(vm, -int_of(a));
    if (a == UNDEF || a == NIL)
        return a;
    return raise_text(vm, "-: expected a number, found %v", a);
}

static bool is_logical(Value v) { return v == TRUE || v == FALSE || v == UNDEF; }

Value value_not(struct vm *vm, Value a)
{
    if (is_logical(a))
        return a == UNDEF ? UNDEF : of_bool(a == FALSE);
    return raise_text(vm, "not: expected a bool, found %v", a);
}

Value value_and(struct vm *vm, Value a, Value b)
{
    if (!is_logical(a) || !is_logical(b))
        return raise_text(vm, "&&: expected two bools, found %v and %v", a, b);
    return a == FALSE || b == FALSE ? FALSE : a == TRUE && b == TRUE ? TRUE : UNDEF;
}

Value value_or(struct vm *vm, Value a, Value b)
{
    if (!is_logical(a) || !is_logical(b))
        return raise_text(vm, "||: expected two bools, found %v and %v", a, b);
    return a == TRUE || b == TRUE ? TRUE : a == FALSE && b == FALSE ? FALSE : UNDEF;
}

bool index_of(Value v, uint32_t count, uint32_t *index)
{
    int64_t number;
    if (is_small(v)) {
        number = small_of(v);
    } else if (is_double(v)) {
        double given = double_of(v);
        if (!(given >= 0 && given < 4294967296.0))
            return false;
        number = (int64_t)given;
        if ((double)number != given)
            return false;
    } else {
        return false;
    }
    if (number < 0 || number >= count)
        return false;
    *index = (uint32_t)number;
    return true;
}

Value value_get_key(struct vm *vm, Value from, Value key)
{
    if (is_map(from)) {
        struct text *flat = text_flat(vm, key);
        return flat == NULL ? FAILED : map_get(from, flat);
    }
    if (from == UNDEF || from == NIL)
        return UNDEF;
    return raise_text(vm, ".%t: expected a map, found %v", key, from);
}

Value value_get_int(struct vm *vm, Value from, int64_t index)
{
    if (is_array(from))
        return index >= 0 && index < array_count(from) ? array_get(from, (uint32_t)index) : UNDEF;
    if (from == UNDEF || from == NIL)
        return UNDEF;
    return raise_text(vm, "[%d]: expected an array, found %v", index, from);
}

Value value_get(struct vm *vm, Value from, Value key)
{
    if (is_array(from) && is_number(key)) {
        uint32_t index;
        return index_of(key, array_count(from), &index) ? array_get(from, index) : UNDEF;
    }
    if (is_map(from) && is_string(key))
        return value_get_key(vm, from, key);
    if (from == UNDEF || from == NIL || key == UNDEF || key == NIL)
        return UNDEF;
    return raise_text(vm, "access: expected an array and a number, or a map and a string, found %v and %v", from, key);
}

Value value_set(struct vm *vm, Value in, Value key, Value value)
{
    if (value == UNDEF)
        return raise_text(vm, "undefined may not be stored in %s", is_array(in) ? "an array" : "a map");
    if (is_map(in) && is_string(key))
        return map_set(vm, in, key, value);
    if (is_array(in) && is_number(key)) {
        uint32_t index, count = array_count(in);
        if (index_of(key, count, &index))
            return array_set(vm, in, index, value);
        Value text = value_text(vm, key);
        return text == FAILED ? FAILED : raise_text(vm, "expected an index below the length, %d, found %t", (int64_t)count, text);
    }
    return raise_text(vm, "update: expected an array and a number, or a map and a string, found %v and %v", in, key);
}

Value value_length(struct vm *vm, Value v)
{
    if (is_string(v))
        return of_small(text_chars(v));
    if (is_array(v) || is_map(v) || is_object(v, BINARY))
        return of_small(object_of(v)->count);
    if (v == UNDEF)
        return UNDEF;
    if (v == NIL)
        return of_small(0);
    return raise_text(vm, "length: expected an array, map, string or binary, found %v", v);
}
