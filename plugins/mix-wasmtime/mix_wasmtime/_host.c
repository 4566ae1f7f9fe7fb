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

bool host_result(const HostCall *host, PyObject *result, wasmtime_val_raw_t *value) {
    if (host->result != 0) {
        if (value_from_result(result, host->result, value) == 0) return true;
    } else {
        if (result == Py_None) return true;
        PyErr_Format(PyExc_TypeError, "expected None, found %.100s", Py_TYPE(result)->tp_name);
    }
    blame_host(host);
    return false;
}

HostEnd host_call(Instance *self, const HostCall *host, wasmtime_val_raw_t *values) {
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
    if (result == NULL) return HOST_FAILED;
    if (result == errors.later && self->pending != NULL) {
        Py_DECREF(result);
        return HOST_LATER;
    }
    bool fits = host_result(host, result, &values[0]);
    Py_DECREF(result);
    if (fits && self->finished) {
        PyErr_Format(errors.engine_error, "host function %U went on after its nested call of the guest failed",
                     host->label);
        return HOST_FAILED;
    }
    return fits ? HOST_ANSWERED : HOST_FAILED;
}

/* no GIL; no Python exception leaves it */
wasm_trap_t *instance_host_call(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
    Instance *self = wt.wasmtime_context_get_data(wt.wasmtime_caller_context(caller));
    (void)count;
    atomic_store(&self->passed, false);
    bool good = false;
    if (!atomic_load(&self->interrupted)) {
        PyEval_RestoreThread(self->thread_state);
        good = host_call(self, env, values) == HOST_ANSWERED;
        if (!good) trap_keep(self);
        self->thread_state = PyEval_SaveThread();
    }
    if (good && !atomic_load(&self->interrupted)) return NULL;
    return wt.wasmtime_trap_new_code(TRAP_UNREACHABLE);
}
