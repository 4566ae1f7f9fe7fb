/* Traps: what made the guest fail, raised as an exception. */
#include "_instance.h"

#include <unwind.h>

/* Frames that are counted, of a guest that has gone deep. */
#define COUNTED 10000

void trap_keep(Instance *self) {
#if PY_VERSION_HEX >= 0x030C0000
    Py_XSETREF(self->error, PyErr_GetRaisedException());
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    Py_XSETREF(self->error, value);
#endif
}

static void raise_kept(Instance *self) {
    PyObject *error = self->error;
    self->error = NULL;
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

typedef struct {
    Instance *instance;
    uintptr_t end;
} Trace;

/* no GIL */
static _Unwind_Reason_Code see_frame(struct _Unwind_Context *context, void *data) {
    Trace *trace = data;
    Instance *self = trace->instance;
    uint32_t index;
    if (_Unwind_GetCFA(context) > trace->end || self->frame_count >= COUNTED) return _URC_END_OF_STACK;
    if (library_function(self->linked->library, (uintptr_t)_Unwind_GetRegionStart(context), &index)) {
        if (self->frame_count < MOST_FRAMES) self->frames[self->frame_count] = index;
        self->frame_count++;
    }
    return _URC_NO_REASON;
}

/* no GIL */
void trap_trace(Instance *self, uintptr_t end) {
    Trace trace = {self, end};
    _Unwind_Backtrace(see_frame, &trace);
}

/* [function index], innermost first */
static PyObject *read_frames(Instance *self) {
    size_t count = self->frame_count < MOST_FRAMES ? self->frame_count : MOST_FRAMES;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *index = PyLong_FromSize_t(self->linked->host_count + self->frames[i]);
        if (index == NULL) Py_CLEAR(list);
        else PyList_SET_ITEM(list, (Py_ssize_t)i, index);
    }
    return list;
}

static void raise_trap(int what, PyObject *names, PyObject *frames, size_t more) {
    PyObject *error = PyObject_CallFunction(errors.trap_error, "iOOn", what, names, frames, (Py_ssize_t)more);
    if (error == NULL) return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

void trap_interrupted(PyObject *frames) { raise_trap(MIX_INTERRUPTED, Py_None, frames, 0); }

/* Raises what made the last entry fail, and finishes the instance. */
void trap_raise(Instance *self) {
    self->finished = true;
    if (self->error != NULL) {
        raise_kept(self);
    } else if (self->trap == MIX_STACK_OVERFLOW) {
        raise_limit("stack", self->stack, "bytes", "");
    } else if (self->account.refused && !atomic_load(&self->interrupted)) {
        raise_limit("memory", self->account.limit, "bytes", "the guest could not go on without more");
    } else {
        PyObject *frames = read_frames(self);
        size_t more = self->frame_count > MOST_FRAMES ? self->frame_count - MOST_FRAMES : 0;
        int what = atomic_load(&self->interrupted) ? MIX_INTERRUPTED : self->trap;
        if (frames != NULL) raise_trap(what, self->linked->library->names, frames, more);
        Py_XDECREF(frames);
    }
}

PyObject *trap_broken(Instance *self, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(errors.guest_error, format, arguments);
    va_end(arguments);
    self->finished = true;
    return NULL;
}
