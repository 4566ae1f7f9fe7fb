/* The C half of the wasm2c engine: shared declarations.
 *
 * THREADS  A function runs with the GIL unless its comment says "no GIL". Python objects are touched with it only.
 */
#ifndef MIX_WASM2C_NATIVE_H
#define MIX_WASM2C_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mix_module.h"

/* ---- regions: the linear memories ------------------------------------------------------------------------ */

/* What one instance may have in all its memories together. Written by the thread that runs the instance.
 * The purse is shared by the instances of a run, in several threads: the bytes left, and whether any were refused. */
typedef struct {
    size_t used, limit;
    bool refused;   /* a growth was refused since the outermost call began */
    int64_t *purse; /* all of `used` is taken from it; NULL for none */
} Account;

bool purse_take(int64_t *purse, size_t more); /* no GIL needed; false if that is too much, and nothing is taken */
void purse_give_back(int64_t *purse, size_t less);

/* One linear memory: address space for all that the instance may have, of which the first `size` bytes are
 * accessible. It never moves, and lives until the last of instance and memoryviews lets go. */
typedef struct {
    atomic_int references;
    uint8_t *base;
    atomic_size_t size;
    size_t capacity;
    const void *key; /* what the module's code calls it by */
} Region;

/* What is not zero in a memory, in rising order. */
typedef struct { uint64_t offset, size; } Run;

Region *region_new(Account *account, const void *key, size_t size, size_t most); /* no GIL needed; NULL if refused */
bool region_grow(Region *region, Account *account, size_t size);                 /* the same */
/* The number of runs, in a new array for `free`; SIZE_MAX when there is no room for it. No GIL needed. */
size_t region_runs(const Region *region, Run **runs);
size_t region_in_use(void); /* bytes of all regions of the process */
size_t region_mappings(const Region *region); /* mappings of the process that it takes */
void region_release(Region *region);          /* no GIL needed; NULL is nothing */
/* Zeroes [from, to): by writing what is small, or as long as there is budget, which goes down; else by giving pages back. */
void region_clear(Region *region, size_t from, size_t to, size_t *budget);
PyObject *region_view(Region *region); /* a memoryview at the present size */

/* ---- Python types and errors ----------------------------------------------------------------------------- */

extern PyTypeObject LinkedType, InstanceType, LibraryType, MemoryType;

typedef struct {
    PyObject *engine_error, *guest_error, *limit_exceeded; /* mixkit.errors */
    PyObject *trap_error;                                  /* callable(what, names, frames, more) -> GuestError */
} Errors;
extern Errors errors;

void raise_limit(const char *name, size_t value, const char *unit, const char *detail);

/* ---- libraries: translated modules ------------------------------------------------------------------------ */

typedef struct { uintptr_t address; uint32_t index; } Place;

typedef struct {
    PyObject_HEAD
    void *handle;
    int file;
    const mix_module *module;
    PyObject *names; /* callable(function index) -> its name for people */
    Place *places; /* where its functions begin, in rising order */
    size_t place_count;
} Library;

/* The index of the function that begins there; false if it is none of the module's. No GIL needed. */
bool library_function(const Library *library, uintptr_t address, uint32_t *index);

extern const mix_runtime instance_runtime;

/* ---- linked modules -------------------------------------------------------------------------------------- */

#define MAX_PARAMS 32
#define MAX_MEMORIES 16

/* Types are written as one letter each: i32 'i', i64 'I', f32 'f', f64 'd'; other types '?', which calls refuse. */
typedef struct {
    char params[MAX_PARAMS + 1];
    char result; /* 0 for none; '*' for more than one */
    PyObject *name;
} Function;

typedef struct {
    PyObject *call, *label;
    size_t arity;
    char params[MAX_PARAMS + 1];
    char result;
} HostCall;

/* A module joined to its host functions: all that instances have in common. */
typedef struct {
    PyObject_HEAD
    Library *library;
    HostCall *hosts;
    size_t host_count;
    Function *functions;
    size_t function_count;
    PyObject *slots;   /* dict: export name -> index in functions */
    size_t memory_count;
    Py_ssize_t memory; /* which memory is exported as "memory"; -1 for none */
    bool starts;       /* the slot after the last function is the start function */
    bool restorable;
    PyObject *initial; /* state right after instantiation; NULL until the first instance */
} Linked;

#endif
