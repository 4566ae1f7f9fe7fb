/* Built-ins: the table, the check of arguments, and those for numbers and values of any kind. */
#include "builtin.h"

#include "codec.h"
#include "compare.h"
#include "number.h"
#include "operator.h"
#include "text.h"

static const struct {
    const char *name;
    unsigned count;
    const char *parameters; /* "name:kind name:kind" */
    Builtin *call;
} table[] = {
#define BUILTIN(name, count, parameters) {#name, count, parameters, builtin_##name},
    BUILTINS(BUILTIN)
#undef BUILTIN
};

#define MOST 4
enum { ANY = KIND_COUNT, DATA, WHOLE };
static uint8_t wanted[BUILTIN_COUNT][MOST];

static bool starts(const char *text, const char *with)
{
    while (*with != 0 && *text == *with)
        text++, with++;
    return *with == 0 && (*text == ' ' || *text == 0);
}

static uint8_t kind_called(const char *name)
{
    if (starts(name, "any"))
        return ANY;
    if (starts(name, "data"))
        return DATA;
    if (starts(name, "whole"))
        return WHOLE;
    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        if (kind != KIND_INT64 && starts(name, kind_name((enum kind)kind)))
            return (uint8_t)kind;
    return ANY;
}

void builtins_open(void)
{
    for (unsigned number = 0; number < BUILTIN_COUNT; number++) {
        unsigned index = 0;
        for (const char *at = table[number].parameters; *at != 0; at++)
            if (*at == ':')
                wanted[number][index++] = kind_called(at + 1);
    }
}

static bool is_whole(Value v)
{
    if (is_int(v))
        return true;
    return is_double(v) && double_of(v) - double_of(v) == 0 && __builtin_trunc(double_of(v)) == double_of(v);
}

int64_t whole_of(Value v)
{
    if (is_int(v))
        return int_of(v);
    double number = double_of(v);
    return number >= 9223372036854775807.0 ? INT64_MAX : number <= -9223372036854775808.0 ? INT64_MIN : (int64_t)number;
}

static Value misuse(struct vm *vm, uint32_t number, unsigned index, Value found)
{
    const char *at = table[number].parameters;
    while (index > 0)
        index -= *at++ == ' ';
    char name[32];
    size_t size = 0;
    for (; at[size] != ':' && size < sizeof name - 1; size++)
        name[size] = at[size];
    name[size] = 0;
    at += size + 1;
    char kind[32];
    for (size = 0; at[size] != ' ' && at[size] != 0 && size < sizeof kind - 1; size++)
        kind[size] = at[size];
    kind[size] = 0;
    const char *shown = starts(kind, "whole") ? "whole number" : kind;
    bool vowel = starts(shown, "array");
    /* The program has a sign for this one, not a name. */
    const char *called = number == BUILTIN_array_range ? "a[p..q]" : table[number].name;
    return raise_text(vm, "%s: expected %s %s as %s, found %s", called, vowel ? "an" : "a", shown, name,
                      is_double(found) ? "a number with a fraction" : kind_name(kind_of(found)));
}

Value builtin_call(struct vm *vm, uint32_t number, Value *arguments)
{
    unsigned count = table[number].count;
    for (unsigned index = 0; index < count; index++)
        if (arguments[index] == UNDEF && wanted[number][index] != ANY)
            return UNDEF;
    for (unsigned index = 0; index < count; index++) {
        Value argument = arguments[index];
        uint8_t kind = wanted[number][index];
        if (kind == ANY || kind == DATA)
            continue;
        if (kind == WHOLE ? !is_whole(argument) : kind == KIND_NUMBER ? !is_number(argument) : kind_of(argument) != kind)
            return misuse(vm, number, index, argument);
        if (kind == KIND_STRING) {
            struct text *flat = text_flat(vm, argument);
            if (flat == NULL)
                return FAILED;
            arguments[index] = of_object(flat);
        }
    }
    return table[number].call(vm, arguments);
}

Value builtin_kind(struct vm *vm, const Value *arguments) { return text_literal(vm, kind_name(kind_of(arguments[0]))); }

Value builtin_to_text(struct vm *vm, const Value *arguments)
{
    if (is_string(arguments[0]) || is_number(arguments[0]))
        return value_text(vm, arguments[0]);
    return raise_text(vm, "to_text: expected a number or a string, found %v", arguments[0]);
}

/* A string of C, without an end of its own. */
static bool is_called(Value string, const char *name)
{
    const struct text *text = text_of(string);
    size_t size = 0;
    while (name[size] != 0)
        size++;
    return text->head.count == size && memcmp(text->bytes, name, size) == 0;
}

static bool is_case_called(Value found, const char *name) { return kind_of(found) == KIND_CASE && is_called(case_of(found)->name, name); }

/* Whether a value is of a kind: one of values, a number, a whole one, an option or a result. */
static bool is_as_wanted(Value wanted, Value found)
{
    if (is_called(wanted, kind_name(kind_of(found))))
        return true;
    if (is_called(wanted, "option"))
        return found == NIL || is_case_called(found, "some");
    if (is_called(wanted, "result"))
        return is_case_called(found, "ok") || is_case_called(found, "error");
    if (is_called(wanted, "whole number"))
        return is_number(found) && is_whole(found);
    return is_number(found) && is_called(wanted, "number");
}

Value builtin_expect(struct vm *vm, const Value *arguments)
{
    if (is_as_wanted(arguments[1], arguments[3]))
        return NIL;
    char first = text_size(arguments[1]) > 0 ? text_of(arguments[1])->bytes[0] : 0;
    const char *article = first == 'a' || first == 'o' ? "an" : "a";
    bool fraction = is_double(arguments[3]) && is_called(arguments[1], "whole number");
    const char *found = fraction ? "a number with a fraction" : kind_name(kind_of(arguments[3]));
    return raise_text(vm, "%t: expected %s %t as %t, found %s", arguments[0], article, arguments[1], arguments[2], found);
}

Value builtin_identical(struct vm *vm, const Value *arguments)
{
    (void)vm;
    return of_bool(arguments[0] == arguments[1]);
}

/* A double without fraction: an int if it fits, as numbers of Mix are. */
static Value whole(struct vm *vm, double number)
{
    if (number >= -9007199254740992.0 && number <= 9007199254740992.0)
        return value_of_int(vm, (int64_t)number);
    return of_double(number);
}

#define ROUNDING(name, expression) \
    Value builtin_number_##name(struct vm *vm, const Value *arguments) \
    { \
        if (is_int(arguments[0])) \
            return arguments[0]; \
        double x = double_of(arguments[0]); \
        return whole(vm, expression); \
    }
ROUNDING(trunc, __builtin_trunc(x))
ROUNDING(floor, __builtin_floor(x))
ROUNDING(ceil, __builtin_ceil(x))
ROUNDING(round, __builtin_trunc(x) + (double)((x - __builtin_trunc(x) >= 0.5) - (x - __builtin_trunc(x) <= -0.5)))

Value builtin_number_abs(struct vm *vm, const Value *arguments)
{
    if (is_double(arguments[0]))
        return of_double(__builtin_fabs(double_of(arguments[0])));
    return int_of(arguments[0]) < 0 ? value_neg(vm, arguments[0]) : arguments[0];
}

Value builtin_number_sqrt(struct vm *vm, const Value *arguments)
{
    (void)vm;
    return of_double(__builtin_sqrt(number_of(arguments[0])));
}

static bool divides(struct vm *vm, const Value *arguments, int64_t *left, int64_t *right)
{
    *left = whole_of(arguments[0]);
    *right = whole_of(arguments[1]);
    if (*right == 0)
        raise_text(vm, "expected a divisor other than 0");
    return *right != 0;
}

Value builtin_number_div_int(struct vm *vm, const Value *arguments)
{
    int64_t left, right;
    if (!divides(vm, arguments, &left, &right))
        return FAILED;
    return left == INT64_MIN && right == -1 ? of_double(9223372036854775808.0) : value_of_int(vm, left / right);
}

Value builtin_number_rem_int(struct vm *vm, const Value *arguments)
{
    int64_t left, right;
    if (!divides(vm, arguments, &left, &right))
        return FAILED;
    return right == -1 ? of_small(0) : value_of_int(vm, left % right);
}

Value builtin_number_mod_int(struct vm *vm, const Value *arguments)
{
    int64_t left, right;
    if (!divides(vm, arguments, &left, &right))
        return FAILED;
    int64_t rest = right == -1 ? 0 : left % right;
    return value_of_int(vm, rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest);
}

Value builtin_number_mod(struct vm *vm, const Value *arguments)
{
    (void)vm;
    double right = number_of(arguments[1]), rest = remainder_of(number_of(arguments[0]), right);
    return of_double(rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest);
}

Value builtin_number_parse(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    int64_t number;
    double real;
    charge(vm, text->head.count);
    switch (number_parse(text->bytes, text->head.count, &number, &real)) {
    case IS_INT: return value_of_int(vm, number);
    case IS_DOUBLE: return of_double(real);
    default: return UNDEF;
    }
}

Value builtin_number_is_int(struct vm *vm, const Value *arguments)
{
    (void)vm;
    double number = number_of(arguments[0]);
    return of_bool(is_int(arguments[0]) || (is_whole(arguments[0]) && number >= -9223372036854775808.0 && number < 9223372036854775808.0));
}

#define BITS(name, operator) \
    Value builtin_bit_##name(struct vm *vm, const Value *arguments) \
    { \
        (void)vm; \
        return of_small((int64_t)((uint32_t)whole_of(arguments[0]) operator(uint32_t) whole_of(arguments[1]))); \
    }
BITS(and, &)
BITS(or, |)
BITS(xor, ^)

Value builtin_case_name(struct vm *vm, const Value *arguments)
{
    (void)vm;
    return case_of(arguments[0])->name;
}

Value builtin_case_make(struct vm *vm, const Value *arguments)
{
    struct tagged *made = heap_new(vm, CASE, sizeof(struct tagged));
    if (made == NULL)
        return FAILED;
    made->name = arguments[0];
    made->argument = arguments[1];
    return of_object(made);
}

Value builtin_format_words(struct vm *vm, const Value *arguments)
{
    struct buffer words = {0};
    Value result = FAILED;
    if (codec_encode(vm, &words, arguments[0]))
        result = text_new(vm, BINARY, words.bytes, words.size);
    buffer_free(vm, &words);
    return result;
}

Value builtin_parse_words(struct vm *vm, const Value *arguments)
{
    const struct text *binary = text_of(arguments[0]);
    return codec_decode(vm, binary->bytes, binary->head.count, false);
}
