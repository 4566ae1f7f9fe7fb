/* The verifier: after it, the interpreter trusts every operand. */
#include "array.h"
#include "load.h"
#include "text.h"

static const struct {
    const char *name;
    uint8_t kinds[3];
} operations[] = {
#define OPCODE(name, text, a, b, c) {text, {a, b, c}},
    OPCODES(OPCODE)
#undef OPCODE
};

static const uint8_t builtin_params[] = {
#define BUILTIN(name, params, names) params,
    BUILTINS(BUILTIN)
#undef BUILTIN
};

/* What is being looked at, for messages. */
struct place {
    struct vm *vm;
    const struct function *function;
    uint32_t at;
    const struct instruction *instruction;
};

static bool bad(const struct place *place, const char *what)
{
    const struct vm *vm = place->vm;
    raise_text(place->vm, "function %d, instruction %d (%s): %s", (int64_t)(place->function - vm->code.functions),
               (int64_t)place->at, place->instruction->op < OPCODE_COUNT ? operations[place->instruction->op].name : "?", what);
    return false;
}

static bool is_constant_string(const struct vm *vm, uint32_t index)
{
    return index < vm->code.constant_count && is_string(vm->code.constants[index]);
}

static bool ascends(Value keys)
{
    if (!is_array(keys))
        return false;
    for (uint32_t index = 0; index < array_count(keys); index++) {
        Value key = array_get(keys, index);
        if (!is_string(key))
            return false;
        if (index > 0 && text_order(text_of(array_get(keys, index - 1)), text_of(key)) >= 0)
            return false;
    }
    return true;
}

/* Looked at once for all instructions that have it: there may be as many as there are keys. */
static bool are_keys(struct vm *vm, uint32_t index)
{
    if (index >= vm->code.constant_count)
        return false;
    uint8_t *known = &vm->code.keys[index];
    if (*known == KEYS_UNKNOWN)
        *known = ascends(vm->code.constants[index]) ? KEYS_RIGHT : KEYS_WRONG;
    return *known == KEYS_RIGHT;
}

/* Whether a jump by so much stays in the function. */
static bool inside(const struct place *place, int64_t by)
{
    int64_t target = (int64_t)place->at + 1 + by;
    return target >= 0 && target < place->function->count;
}

static bool ends(uint16_t op)
{
    return op == OP_RETURN || op == OP_JUMP || op == OP_TAIL || op == OP_TAIL_FUNC || op == OP_RAISE || op == OP_RAISE_AGAIN || op == OP_NO_MATCH;
}

/* The jumps that follow a table. */
static bool check_table(const struct place *place, uint32_t count)
{
    if ((uint64_t)place->at + count + 1 >= place->function->count)
        return bad(place, "the table reaches beyond the function");
    for (uint32_t index = 1; index <= count; index++)
        if (place->instruction[index].op != OP_JUMP)
            return bad(place, "expected as many jumps as keys after a table");
    return true;
}

static bool check(const struct place *place)
{
    struct vm *vm = place->vm;
    const struct code *code = &vm->code;
    const struct function *function = place->function;
    const struct instruction *at = place->instruction;
    if (at->op >= OPCODE_COUNT)
        return bad(place, "there is no instruction of that number");
    const uint8_t *kinds = operations[at->op].kinds;
    const uint16_t fields[3] = {at->a, at->b, at->c};
    uint32_t wide = (uint32_t)wide_of(at);
    /* A run of registers whose length the operand after it says. */
    bool window = false, run = false;
    uint32_t start = 0, registers = function->registers;
    for (unsigned index = 0; index < 3; index++) {
        uint32_t field = fields[index], count = UINT32_MAX;
        switch ((enum operand)kinds[index]) {
        case OPERAND_NONE:
            if (field != 0)
                return bad(place, "a field without an operand is not 0");
            break;
        case OPERAND_OUT:
        case OPERAND_IN:
        case OPERAND_INOUT:
            if (field >= registers)
                return bad(place, "a register that the function does not have");
            break;
        case OPERAND_CALL:
            window = true;
            start = field;
            if ((uint64_t)field + 2 > registers)
                return bad(place, "a call window that reaches beyond the registers");
            break;
        case OPERAND_FIRST:
            run = true;
            start = field;
            break;
        case OPERAND_COUNT:
            count = at->op == OP_MAP ? field * 2 : field;
            if (window && field > MAX_PARAMS)
                return bad(place, "more arguments than a call may have");
            break;
        case OPERAND_CONST:
            if (field >= code->constant_count)
                return bad(place, "a constant that is not there");
            break;
        case OPERAND_STRING:
            if (!is_constant_string(vm, field))
                return bad(place, "expected a constant that is a string");
            break;
        case OPERAND_KEYS:
            if (!are_keys(vm, field))
                return bad(place, "expected a constant that is an array of ascending strings");
            count = array_count(code->constants[field]);
            if (at->op == OP_JUMP_TABLE && !check_table(place, count))
                return false;
            break;
        case OPERAND_FUNC:
            if (field >= code->function_count)
                return bad(place, "a function that is not there");
            if (!run && code->functions[field].captures != 0)
                return bad(place, "expected a function that captures nothing");
            count = run ? code->functions[field].captures : code->functions[field].params;
            break;
        case OPERAND_INT:
        case OPERAND_SLOT:
        case OPERAND_WIDE_INT:
        case OPERAND_WIDE: break;
        case OPERAND_JUMP:
            if (!inside(place, (int16_t)field))
                return bad(place, "a jump out of the function");
            break;
        case OPERAND_CAPTURE:
            if (field >= function->captures)
                return bad(place, "a captured value that the function does not have");
            break;
        case OPERAND_LITERAL:
            if (field > 4)
                return bad(place, "there is no literal of that number");
            break;
        case OPERAND_KIND:
            if (field >= KIND_COUNT || field == KIND_INT64)
                return bad(place, "there is no kind of that number");
            break;
        case OPERAND_BUILTIN:
            if (field >= BUILTIN_COUNT)
                return bad(place, "there is no built-in of that number");
            count = builtin_params[field];
            break;
        case OPERAND_FFI:
            if (field >= code->ffi_count)
                return bad(place, "an FFI that is not there");
            count = code->ffis[field].params;
            break;
        case OPERAND_WIDE_CONST:
            if (wide >= code->constant_count)
                return bad(place, "a constant that is not there");
            break;
        case OPERAND_WIDE_FUNC:
            if (wide >= code->function_count || code->functions[wide].captures != 0)
                return bad(place, "expected a function that captures nothing");
            break;
        case OPERAND_WIDE_JUMP:
            if (!inside(place, wide_of(at)))
                return bad(place, "a jump out of the function");
            break;
        case OPERAND_GLOBAL:
            if (wide >= code->global_count)
                return bad(place, "a global that is not there");
            break;
        }
        if (count != UINT32_MAX && (window || run) && (uint64_t)start + (window ? 2 : 0) + count > registers)
            return bad(place, "registers that reach beyond those of the function");
    }
    if (at->op == OP_SELF && function->captures == 0)
        return bad(place, "the function captures nothing, so it need not be a closure");
    return true;
}

bool verify(struct vm *vm, const struct function *function)
{
    struct place place = {.vm = vm, .function = function};
    for (; place.at < function->count; place.at++) {
        place.instruction = vm->code.at + function->start + place.at;
        if (!check(&place))
            return false;
    }
    place.at--;
    return ends(place.instruction->op) || bad(&place, "the function's last instruction goes on");
}
