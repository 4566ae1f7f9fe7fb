/* The module `_native`: what the other files share. */
#include "_native.h"

Errors errors;

void raise_limit(const char *name, size_t value, const char *unit, const char *detail) {
    PyObject *error = PyObject_CallFunction(errors.limit_exceeded, "snss", name, (Py_ssize_t)value, unit, detail);
    if (error == NULL) return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

static PyObject *setup(PyObject *module, PyObject *args) {
    PyObject *engine_error, *guest_error, *limit_exceeded, *trap_error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOO:setup", &engine_error, &guest_error, &limit_exceeded, &trap_error)) return NULL;
    Py_XSETREF(errors.engine_error, Py_NewRef(engine_error));
    Py_XSETREF(errors.guest_error, Py_NewRef(guest_error));
    Py_XSETREF(errors.limit_exceeded, Py_NewRef(limit_exceeded));
    Py_XSETREF(errors.trap_error, Py_NewRef(trap_error));
    Py_RETURN_NONE;
}

static PyObject *memory_in_use(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromSize_t(region_in_use());
}

static PyMethodDef methods[] = {
    {"memory_in_use", memory_in_use, METH_NOARGS, "memory_in_use() -> bytes of all linear memories of the process"},
    {"setup", setup, METH_VARARGS, "setup(EngineError, GuestError, LimitExceeded, trap_error)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The C half of the wasm2c engine.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL) return NULL;
    if (PyType_Ready(&MemoryType) < 0 || PyModule_AddType(module, &LibraryType) < 0 ||
        PyModule_AddType(module, &LinkedType) < 0 || PyModule_AddType(module, &InstanceType) < 0)
        Py_CLEAR(module);
    return module;
}
