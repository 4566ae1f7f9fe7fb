/* Entries: going into the guest, and what is found there by name. */
#define _GNU_SOURCE
#include "_instance.h"

#include <pthread.h>
#include <string.h>

/* Native stack that must be left below the guest's, for Wasmtime, host functions and signal handlers. */
#define HOST_STACK (256 * 1024)

/* Nested instances stack their guests' frames on one native stack. Wasmtime looks at each guest's share only, so the
 * end of the thread's stack is watched here: running over it would kill the process. */
static bool stack_suffices(size_t need) {
    static _Thread_local char *low, *high;
    if (low == NULL) {
        pthread_attr_t attributes;
        void *address;
        size_t size;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0) return true;
        if (pthread_attr_getstack(&attributes, &address, &size) == 0) {
            low = address;
            high = low + size;
        }
        pthread_attr_destroy(&attributes);
    }
    char *here = __builtin_frame_address(0);
    /* Outside: a coroutine library has put us on a stack of its own. */
    return here < low || here >= high || (size_t)(here - low) >= need;
}

/* Releases the GIL. False with an exception when the guest may not be entered. */
bool entry_begin(Instance *self) {
    if (atomic_load(&self->interrupted)) {
        self->finished = true;
        PyObject *none = PyList_New(0);
        trap_interrupted(none);
        Py_XDECREF(none);
        return false;
    }
    if (self->fiber == NULL && !stack_suffices(self->linked->stack + HOST_STACK)) {
        self->finished = true;
        raise_limit("stack", self->linked->stack, "bytes",
                    "the thread has less native stack left than that: calls are nested too deeply, or "
                    "threading.stack_size is too small");
        return false;
    }
    self->pristine = false;
    if (self->depth++ == 0) {
        self->account.refused = false;
        self->thread = PyThread_get_thread_ident();
    }
    atomic_store_explicit(&self->passed, false, memory_order_relaxed);
    atomic_store_explicit(&self->running, true, memory_order_relaxed);
    self->thread_state = PyEval_SaveThread();
    return true;
}

/* Takes the GIL again. */
void entry_end(Instance *self) {
    PyEval_RestoreThread(self->thread_state);
    if (--self->depth == 0) atomic_store_explicit(&self->running, false, memory_order_relaxed);
}

/* no GIL, between begin and end. After false, `trap_raise` raises. */
bool entry_enter(Instance *self, size_t slot, wasmtime_val_raw_t *values) {
    if (self->fiber != NULL) return fiber_run(self, slot, values);
    const Function *function = &self->linked->functions[slot];
    size_t arity = strlen(function->params), count = arity > 0 ? arity : function->result != 0;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *failure =
        wt.wasmtime_func_call_unchecked(self->context, &self->funcs[slot], values, count, &trap);
    if (failure == NULL && trap == NULL) return true;
    self->failure = failure;
    self->trap = trap;
    return false;
}

/* no GIL */
wasmtime_error_t *entry_at_epoch(wasmtime_context_t *context, void *data, uint64_t *delta, uint8_t *kind) {
    Instance *self = data;
    (void)context;
    /* This order, against the one in `interrupt`: whoever comes second sees the other. */
    atomic_store(&self->passed, true);
    if (atomic_load(&self->interrupted)) return wt.wasmtime_error_new("interrupted");
    if (self->fiber != NULL && atomic_exchange(&self->fiber->give_way, false)) *kind = UPDATE_DEADLINE_YIELD;
    *delta = 1;
    return NULL;
}

/* By name: to ask for the n-th export takes Wasmtime n steps. False with an exception. */
bool entry_export(Instance *self, PyObject *name, uint8_t kind, wasmtime_extern_t *found) {
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (text == NULL) return false;
    if (wt.wasmtime_instance_export_get(self->context, &self->instance, text, (size_t)size, found) && found->kind == kind)
        return true;
    PyErr_Format(PyExc_SystemError, "the export %R is not what it was compiled as", name);
    return false;
}

static bool find_func(Instance *self, size_t slot, PyObject *name) {
    if (self->funcs[slot].store_id != 0) return true;
    wasmtime_extern_t found;
    if (!entry_export(self, name, EXTERN_FUNC, &found)) return false;
    self->funcs[slot] = found.of.func;
    return true;
}

int entry_needs_start(Instance *self) {
    if (self->started) return 0;
    self->started = true;
    if (self->linked->start == Py_None) return 0;
    return find_func(self, self->linked->function_count, self->linked->start) ? 1 : -1;
}

/* The start function runs once, before anything else of the guest, where it can be interrupted. */
bool entry_start(Instance *self) {
    wasmtime_val_raw_t none;
    int needed = entry_needs_start(self);
    if (needed <= 0) return needed == 0;
    if (!entry_begin(self)) return false;
    bool passed = entry_enter(self, self->linked->function_count, &none);
    entry_end(self);
    if (!passed) trap_raise(self);
    return passed;
}

/* The exported function of that name, found in the store; NULL with an exception. */
const Function *entry_function(Instance *self, PyObject *name, size_t *slot) {
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "a function's name is a str, not %.100s", Py_TYPE(name)->tp_name);
        return NULL;
    }
    PyObject *index = PyDict_GetItemWithError(self->linked->slots, name);
    if (index == NULL) {
        PyObject *known = PyErr_Occurred() ? NULL : PyDict_Keys(self->linked->slots);
        if (known != NULL) {
            PyErr_Format(errors.engine_error, "the guest exports no function %R; it exports %R", name, known);
            Py_DECREF(known);
        }
        return NULL;
    }
    *slot = PyLong_AsSize_t(index);
    const Function *function = &self->linked->functions[*slot];
    return find_func(self, *slot, function->name) ? function : NULL;
}
