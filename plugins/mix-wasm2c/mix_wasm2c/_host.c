/* Host functions: the guest calls Python. */
#include "_instance.h"

/* The running exception becomes a TypeError that names the host function. */
static void blame_host(const HostCall *host) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_Format(PyExc_TypeError, "host function %U answered a wrong value: %S", host->label,
                 value != NULL ? value : Py_None);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

/* GIL held. False with an exception. */
static bool answer(Instance *self, const HostCall *host, mix_value *values) {
    /* One place before the arguments is lent to the callee (PY_VECTORCALL_ARGUMENTS_OFFSET). */
    PyObject *arguments[MAX_PARAMS + 2];
    size_t count = 1;
    PyObject *result = NULL;
    arguments[1] = (PyObject *)self;
    for (; count <= host->arity; count++) {
        arguments[count + 1] = value_to_python(&values[count - 1], host->params[count - 1]);
        if (arguments[count + 1] == NULL) break;
    }
    if (count > host->arity)
        result = PyObject_Vectorcall(host->call, arguments + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    while (count > 1) Py_DECREF(arguments[count--]);
    if (result == NULL) return false;

    bool fits = true;
    if (host->result != 0) {
        fits = value_from_result(result, host->result, &values[0]) == 0;
        if (!fits) blame_host(host);
    } else if (result != Py_None) {
        PyErr_Format(PyExc_TypeError, "expected None, found %.100s", Py_TYPE(result)->tp_name);
        blame_host(host);
        fits = false;
    }
    Py_DECREF(result);
    if (fits && self->finished) {
        PyErr_Format(errors.engine_error, "host function %U went on after its nested call of the guest failed",
                     host->label);
        return false;
    }
    return fits;
}

/* no GIL; no Python exception leaves it */
void host_call(mix_host *host, uint32_t import, mix_value *values) {
    Instance *self = host->instance;
    bool good = false;
    if (!atomic_load(&self->interrupted)) {
        Entry *entry = entry_innermost;
        PyEval_RestoreThread(self->thread_state);
        good = answer(self, &self->linked->hosts[import], values);
        if (!good) trap_keep(self);
        self->thread_state = PyEval_SaveThread();
        /* Python may have let another coroutine into a guest of its own, on this thread, that is still there. */
        entry_innermost = entry;
    }
    if (!good || atomic_load(&self->interrupted)) entry_leave(MIX_INTERRUPTED);
}
