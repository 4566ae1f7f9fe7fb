/* Entries: going into the guest, and out of it in the middle. */
#define _GNU_SOURCE
#include "_instance.h"

#include <pthread.h>

/* Native stack that must be left below the guest's, for host functions and signal handlers, and for one frame of the
 * guest, whose size the compiler bounds: it is looked at when it is there already. */
#define HOST_STACK (256 * 1024)

_Thread_local QUICK Entry *entry_innermost;

/* Nested instances stack their guests' frames on one native stack, and the code looks at each guest's share only.
 * So the end of the thread's stack is watched here: running over it would kill the process. */
static bool stack_suffices(size_t need) {
    static _Thread_local QUICK char *low, *high;
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
        if (none != NULL) trap_interrupted(none);
        Py_XDECREF(none);
        return false;
    }
    if (!stack_suffices(self->stack + HOST_STACK)) {
        self->finished = true;
        raise_limit("stack", self->stack, "bytes",
                    "the thread has less native stack left than that: calls are nested too deeply, or "
                    "threading.stack_size is too small");
        return false;
    }
    if (self->depth++ == 0) {
        self->account.refused = false;
        self->thread = PyThread_get_thread_ident();
        /* `interrupt` has the GIL too, so none comes between the question above and here. */
        self->host->lowest = (uintptr_t)__builtin_frame_address(0) - self->stack;
    }
    self->thread_state = PyEval_SaveThread();
    return true;
}

/* Takes the GIL again. */
void entry_end(Instance *self) {
    PyEval_RestoreThread(self->thread_state);
    --self->depth;
}

/* no GIL, between begin and end */
__attribute__((noinline)) bool entry_run(Instance *self, void (*work)(Instance *self, void *data), void *data) {
    Entry entry = {.instance = self, .outer = entry_innermost};
    entry_innermost = &entry;
    /* Without the signal mask, which would take two system calls. Nothing of ours that changes lives in a local. */
    bool passed = _setjmp(entry.jump) == 0;
    if (passed) work(self, data);
    entry_innermost = entry.outer;
    return passed;
}

/* no GIL */
void entry_leave(int what) {
    Entry *entry = entry_innermost;
    Instance *self = entry->instance;
    self->trap = what;
    self->frame_count = 0;
    if (what != MIX_STACK_OVERFLOW && self->error == NULL) trap_trace(self, (uintptr_t)entry);
    _longjmp(entry->jump, 1);
}

/* no GIL; the guest is to stop, or has no stack left */
void entry_stop(void) {
    Instance *self = entry_innermost->instance;
    entry_leave(atomic_load(&self->interrupted) ? MIX_INTERRUPTED : MIX_STACK_OVERFLOW);
}

static void run_start(Instance *self, void *data) {
    mix_value none = {0};
    (void)data;
    module_of(self)->calls[self->linked->function_count](data_of(self), &none);
}

/* The start function runs once, before anything else of the guest, where it can be interrupted. */
bool entry_start(Instance *self) {
    if (self->started) return true;
    self->started = true;
    if (!self->linked->starts) return true;
    if (!entry_begin(self)) return false;
    bool passed = entry_run(self, run_start, NULL);
    entry_end(self);
    if (!passed) trap_raise(self);
    return passed;
}

/* The exported function of that name; NULL with an exception. */
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
    return &self->linked->functions[*slot];
}
