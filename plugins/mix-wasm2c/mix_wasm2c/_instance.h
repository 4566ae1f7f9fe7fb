/* An instance, shared by the files that are about its parts. */
#ifndef MIX_WASM2C_INSTANCE_H
#define MIX_WASM2C_INSTANCE_H

#include "_native.h"

#define MOST_FRAMES 32

/* One entry of this thread into a guest; they lie on the stack, the innermost is known by the thread. */
typedef struct Entry {
    jmp_buf jump;
    struct Instance *instance;
    struct Entry *outer;
} Entry;

typedef struct Instance {
    PyObject_HEAD
    PyObject *owner;
    PyObject *error; /* what a host function raised, on its way to the caller of the guest */
    Linked *linked;
    mix_host *host; /* the module's part of it stands behind; NULL once closed */
    Account account;
    Py_buffer purse; /* holds the memory of `account.purse` */
    Region *regions[MAX_MEMORIES];
    size_t region_count;
    size_t elements, most_elements; /* of tables */
    PyThreadState *thread_state;
    unsigned long thread;
    int depth; /* calls under way, one inside the other */
    size_t stack, max_result;
    bool started, finished;
    atomic_bool interrupted; /* never cleared */
    int trap;                /* how the last entry failed: MIX_…, or 0 for `error` */
    uint32_t frames[MOST_FRAMES];
    size_t frame_count; /* may be larger: then the outer ones are not told */
} Instance;

static inline const mix_module *module_of(const Instance *self) { return self->linked->library->module; }
/* The module's part. */
static inline void *data_of(const Instance *self) { return self->host + 1; }

/* Whether this thread may use the instance now; false with an exception. */
bool instance_usable(Instance *self, bool also_finished);

/* ---- _trap.c: failures ----------------------------------------------------------------------------------- */

void trap_keep(Instance *self);        /* the running exception, until the guest has been left */
void trap_interrupted(PyObject *frames); /* raises */
void trap_raise(Instance *self);       /* raises what made the last entry fail, and finishes the instance */
/* Raises a GuestError with that message, and finishes the instance; answers NULL. */
PyObject *trap_broken(Instance *self, const char *format, ...);
void trap_trace(Instance *self, uintptr_t end); /* no GIL; notes the frames up to that place on the stack */

/* ---- _entry.c: into the guest ---------------------------------------------------------------------------- */

/* PERF: found without a call, in the few bytes that the system keeps for libraries that are loaded late. */
#define QUICK __attribute__((tls_model("initial-exec")))

extern _Thread_local QUICK Entry *entry_innermost;

bool entry_begin(Instance *self); /* releases the GIL; false with an exception when the guest may not be entered */
void entry_end(Instance *self);   /* takes the GIL again */
/* no GIL, between begin and end: runs `work`, which may call the guest. After false, `trap_raise` raises. */
bool entry_run(Instance *self, void (*work)(Instance *self, void *data), void *data);
bool entry_start(Instance *self); /* runs the start function, once; false with an exception */
/* no GIL; out of the guest, to `entry_run` */
__attribute__((noreturn)) void entry_leave(int what);
__attribute__((noreturn)) void entry_stop(void);
/* The exported function of that name; NULL with an exception. */
const Function *entry_function(Instance *self, PyObject *name, size_t *slot);

/* ---- _value.c: values ------------------------------------------------------------------------------------ */

/* 0, or -1 with an exception. Results are taken modulo their size, arguments must fit. */
int value_from_argument(PyObject *value, char type, mix_value *raw);
int value_from_result(PyObject *value, char type, mix_value *raw);
PyObject *value_to_python(const mix_value *raw, char type);

/* ---- _state.c: freezing and restoring -------------------------------------------------------------------- */

PyObject *state_get(Instance *self);                /* ((a memory each, …), the globals at 16 bytes each) */
int state_set(Instance *self, PyObject *state);     /* 1 done, 0 not possible, -1 exception */

/* ---- _host.c, _memory.c and _call.c ---------------------------------------------------------------------- */

void host_call(mix_host *host, uint32_t import, mix_value *values); /* no GIL */

Region *memory_of(Instance *self); /* what is exported as "memory"; NULL with an exception */
bool memory_holds(Region *region, uint32_t ptr, size_t size);
PyObject *memory_copy(const Region *region, uint32_t ptr, size_t size); /* of what it holds, as bytes */
/* Grows a memory, whose size in pages it answers; UINT64_MAX if refused. */
uint64_t memory_grow(Instance *self, size_t index, uint64_t pages);

PyObject *instance_call(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_call_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *instance_read(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_write(PyObject *object, PyObject *const *args, Py_ssize_t count);
PyObject *instance_memory(PyObject *object, PyObject *unused);
PyObject *instance_grow(PyObject *object, PyObject *pages);

#endif
