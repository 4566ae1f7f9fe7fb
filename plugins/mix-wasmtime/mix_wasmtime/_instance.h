/* An instance, shared by the files that are about its parts. */
#ifndef MIX_WASMTIME_INSTANCE_H
#define MIX_WASMTIME_INSTANCE_H

#include "_native.h"

typedef struct {
    PyObject_HEAD
    PyObject *owner;
    PyObject *error; /* what a host function raised, on its way to the caller of the guest */
    Linked *linked;
    wasmtime_store_t *store; /* NULL once closed */
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasmtime_func_t *funcs; /* by slot, the last one is the start function; looked up on first use */
    wasmtime_global_t *globals;
    bool globals_known;
    Account account;
    Py_buffer purse; /* holds the memory of `account.purse` */
    Region **regions;
    size_t region_count;
    Region *heap; /* where exceptions live; NULL if the module has none */
    wasm_trap_t *trap; /* how the last entry failed: at most one of the two */
    wasmtime_error_t *failure;
    PyThreadState *thread_state;
    unsigned long thread;
    int depth; /* calls under way, one inside the other */
    size_t max_result;
    bool started, finished;
    atomic_bool interrupted; /* never cleared */
    atomic_bool running;
    atomic_bool passed; /* an epoch check let the guest go on, and it has not been seen outside since */
} Instance;

/* Whether this thread may use the instance now; false with an exception. */
bool instance_usable(Instance *self, bool also_finished);

/* ---- _trap.c: failures ----------------------------------------------------------------------------------- */

void trap_keep(Instance *self);             /* the running exception, until the guest has been left */
void trap_interrupted(PyObject *frames);    /* raises */
void trap_raise(Instance *self);            /* raises what made the last entry fail, and finishes the instance */
/* Raises a GuestError with that message, and finishes the instance; answers NULL. */
PyObject *trap_broken(Instance *self, const char *format, ...);

/* ---- _entry.c: into the guest ---------------------------------------------------------------------------- */

bool entry_begin(Instance *self); /* releases the GIL; false with an exception when the guest may not be entered */
void entry_end(Instance *self);   /* takes the GIL again */
/* no GIL, between begin and end. After false, `trap_raise` raises. */
bool entry_enter(Instance *self, const wasmtime_func_t *func, wasmtime_val_raw_t *values, size_t count);
bool entry_start(Instance *self); /* runs the start function, once; false with an exception */
wasmtime_error_t *entry_at_epoch(wasmtime_context_t *context, void *data, uint64_t *delta, uint8_t *kind); /* no GIL */
/* The export of that name and kind; false with an exception. */
bool entry_export(Instance *self, PyObject *name, uint8_t kind, wasmtime_extern_t *found);
/* The exported function of that name, found in the store; NULL with an exception. */
const Function *entry_function(Instance *self, PyObject *name, size_t *slot);

/* ---- _value.c: values ------------------------------------------------------------------------------------ */

/* 0, or -1 with an exception. Results are taken modulo their size, arguments must fit. */
int value_from_argument(PyObject *value, char type, wasmtime_val_raw_t *raw);
int value_from_result(PyObject *value, char type, wasmtime_val_raw_t *raw);
PyObject *value_to_python(const wasmtime_val_raw_t *raw, char type);

/* ---- _state.c: freezing and restoring -------------------------------------------------------------------- */

PyObject *state_get(Instance *self);                /* ((a memory each, …), the globals at 16 bytes each) */
int state_set(Instance *self, PyObject *state);     /* 1 done, 0 not possible, -1 exception */

/* ---- _memory.c and _call.c ------------------------------------------------------------------------------- */

Region *memory_of(Instance *self); /* what is exported as "memory"; NULL with an exception */
bool memory_holds(Region *region, uint32_t ptr, size_t size);

PyObject *instance_call(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_call_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *instance_read(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_write(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_memory(PyObject *object, PyObject *unused);
PyObject *instance_grow(PyObject *object, PyObject *pages);

#endif
