/* Loading: the container, its tables, and the verifier over all functions. */
#include "load.h"

#include "array.h"
#include "codec.h"
#include "intern.h"
#include "text.h"

enum section { CONSTANTS = 1, FUNCTIONS, CODE, FFIS, FIRST_OF_HOST = 16 };

struct part {
    const char *bytes;
    size_t size;
};

static uint32_t word(const char *bytes, size_t index)
{
    uint32_t found;
    memcpy(&found, bytes + index * 4, 4);
    return found;
}

static bool bad(struct vm *vm, const char *what)
{
    raise_text(vm, "QCode: %s", what);
    return false;
}

/* Where the machine's sections are; false if the container is broken. */
static bool read_sections(struct vm *vm, const char *bytes, size_t size, struct part *parts)
{
    if (size < 40 || memcmp(bytes, "QCOD", 4) != 0)
        return bad(vm, "expected the bytes QCOD at the start");
    if (word(bytes, 1) != QCODE_VERSION) {
        raise_text(vm, word(bytes, 1) < QCODE_VERSION ? "QCode: expected version %d, found %d: compile the source again"
                                                      : "QCode: expected version %d, found %d: it is of a newer mixkit; take that, "
                                                        "or compile the source again with this one",
                   (int64_t)QCODE_VERSION, (int64_t)word(bytes, 1));
        return false;
    }
    if (word(bytes, 2) != 2)
        return bad(vm, "expected an executable: link the library");
    if (word(bytes, 3) != size)
        return bad(vm, "its size is not what the header says");
    if (word(bytes, 7) != 0 || word(bytes, 8) != 0 || word(bytes, 9) != 0)
        return bad(vm, "the last words of the header are not 0");
    uint32_t count = word(bytes, 4), last = 0;
    if (count > (size - 40) / 12)
        return bad(vm, "it has more sections than bytes for them");
    uint64_t end = 40 + (uint64_t)count * 12;
    for (uint32_t index = 0; index < count; index++) {
        uint32_t tag = word(bytes, 10 + (size_t)index * 3), start = word(bytes, 11 + (size_t)index * 3);
        uint32_t length = word(bytes, 12 + (size_t)index * 3);
        if (tag <= last || start % 8 != 0 || start < end || (uint64_t)start + length > size)
            return bad(vm, "a section overlaps, is out of order, or reaches beyond the end");
        if (tag > FFIS && tag < FIRST_OF_HOST)
            return bad(vm, "a section that this version does not know");
        if (tag <= FFIS)
            parts[tag] = (struct part){bytes + start, length};
        last = tag;
        end = (uint64_t)start + length;
    }
    for (unsigned tag = CONSTANTS; tag <= FFIS; tag++)
        if (parts[tag].bytes == NULL)
            return bad(vm, "a section is missing");
    return true;
}

/* A table outside of the heap, which stays. */
static void *new_table(struct vm *vm, size_t count, size_t size)
{
    size_t units;
    return heap_take(vm, count * size + 8, &units);
}

static bool read_constants(struct vm *vm, struct part part)
{
    Value constants = codec_decode(vm, part.bytes, part.size, false);
    if (constants == FAILED)
        return false;
    if (!is_array(constants))
        return bad(vm, "expected an array of constants");
    uint32_t count = array_count(constants);
    vm->code.constants = new_table(vm, (size_t)count + 1, sizeof(Value));
    vm->code.keys = new_table(vm, (size_t)count + 1, 1);
    if (vm->code.constants == NULL || vm->code.keys == NULL)
        return false;
    memset(vm->code.keys, KEYS_UNKNOWN, count);
    for (uint32_t index = 0; index < count; index++)
        vm->code.constants[index] = array_get(constants, index);
    vm->code.constant_count = count;
    if (!intern_open(vm))
        return false;
    /* Once more: what stands inside of constants are those strings then. */
    constants = codec_decode(vm, part.bytes, part.size, false);
    if (constants == FAILED)
        return false;
    for (uint32_t index = 0; index < count; index++)
        if (!is_string(vm->code.constants[index]))
            vm->code.constants[index] = array_get(constants, index);
    return true;
}

static bool is_name(const struct vm *vm, uint32_t index)
{
    return index < vm->code.constant_count && is_string(vm->code.constants[index]);
}

static bool read_functions(struct vm *vm, struct part part, uint32_t code_count)
{
    uint32_t count = (uint32_t)(part.size / 20), end = 0;
    if (part.size % 20 != 0 || count == 0 || count > MAX_FUNCTIONS)
        return bad(vm, "expected 1 to 65536 functions of 20 bytes");
    vm->code.functions = new_table(vm, count, sizeof(struct function));
    if (vm->code.functions == NULL)
        return false;
    for (uint32_t index = 0; index < count; index++) {
        const char *at = part.bytes + (size_t)index * 20;
        struct function *function = &vm->code.functions[index];
        *function = (struct function){
            .name = word(at, 0),
            .params = (uint16_t)word(at, 1),
            .captures = (uint16_t)(word(at, 1) >> 16),
            .registers = word(at, 2),
            .start = word(at, 3),
            .count = word(at, 4),
        };
        if (!is_name(vm, function->name))
            return bad(vm, "a function's name is no string");
        if (function->params > MAX_PARAMS || function->registers > MAX_REGISTERS || function->params > function->registers)
            return bad(vm, "a function has too many parameters or registers");
        if (function->start != end || function->count == 0 || function->count > code_count - end)
            return bad(vm, "a function's code is empty, has a gap before it, or reaches beyond the end");
        end += function->count;
    }
    if (end != code_count)
        return bad(vm, "there is code that belongs to no function");
    vm->code.function_count = count;
    return true;
}

static bool read_code(struct vm *vm, struct part part)
{
    uint32_t count = (uint32_t)(part.size / 8);
    if (part.size % 8 != 0 || count > MAX_CODE - 4)
        return bad(vm, "expected instructions of 8 bytes");
    struct instruction *at = new_table(vm, (size_t)count + 4, sizeof(struct instruction));
    if (at == NULL)
        return false;
    memcpy(at, part.bytes, part.size);
    /* Where the first function of a coroutine returns to, and where one does that could not be called as a tail. */
    at[count] = at[count + 2] = (struct instruction){.op = OP_CALL};
    at[count + 1] = (struct instruction){.op = OP_HALT};
    at[count + 3] = (struct instruction){.op = OP_RETURN};
    vm->code.at = at;
    vm->code.count = count;
    vm->code.halt = count + 1;
    vm->code.give_back = count + 3;
    return true;
}

static bool read_ffis(struct vm *vm, struct part part)
{
    uint32_t count = (uint32_t)(part.size / 8);
    if (part.size % 8 != 0)
        return bad(vm, "expected FFIs of 8 bytes");
    vm->code.ffis = new_table(vm, count, sizeof(struct ffi));
    if (vm->code.ffis == NULL)
        return false;
    for (uint32_t index = 0; index < count; index++) {
        struct ffi *ffi = &vm->code.ffis[index];
        *ffi = (struct ffi){.name = word(part.bytes, (size_t)index * 2), .params = word(part.bytes, (size_t)index * 2 + 1)};
        if (!is_name(vm, ffi->name) || ffi->params > MAX_PARAMS)
            return bad(vm, "an FFI's name is no string, or it has too many parameters");
    }
    vm->code.ffi_count = count;
    return true;
}

static bool make_closures(struct vm *vm)
{
    uint32_t count = vm->code.function_count;
    Value *closures = new_table(vm, count, sizeof(Value));
    if (closures == NULL)
        return false;
    for (uint32_t index = 0; index < count; index++)
        closures[index] = UNDEF;
    vm->code.closures = closures;
    for (uint32_t index = 0; index < count; index++) {
        struct object *closure = heap_new(vm, CLOSURE, sizeof(struct object));
        if (closure == NULL)
            return false;
        closure->aux = (uint16_t)index;
        closures[index] = of_object(closure);
    }
    return true;
}

static bool make_globals(struct vm *vm)
{
    size_t count = vm->code.global_count;
    struct values *globals = heap_new(vm, SLOTS, sizeof(struct values) + count * sizeof(Value));
    struct values *pending = heap_new(vm, SLOTS, sizeof(struct values) + 8 * sizeof(Value));
    if (globals == NULL || pending == NULL)
        return false;
    globals->head.count = (uint32_t)count;
    for (size_t index = 0; index < count; index++)
        globals->at[index] = UNDEF;
    pending->head.count = 8;
    for (size_t index = 0; index < 8; index++)
        pending->at[index] = NIL;
    vm->globals = of_object(globals);
    vm->pending = of_object(pending);
    vm->ok_name = text_literal(vm, "ok");
    vm->error_name = text_literal(vm, "error");
    return vm->ok_name != FAILED && vm->error_name != FAILED;
}

Value load(struct vm *vm, const char *bytes, size_t size)
{
    struct part parts[FFIS + 1] = {{0}};
    if (!read_sections(vm, bytes, size, parts) || !read_constants(vm, parts[CONSTANTS]) || !read_code(vm, parts[CODE]) ||
        !read_functions(vm, parts[FUNCTIONS], vm->code.count) || !read_ffis(vm, parts[FFIS]))
        return FAILED;
    vm->code.global_count = word(bytes, 5);
    vm->code.init = word(bytes, 6);
    if (vm->code.global_count > MAX_GLOBALS)
        return raise_text(vm, "QCode: expected at most %d globals", (int64_t)MAX_GLOBALS);
    if (vm->code.init != NO_FUNCTION &&
        (vm->code.init >= vm->code.function_count || vm->code.functions[vm->code.init].params != 0 ||
         vm->code.functions[vm->code.init].captures != 0))
        return raise_text(vm, "QCode: expected a function without parameters and captures for init");
    for (uint32_t index = 0; index < vm->code.function_count; index++)
        if (!verify(vm, &vm->code.functions[index]))
            return FAILED;
    for (uint32_t index = 0; index < vm->code.function_count; index++)
        fuse(vm, &vm->code.functions[index]);
    if (!make_closures(vm) || !make_globals(vm))
        return FAILED;
    vm->loaded = true;
    heap_collect(vm, true);
    return vm->heap.dead ? failed(vm, FAULT_MEMORY) : NIL;
}
