/* The module `_native`: finds Wasmtime's C API, and what the other files share. */
#include "_native.h"

#include <dlfcn.h>

WasmtimeAPI wt;
Errors errors;

PyObject *take_message(wasmtime_error_t *error) {
    wasm_byte_vec_t text;
    wt.wasmtime_error_message(error, &text);
    PyObject *message = PyUnicode_DecodeUTF8(text.data, (Py_ssize_t)text.size, "replace");
    wt.wasm_byte_vec_delete(&text);
    wt.wasmtime_error_delete(error);
    return message;
}

void raise_limit(const char *name, size_t value, const char *unit, const char *detail) {
    PyObject *error = PyObject_CallFunction(errors.limit_exceeded, "snss", name, (Py_ssize_t)value, unit, detail);
    if (error == NULL) return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

static PyObject *load(PyObject *module, PyObject *args) {
    const char *path;
    PyObject *engine_error, *guest_error, *limit_exceeded, *trap_error, *later;
    (void)module;
    if (!PyArg_ParseTuple(args, "sOOOOO:load", &path, &engine_error, &guest_error, &limit_exceeded, &trap_error, &later))
        return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return PyErr_Format(PyExc_ImportError, "cannot load %s: %s", path, dlerror());
    WasmtimeAPI found;
    /* POSIX lets a function pointer be stored through void *. */
#define FIND(result, name, arguments)                                                                             \
    *(void **)(void *)&found.name = dlsym(library, #name);                                                        \
    if (found.name == NULL) return PyErr_Format(PyExc_ImportError, "%s has no function %s", path, #name);
    WASMTIME_FUNCTIONS(FIND)
#undef FIND
    bool whole = true;
#define FIND(result, name, arguments)                                                                             \
    *(void **)(void *)&found.name = dlsym(library, #name);                                                        \
    whole = whole && found.name != NULL;
    WASMTIME_FIBER_FUNCTIONS(FIND)
#undef FIND
    if (!whole) found.wasmtime_func_call_async = NULL;
    wt = found;
    Py_XSETREF(errors.engine_error, Py_NewRef(engine_error));
    Py_XSETREF(errors.guest_error, Py_NewRef(guest_error));
    Py_XSETREF(errors.limit_exceeded, Py_NewRef(limit_exceeded));
    Py_XSETREF(errors.trap_error, Py_NewRef(trap_error));
    Py_XSETREF(errors.later, Py_NewRef(later));
    return PyBool_FromLong(whole);
}

static PyObject *own_memories(PyObject *module, PyObject *config) {
    (void)module;
    unsigned long long pointer = PyLong_AsUnsignedLongLong(config);
    if (PyErr_Occurred()) return NULL;
    wt.wasmtime_config_host_memory_creator_set((wasm_config_t *)(uintptr_t)pointer, &region_creator);
    Py_RETURN_NONE;
}

static PyObject *memory_in_use(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromSize_t(region_in_use());
}

static PyMethodDef methods[] = {
    {"memory_in_use", memory_in_use, METH_NOARGS, "memory_in_use() -> bytes of all linear memories of the process"},
    {"load", load, METH_VARARGS,
     "load(path, EngineError, GuestError, LimitExceeded, trap_error, later) -> bool\n\nFind the C API in Wasmtime's shared "
     "library; answers whether it has calls on fibers."},
    {"own_memories", own_memories, METH_O,
     "own_memories(config)\n\nMake engines of this wasm_config_t create their linear memories through us."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The C half of the Wasmtime engine.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL) return NULL;
    if (PyType_Ready(&MemoryType) < 0 || PyModule_AddType(module, &ImageType) < 0 || PyModule_AddType(module, &LinkedType) < 0 ||
        PyModule_AddType(module, &InstanceType) < 0 || PyModule_AddType(module, &CallType) < 0)
        Py_CLEAR(module);
    return module;
}
