/* What a compiled module and the host know of each other: the only header that both are compiled with.
 *
 * An instance of the module stands in memory right behind a `mix_host`, so that the code finds its host from the
 * pointer that every function of wasm2c has anyway.
 */
#ifndef MIX_MODULE_H
#define MIX_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIX_ABI 1 /* to be raised with every change here */

typedef union {
    uint32_t i32;
    uint64_t i64;
    float f32;
    double f64;
} mix_value;

/* Written by the host, read by the code at the head of every loop and at the start of every function. */
typedef struct {
    /* The lowest address that the stack may reach; the highest one there is once the guest is to stop. */
    _Alignas(64) volatile uintptr_t lowest;
    void *instance;
} mix_host;

_Static_assert(sizeof(mix_host) == 64, "mix_host");

enum {
    MIX_STACK_OVERFLOW = 1,
    MIX_MEMORY_OUT_OF_BOUNDS,
    MIX_TABLE_OUT_OF_BOUNDS,
    MIX_CALL_TO_NULL,
    MIX_BAD_SIGNATURE,
    MIX_INTEGER_OVERFLOW,
    MIX_DIVISION_BY_ZERO,
    MIX_BAD_CONVERSION,
    MIX_UNREACHABLE,
    MIX_INTERRUPTED,
    MIX_NULL_REFERENCE,
    MIX_NO_ROOM, /* the system has no more */
};

/* What the code asks of the host. It knows by the thread which instance is running. */
typedef struct {
    __attribute__((noreturn)) void (*trap)(int what);
    __attribute__((noreturn)) void (*stop)(void); /* `lowest` was passed */
    void (*call)(mix_host *host, uint32_t import, mix_value *values); /* arguments in, the result out in values[0] */
    /* Sizes in bytes; `key` tells the memories of an instance apart. NULL or false when refused. */
    uint8_t *(*memory)(const void *key, uint64_t size, uint64_t most);
    bool (*grow)(const void *key, uint64_t size);
    bool (*elements)(uint64_t more); /* of tables */
} mix_runtime;

typedef void (*mix_call)(void *instance, mix_value *values);

typedef struct {
    size_t offset; /* in the instance */
    size_t size;
} mix_global;

typedef struct {
    uint32_t abi;
    size_t size; /* of an instance */
    void (*instantiate)(void *instance, mix_host *host);
    void (*release)(void *instance);
    uint64_t (*grow)(void *instance, uint32_t memory, uint64_t pages); /* old size in pages, or UINT64_MAX */
    size_t call_count;
    const mix_call *calls; /* by slot, which the host has chosen; NULL for what cannot be called from outside */
    size_t global_count;
    const mix_global *globals;
    size_t function_count;
    void *const *functions; /* by index without the imports, for backtraces */
    const mix_runtime **runtime; /* to be set by the host before anything is called */
} mix_module;

#endif
