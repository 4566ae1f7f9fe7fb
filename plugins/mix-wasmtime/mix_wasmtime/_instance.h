/* An instance, shared by the files that are about its parts. */
#ifndef MIX_WASMTIME_INSTANCE_H
#define MIX_WASMTIME_INSTANCE_H

#include "_native.h"

typedef struct Fiber Fiber;

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
    Fiber *fiber;      /* NULL: its calls hold their thread */
    PyObject *pending; /* the Call that is under way, borrowed; NULL for none */
    wasm_trap_t *trap; /* how the last entry failed: at most one of the two */
    wasmtime_error_t *failure;
    PyThreadState *thread_state;
    unsigned long thread;
    int depth; /* calls under way, one inside the other */
    size_t max_result;
    bool started, finished;
    bool pristine; /* no guest code has run since the instantiation, and nobody has looked into a memory */
    atomic_bool interrupted; /* never cleared */
    atomic_bool running;
    atomic_bool passed; /* an epoch check let the guest go on, and it has not been seen outside since */
} Instance;

/* Whether this thread may use the instance now; false with an exception. */
bool instance_usable(Instance *self, bool also_finished);
/* The same for what needs the store, which a call that has been begun keeps. */
bool instance_free(Instance *self);

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
bool entry_enter(Instance *self, size_t slot, wasmtime_val_raw_t *values);
bool entry_start(Instance *self); /* runs the start function, once; false with an exception */
/* Whether the start function has to run; its slot is `linked->function_count`. -1 with an exception. */
int entry_needs_start(Instance *self);
wasmtime_error_t *entry_at_epoch(wasmtime_context_t *context, void *data, uint64_t *delta, uint8_t *kind); /* no GIL */
/* The export of that name and kind; false with an exception. */
bool entry_export(Instance *self, PyObject *name, uint8_t kind, wasmtime_extern_t *found);
/* The exported function of that name, found in the store; NULL with an exception. */
const Function *entry_function(Instance *self, PyObject *name, size_t *slot);

/* ---- _host.c: the guest calls Python --------------------------------------------------------------------- */

typedef enum { HOST_ANSWERED, HOST_FAILED, HOST_LATER } HostEnd;
/* Calls the host function, whose arguments and result are in `values`. After HOST_FAILED there is an exception. */
HostEnd host_call(Instance *self, const HostCall *host, wasmtime_val_raw_t *values);
bool host_result(const HostCall *host, PyObject *result, wasmtime_val_raw_t *value); /* false with an exception */

/* ---- _fiber.c: calls that can be left half done ---------------------------------------------------------- */

typedef enum { FIBER_DONE, FIBER_FAILED, FIBER_IN_HOST, FIBER_GAVE_WAY } FiberEvent;
void fiber_begin(Instance *self, size_t slot, const wasmtime_val_raw_t *values); /* no GIL */
/* no GIL, between begin and end. After FIBER_DONE the result is in `value`, after FIBER_FAILED `trap_raise` raises. */
FiberEvent fiber_go(Instance *self, wasmtime_val_raw_t *value);
HostEnd fiber_call_host(Instance *self); /* with the GIL; what fails is kept for the guest to trap */
void fiber_answer(Instance *self, const wasmtime_val_raw_t *value);
void fiber_fail(Instance *self); /* with the running exception */
void fiber_drop(Instance *self); /* no GIL needed; frees what is under way, and finishes the instance */
bool fiber_run(Instance *self, size_t slot, wasmtime_val_raw_t *values); /* no GIL; from begin to end */
bool fiber_instantiate(Instance *self, wasm_trap_t **trap, wasmtime_error_t **error); /* no GIL */

/* ---- _value.c: values ------------------------------------------------------------------------------------ */

/* 0, or -1 with an exception. Results are taken modulo their size, arguments must fit. */
int value_from_argument(PyObject *value, char type, wasmtime_val_raw_t *raw);
int value_from_result(PyObject *value, char type, wasmtime_val_raw_t *raw);
PyObject *value_to_python(const wasmtime_val_raw_t *raw, char type);

/* ---- _state.c: freezing and restoring -------------------------------------------------------------------- */

PyObject *state_get(Instance *self);                /* ((a memory each, …), the globals at 16 bytes each) */
/* 1 done, 0 not possible, -1 exception. The image is of that state; NULL for none. */
int state_set(Instance *self, PyObject *state, const Image *image);

/* ---- _memory.c and _call.c ------------------------------------------------------------------------------- */

Region *memory_of(Instance *self); /* what is exported as "memory"; NULL with an exception */
bool memory_holds(Region *region, uint32_t ptr, size_t size);
/* Before so much is written: pages of the usual size come one by one, and take several times as long (measured). */
void memory_large_pages(char *bytes, size_t size);
PyObject *memory_copy(const Region *region, uint32_t ptr, size_t size); /* of what it holds, as bytes */

/* What a call with bytes has to know, checked; `region` is the memory that they go to. */
typedef struct {
    Region *region;
    PyObject *name;
    size_t function, alloc, count;
    Py_buffer buffers[MAX_PARAMS / 2];
} BytesCall;
/* A call on a fiber. What Wasmtime points to while it is under way is in here, and stays where it is. */
struct Fiber {
    wasmtime_call_future_t *future; /* NULL: none is under way */
    wasmtime_val_t args[MAX_PARAMS], result;
    wasm_trap_t *trap;
    wasmtime_error_t *failure;
    /* The host function in which the guest waits, and Wasmtime's places for its answer; NULL: in none. */
    const HostCall *host;
    const wasmtime_val_t *host_args;
    wasmtime_val_t *host_result;
    wasm_trap_t **host_trap;
    bool answered;
    atomic_bool give_way; /* the next epoch check leaves the guest */
    /* What the call that was begun is to do, for _begin.c: here, so that the object of a call is small. */
    wasmtime_val_raw_t values[MAX_PARAMS];
    BytesCall bytes;
};

bool bytes_call_read(Instance *self, BytesCall *call, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
void bytes_call_free(BytesCall *call);
/* Which step of it went wrong. */
typedef enum { GOOD, FAILED, NO_ROOM, OUTSIDE } Step;
/* no GIL; the buffer goes where the allocator says, and (ptr, len) to `values` */
Step bytes_call_place(const BytesCall *call, size_t index, wasmtime_val_raw_t place, wasmtime_val_raw_t *values);
PyObject *bytes_call_broken(Instance *self, const BytesCall *call, Step step, size_t index, uint32_t place);
PyObject *bytes_call_result(Instance *self, const BytesCall *call, wasmtime_val_raw_t answer);
/* The function of a call with numbers and its arguments; NULL with an exception. */
const Function *numbers_call_read(Instance *self, PyObject *const *args, Py_ssize_t count, size_t *slot,
                                  wasmtime_val_raw_t *values);

PyObject *instance_begin(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_begin_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *instance_give_way(PyObject *object, PyObject *unused);
void call_drop(PyObject *call);
PyObject *instance_call(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_call_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *instance_read(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_write(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_memory(PyObject *object, PyObject *unused);
PyObject *instance_grow(PyObject *object, PyObject *pages);

#endif
