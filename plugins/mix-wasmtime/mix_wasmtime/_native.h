/* The C half of the Wasmtime engine: shared declarations.
 *
 * Wasmtime itself comes from the `wasmtime` wheel. Its shared library is found at run time, so that building this
 * extension needs no headers of it; the prototypes below are ours, for the C API of Wasmtime 50.
 *
 * THREADS  A function runs with the GIL unless its comment says "no GIL". Python objects are touched with it only.
 */
#ifndef MIX_WASMTIME_NATIVE_H
#define MIX_WASMTIME_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the C API of Wasmtime ------------------------------------------------------------------------------ */

typedef struct wasm_config_t wasm_config_t;
typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasm_valtype_t wasm_valtype_t;
typedef struct wasm_functype_t wasm_functype_t;
typedef struct wasm_memorytype_t wasm_memorytype_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasm_frame_t wasm_frame_t;
typedef struct wasmtime_error_t wasmtime_error_t;
typedef struct wasmtime_store_t wasmtime_store_t;
typedef struct wasmtime_context_t wasmtime_context_t;
typedef struct wasmtime_caller_t wasmtime_caller_t;
typedef struct wasmtime_module_t wasmtime_module_t;
typedef struct wasmtime_linker_t wasmtime_linker_t;
typedef struct wasmtime_instance_pre_t wasmtime_instance_pre_t;
typedef struct wasmtime_call_future_t wasmtime_call_future_t;

typedef struct { size_t size; char *data; } wasm_byte_vec_t;
typedef struct { size_t size; wasm_valtype_t **data; } wasm_valtype_vec_t;
typedef struct { size_t size; wasm_frame_t **data; } wasm_frame_vec_t;

typedef struct { uint64_t store_id; void *private_; } wasmtime_func_t;
typedef struct { uint64_t store_id; uint32_t private_1; uint32_t private_2, private_3; } wasmtime_global_t;
typedef struct { struct { uint64_t store_id; uint32_t private_1; } first; uint32_t private_2; } wasmtime_memory_t;
typedef struct { uint64_t store_id; size_t private_; } wasmtime_instance_t;

enum { EXTERN_FUNC = 0, EXTERN_GLOBAL = 1, EXTERN_TABLE = 2, EXTERN_MEMORY = 3 };

typedef struct {
    uint8_t kind;
    union {
        wasmtime_func_t func;
        wasmtime_global_t global;
        wasmtime_memory_t memory;
        uint8_t room[24];
        void *align;
    } of;
} wasmtime_extern_t;

typedef union {
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
    uint8_t v128[16];
    void *funcref;
} wasmtime_val_raw_t;

typedef struct {
    uint8_t kind; /* 0 i32, 1 i64, 2 f32, 3 f64, 4 v128 */
    union {
        wasmtime_val_raw_t raw;
        uint8_t room[24];
        void *align;
    } of;
} wasmtime_val_t;

_Static_assert(sizeof(wasmtime_func_t) == 16, "wasmtime_func_t");
_Static_assert(sizeof(wasmtime_global_t) == 24, "wasmtime_global_t");
_Static_assert(sizeof(wasmtime_memory_t) == 24, "wasmtime_memory_t");
_Static_assert(sizeof(wasmtime_extern_t) == 32, "wasmtime_extern_t");
_Static_assert(sizeof(wasmtime_val_raw_t) == 16, "wasmtime_val_raw_t");
_Static_assert(sizeof(wasmtime_val_t) == 32, "wasmtime_val_t");

typedef struct {
    void *env;
    uint8_t *(*get_memory)(void *env, size_t *byte_size, size_t *byte_capacity);
    wasmtime_error_t *(*grow_memory)(void *env, size_t new_size);
    void (*finalizer)(void *env);
} wasmtime_linear_memory_t;

typedef struct {
    void *env;
    wasmtime_error_t *(*new_memory)(void *env, const wasm_memorytype_t *type, size_t minimum, size_t maximum,
                                    size_t reserved, size_t guard, wasmtime_linear_memory_t *memory);
    void (*finalizer)(void *env);
} wasmtime_memory_creator_t;

typedef wasm_trap_t *(*wasmtime_func_unchecked_callback_t)(void *env, wasmtime_caller_t *caller,
                                                           wasmtime_val_raw_t *values, size_t count);
typedef wasmtime_error_t *(*wasmtime_epoch_callback_t)(wasmtime_context_t *context, void *data, uint64_t *delta,
                                                       uint8_t *kind);


/* What has to be in place before Wasmtime waits for a host function: `callback` answers whether it need not any more. */
typedef struct {
    bool (*callback)(void *env);
    void *env;
    void (*finalizer)(void *env);
} wasmtime_async_continuation_t;
typedef void (*wasmtime_func_async_callback_t)(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args,
                                               size_t arg_count, wasmtime_val_t *results, size_t result_count,
                                               wasm_trap_t **trap, wasmtime_async_continuation_t *continuation);

enum { UPDATE_DEADLINE_CONTINUE = 0, UPDATE_DEADLINE_YIELD = 1 };

/* X(result, name, arguments) */
#define WASMTIME_FUNCTIONS(X)                                                                                     \
    X(void, wasm_byte_vec_delete, (wasm_byte_vec_t *))                                                            \
    X(wasm_valtype_t *, wasm_valtype_new, (uint8_t kind))                                                         \
    X(void, wasm_valtype_vec_new_uninitialized, (wasm_valtype_vec_t *, size_t))                                   \
    X(wasm_functype_t *, wasm_functype_new, (wasm_valtype_vec_t * params, wasm_valtype_vec_t * results))          \
    X(void, wasm_functype_delete, (wasm_functype_t *))                                                            \
    X(void, wasm_trap_delete, (wasm_trap_t *))                                                                    \
    X(void, wasm_trap_message, (const wasm_trap_t *, wasm_byte_vec_t *))                                          \
    X(void, wasm_trap_trace, (const wasm_trap_t *, wasm_frame_vec_t *))                                           \
    X(void, wasm_frame_vec_delete, (wasm_frame_vec_t *))                                                          \
    X(uint32_t, wasm_frame_func_index, (const wasm_frame_t *))                                                    \
    X(size_t, wasm_frame_module_offset, (const wasm_frame_t *))                                                   \
    X(const wasm_byte_vec_t *, wasmtime_frame_func_name, (const wasm_frame_t *))                                  \
    X(bool, wasmtime_trap_code, (const wasm_trap_t *, uint8_t *))                                                 \
    X(wasm_trap_t *, wasmtime_trap_new_code, (uint8_t))                                                           \
    X(wasmtime_error_t *, wasmtime_error_new, (const char *))                                                     \
    X(void, wasmtime_error_delete, (wasmtime_error_t *))                                                          \
    X(void, wasmtime_error_message, (const wasmtime_error_t *, wasm_byte_vec_t *))                                \
    X(void, wasmtime_error_wasm_trace, (const wasmtime_error_t *, wasm_frame_vec_t *))                            \
    X(void, wasmtime_config_host_memory_creator_set, (wasm_config_t *, const wasmtime_memory_creator_t *))        \
    X(void, wasmtime_engine_increment_epoch, (wasm_engine_t *))                                                   \
    X(wasmtime_store_t *, wasmtime_store_new, (wasm_engine_t *, void *data, void (*finalizer)(void *)))           \
    X(wasmtime_context_t *, wasmtime_store_context, (wasmtime_store_t *))                                         \
    X(void, wasmtime_store_limiter, (wasmtime_store_t *, int64_t, int64_t, int64_t, int64_t, int64_t))            \
    X(void, wasmtime_store_delete, (wasmtime_store_t *))                                                          \
    X(void, wasmtime_store_epoch_deadline_callback,                                                               \
      (wasmtime_store_t *, wasmtime_epoch_callback_t, void *data, void (*finalizer)(void *)))                     \
    X(void *, wasmtime_context_get_data, (const wasmtime_context_t *))                                            \
    X(void, wasmtime_context_set_epoch_deadline, (wasmtime_context_t *, uint64_t))                                \
    X(wasmtime_context_t *, wasmtime_caller_context, (wasmtime_caller_t *))                                       \
    X(wasmtime_linker_t *, wasmtime_linker_new, (wasm_engine_t *))                                                \
    X(void, wasmtime_linker_delete, (wasmtime_linker_t *))                                                        \
    X(wasmtime_error_t *, wasmtime_linker_define_func_unchecked,                                                  \
      (wasmtime_linker_t *, const char *, size_t, const char *, size_t, const wasm_functype_t *,                  \
       wasmtime_func_unchecked_callback_t, void *data, void (*finalizer)(void *)))                                \
    X(wasmtime_error_t *, wasmtime_linker_instantiate_pre,                                                        \
      (const wasmtime_linker_t *, const wasmtime_module_t *, wasmtime_instance_pre_t **))                         \
    X(void, wasmtime_instance_pre_delete, (wasmtime_instance_pre_t *))                                            \
    X(wasmtime_error_t *, wasmtime_instance_pre_instantiate,                                                      \
      (const wasmtime_instance_pre_t *, wasmtime_context_t *, wasmtime_instance_t *, wasm_trap_t **))             \
    X(bool, wasmtime_instance_export_get,                                                                         \
      (wasmtime_context_t *, const wasmtime_instance_t *, const char *, size_t, wasmtime_extern_t *))             \
    X(wasmtime_error_t *, wasmtime_func_call_unchecked,                                                           \
      (wasmtime_context_t *, const wasmtime_func_t *, wasmtime_val_raw_t *, size_t, wasm_trap_t **))              \
    X(void, wasmtime_global_get, (wasmtime_context_t *, const wasmtime_global_t *, wasmtime_val_t *))             \
    X(wasmtime_error_t *, wasmtime_global_set,                                                                    \
      (wasmtime_context_t *, const wasmtime_global_t *, const wasmtime_val_t *))                                  \
    X(wasmtime_error_t *, wasmtime_memory_grow,                                                                   \
      (wasmtime_context_t *, const wasmtime_memory_t *, uint64_t, uint64_t *))

/* Calls on fibers: a build of Wasmtime may lack them, and `wasmtime_func_call_async` is NULL then. */
#define WASMTIME_FIBER_FUNCTIONS(X)                                                                               \
    X(wasmtime_error_t *, wasmtime_linker_define_async_func,                                                      \
      (wasmtime_linker_t *, const char *, size_t, const char *, size_t, const wasm_functype_t *,                  \
       wasmtime_func_async_callback_t, void *data, void (*finalizer)(void *)))                                    \
    X(wasmtime_call_future_t *, wasmtime_instance_pre_instantiate_async,                                          \
      (const wasmtime_instance_pre_t *, wasmtime_context_t *, wasmtime_instance_t *, wasm_trap_t **,              \
       wasmtime_error_t **))                                                                                      \
    X(wasmtime_call_future_t *, wasmtime_func_call_async,                                                         \
      (wasmtime_context_t *, const wasmtime_func_t *, const wasmtime_val_t *args, size_t arg_count,               \
       wasmtime_val_t *results, size_t result_count, wasm_trap_t **, wasmtime_error_t **))                        \
    X(bool, wasmtime_call_future_poll, (wasmtime_call_future_t *))                                                \
    X(void, wasmtime_call_future_delete, (wasmtime_call_future_t *))

typedef struct {
#define MEMBER(result, name, arguments) result(*name) arguments;
    WASMTIME_FUNCTIONS(MEMBER)
    WASMTIME_FIBER_FUNCTIONS(MEMBER)
#undef MEMBER
} WasmtimeAPI;

extern WasmtimeAPI wt; /* filled by _native.load() */

enum { TRAP_STACK_OVERFLOW = 0, TRAP_UNREACHABLE = 9, TRAP_INTERRUPT = 10 };

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

/* One linear memory: address space for all that a 32-bit guest can name, of which the first `size` bytes are
 * accessible. It never moves, and lives until the last of store, instance and memoryviews lets go. */
typedef struct Region {
    atomic_int references;
    uint8_t *base;
    atomic_size_t size;
    size_t capacity, guard;
    Account *account; /* inside the instance; NULL once its store is gone */
    struct Region *next;
    uint64_t image; /* the image that [image_from, image_to) is a mapping of; 0 for none */
    size_t image_from, image_to;
} Region;

/* While set, memories that this thread creates are charged to the account and put on the list in reverse order. */
typedef struct {
    Account *account;
    Region *newest;
    size_t count;
} Creation;
extern _Thread_local Creation *region_creation;

/* What is not zero in a memory, in rising order. */
typedef struct { uint64_t offset, size; } Run;

/* The number of runs, in a new array for `free`; SIZE_MAX when there is no room for it. No GIL needed. */
size_t region_runs(const Region *region, Run **runs);

/* ---- states and images of them --------------------------------------------------------------------------- */

/* A memory of a state, whose bytes stay owned by it: its runs, and their contents one after the other. */
typedef struct {
    size_t size, count, length;
    const char *runs, *contents;
} Kept;

bool kept_read(PyObject *item, Kept *kept); /* false with an exception: not what `get_state` makes */
Run run_of(const Kept *kept, size_t index);

typedef struct {
    int file; /* -1: the memory is copied */
    size_t from, to;
} ImagePart;

typedef struct {
    PyObject_HEAD
    uint64_t id; /* never used twice */
    ImagePart parts[16]; /* MAX_MEMORIES */
} Image;

/* Both without the GIL. After false the region is of no more use. */
bool image_restore(const Image *image, size_t index, Region *region);
bool image_forget(Region *region); /* it is zero there then */

extern const wasmtime_memory_creator_t region_creator;
/* Mappings of the process that it takes. */
size_t region_in_use(void); /* bytes of all regions of the process */
size_t region_mappings(const Region *region);
void region_release(Region *region);                              /* no GIL needed; NULL is nothing */
/* Zeroes [from, to): by writing what is small, or as long as there is budget, which goes down; else by giving pages back. */
void region_clear(Region *region, size_t from, size_t to, size_t *budget);
/* Gives the whole pages of [from, to) back, which are zero. */
void region_give_back(Region *region, size_t from, size_t to);
PyObject *region_view(Region *region);                            /* a memoryview at the present size */

/* ---- touched pages --------------------------------------------------------------------------------------- */

/* Pages of the memories of which it is asked: what is smaller is written sooner than the system answers (measured). */
#define LEAST_TOUCHED ((size_t)48)
#define MOST_TOUCHED ((size_t)1024)

typedef struct {
    size_t page, count;
    uint64_t entries[MOST_TOUCHED];
} Touched;

bool touched_known(void); /* with the GIL; false where the system does not tell */
/* No GIL needed, once it is known to tell. False if not of this memory; any page may hold something then. */
bool touched_read(Touched *self, const Region *region);
/* Narrows [from, to) to the touched bytes that come first in it; false if there are none. */
bool touched_next(const Touched *self, size_t *from, size_t *to);

/* ---- Python types and errors ----------------------------------------------------------------------------- */

extern PyTypeObject LinkedType, InstanceType, MemoryType, CallType, ImageType;

typedef struct {
    PyObject *engine_error, *guest_error, *limit_exceeded; /* mixkit.errors */
    PyObject *trap_error;                                  /* callable(code | None, message, frames) -> GuestError */
    PyObject *later;                                       /* what a host function answers that waits */
} Errors;
extern Errors errors;

PyObject *take_message(wasmtime_error_t *error); /* its text; frees it */
void raise_limit(const char *name, size_t value, const char *unit, const char *detail);

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

typedef struct {
    uint8_t kind;
    PyObject *name;
} Variable;

/* A module joined to its host functions, on one engine: all that instances have in common. */
typedef struct {
    PyObject_HEAD
    PyObject *owners; /* keeps the wasmtime-py engine and module alive */
    wasm_engine_t *engine;
    wasmtime_instance_pre_t *pre;
    HostCall *hosts;
    size_t host_count;
    Function *functions;
    size_t function_count;
    PyObject *slots; /* dict: export name -> index in functions */
    Variable *variables;
    size_t variable_count;
    PyObject *memories; /* tuple: the export names of all memories */
    size_t memory_count;
    Py_ssize_t memory; /* which memory is exported as "memory"; -1 for none */
    PyObject *start;   /* export name of the start function; None for none */
    bool restorable;
    bool suspends; /* its instances run on fibers */
    size_t heaps; /* 1 if Wasmtime may keep exceptions in a memory of its own, else 0 */
    size_t stack;
    Py_ssize_t shift; /* bytes that the functions stand further back than in the module's file */
    size_t own;       /* the functions of that file; those behind them are ours */
    PyObject *initial; /* state right after instantiation; NULL until the first instance */
} Linked;

wasm_trap_t *instance_host_call(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count);
void fiber_host_call(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args, size_t arg_count,
                     wasmtime_val_t *results, size_t result_count, wasm_trap_t **trap,
                     wasmtime_async_continuation_t *continuation);

#endif
