/* Loaded code: what the container's sections are once they are checked. See docs/qcode.md. */
#ifndef MIXRT_CODE_H
#define MIXRT_CODE_H

#include "builtins.h"
#include "opcodes.h"
#include "value.h"

/* Raised when code of before is not what it was: with what instructions and built-ins do, and the sections. */
#define QCODE_VERSION 2

enum opcode {
#define OPCODE(name, text, a, b, c) OP_##name,
    OPCODES(OPCODE)
#undef OPCODE
        OPCODE_COUNT,
    /* Instructions of the machine itself, which loaded code cannot have. */
    OP_HALT = OPCODE_COUNT,
    /* What stands in place of an instruction that often begins a run of others, see fuse.c. */
    OP_ADD_STORE,
    OP_SUB_STORE,
    OP_MUL_STORE,
    OP_ADD_INT_STORE,
    OP_JUMP_BACK_LT,
};

enum builtin_number {
#define BUILTIN(name, count, parameters) BUILTIN_##name,
    BUILTINS(BUILTIN)
#undef BUILTIN
        BUILTIN_COUNT,
};

/* Kinds of operands: what the verifier makes of a field. */
enum operand {
    OPERAND_NONE, /* the field is 0 */
    OPERAND_OUT,
    OPERAND_IN,
    OPERAND_INOUT,
    OPERAND_CALL,
    OPERAND_FIRST,
    OPERAND_COUNT,
    OPERAND_CONST,
    OPERAND_STRING,
    OPERAND_KEYS,
    OPERAND_FUNC,
    OPERAND_INT,
    OPERAND_JUMP,
    OPERAND_CAPTURE,
    OPERAND_SLOT,
    OPERAND_LITERAL,
    OPERAND_KIND,
    OPERAND_BUILTIN,
    OPERAND_FFI,
    OPERAND_WIDE_CONST,
    OPERAND_WIDE_FUNC,
    OPERAND_WIDE_INT,
    OPERAND_WIDE_JUMP,
    OPERAND_GLOBAL,
    OPERAND_WIDE, /* the upper half of the field before it */
};

/* One instruction as it lies in memory. */
struct instruction {
    uint16_t op, a, b, c;
};

struct function {
    uint32_t name; /* index of a constant */
    uint16_t params, captures;
    uint32_t registers;
    uint32_t start, count; /* of its instructions */
};

struct ffi {
    uint32_t name, params;
};

struct code {
    struct instruction *at;
    uint32_t count;
    struct function *functions;
    uint32_t function_count;
    Value *constants;
    uint32_t constant_count;
    uint8_t *keys; /* of each constant: whether it is an array of ascending strings, once that was asked */
    uint32_t *interned; /* see intern.c */
    uint32_t intern_mask;
    Value *closures; /* of the functions that capture nothing */
    struct ffi *ffis;
    uint32_t ffi_count;
    uint32_t global_count, init;
    /* Instructions of the machine, behind those of the functions. */
    uint32_t halt, give_back;
};

#define MAX_PARAMS 250
#define MAX_REGISTERS 65000
#define MAX_CODE (1u << 24)
#define MAX_FUNCTIONS 65536u
#define MAX_GLOBALS (1u << 20)
enum keys { KEYS_UNKNOWN, KEYS_RIGHT, KEYS_WRONG };
#define NO_FUNCTION UINT32_MAX

static inline int32_t wide_of(const struct instruction *at) { return (int32_t)(at->b | (uint32_t)at->c << 16); }

#endif
