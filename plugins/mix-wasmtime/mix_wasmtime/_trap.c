/* Traps: what made the guest fail, raised as an exception. */
#include "_instance.h"

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

/* [(function index, name or None, byte offset in the module's file)], innermost first */
static PyObject *read_frames(wasm_frame_vec_t *frames, const Linked *linked) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < frames->size; i++) {
        if (wt.wasm_frame_func_index(frames->data[i]) >= linked->own) continue;
        const wasm_byte_vec_t *name = wt.wasmtime_frame_func_name(frames->data[i]);
        PyObject *frame = Py_BuildValue("Is#n", wt.wasm_frame_func_index(frames->data[i]),
                                        name != NULL ? name->data : NULL, name != NULL ? (Py_ssize_t)name->size : 0,
                                        (Py_ssize_t)wt.wasm_frame_module_offset(frames->data[i]) - linked->shift);
        if (frame == NULL || PyList_Append(list, frame) < 0) Py_CLEAR(list);
        Py_XDECREF(frame);
    }
    wt.wasm_frame_vec_delete(frames);
    return list;
}

static void raise_trap(int code, PyObject *message, PyObject *frames) {
    if (message == NULL || frames == NULL) return;
    PyObject *number = code < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(code);
    PyObject *error = PyObject_CallFunctionObjArgs(errors.trap_error, number, message, frames, NULL);
    Py_DECREF(number);
    if (error == NULL) return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

void trap_interrupted(PyObject *frames) {
    PyObject *message = PyUnicode_FromString("interrupted from outside");
    raise_trap(TRAP_INTERRUPT, message, frames);
    Py_XDECREF(message);
}

/* Raises what made the last entry fail, and finishes the instance. */
void trap_raise(Instance *self) {
    wasm_trap_t *trap = self->trap;
    wasmtime_error_t *failure = self->failure;
    self->trap = NULL;
    self->failure = NULL;
    self->finished = true;

    uint8_t code = 0;
    bool known = trap != NULL && wt.wasmtime_trap_code(trap, &code);
    if (self->error != NULL) {
        raise_kept(self);
    } else if (known && code == TRAP_STACK_OVERFLOW) {
        raise_limit("stack", self->linked->stack, "bytes", "");
    } else {
        wasm_frame_vec_t trace = {0, NULL};
        if (trap != NULL) wt.wasm_trap_trace(trap, &trace);
        else wt.wasmtime_error_wasm_trace(failure, &trace);
        PyObject *frames = read_frames(&trace, self->linked);
        if (atomic_load(&self->interrupted)) {
            trap_interrupted(frames);
        } else if (self->account.refused) {
            raise_limit("memory", self->account.limit, "bytes", "the guest could not go on without more");
        } else {
            PyObject *message;
            if (trap != NULL) {
                wasm_byte_vec_t text;
                wt.wasm_trap_message(trap, &text);
                /* The text ends with a NUL. */
                message = PyUnicode_DecodeUTF8(text.data, text.size > 0 ? (Py_ssize_t)text.size - 1 : 0, "replace");
                wt.wasm_byte_vec_delete(&text);
            } else {
                message = take_message(failure);
                failure = NULL;
            }
            raise_trap(known ? code : -1, message, frames);
            Py_XDECREF(message);
        }
        Py_XDECREF(frames);
    }
    if (trap != NULL) wt.wasm_trap_delete(trap);
    if (failure != NULL) wt.wasmtime_error_delete(failure);
}

PyObject *trap_broken(Instance *self, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(errors.guest_error, format, arguments);
    va_end(arguments);
    self->finished = true;
    return NULL;
}
