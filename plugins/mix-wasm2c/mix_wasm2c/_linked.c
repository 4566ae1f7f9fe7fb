/* Linked: a module joined to its host functions. Made once for (module, imports), instantiated often. */
#include "_native.h"

#include <string.h>

static int read_hosts(Linked *self, PyObject *hosts) {
    Py_ssize_t count = PyTuple_GET_SIZE(hosts);
    self->hosts = PyMem_Calloc((size_t)count + 1, sizeof *self->hosts);
    if (self->hosts == NULL) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *params, *result;
        PyObject *call, *label;
        HostCall *host = &self->hosts[i];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(hosts, i), "UssO", &label, &params, &result, &call)) return -1;
        host->label = Py_NewRef(label);
        host->call = Py_NewRef(call);
        self->host_count++;
        if (strlen(params) > MAX_PARAMS) {
            PyErr_Format(errors.engine_error, "host function %U has %zu parameters, the most is %d", label,
                         strlen(params), MAX_PARAMS);
            return -1;
        }
        host->arity = strlen(params);
        strcpy(host->params, params);
        host->result = result[0];
    }
    return 0;
}

static int read_functions(Linked *self, PyObject *functions) {
    Py_ssize_t count = PyTuple_GET_SIZE(functions);
    self->functions = PyMem_Calloc((size_t)count + 1, sizeof *self->functions);
    self->slots = PyDict_New();
    if (self->functions == NULL || self->slots == NULL) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        Function *function = &self->functions[i];
        PyObject *name;
        const char *params, *result;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(functions, i), "Uss", &name, &params, &result)) return -1;
        /* Too many to call through this interface: a type that calls refuse. */
        strcpy(function->params, strlen(params) > MAX_PARAMS ? "?" : params);
        function->result = result[0] != 0 && result[1] != 0 ? '*' : result[0];
        function->name = Py_NewRef(name);
        self->function_count++;
        PyObject *slot = PyLong_FromSsize_t(i);
        if (slot == NULL || PyDict_SetItem(self->slots, name, slot) < 0) {
            Py_XDECREF(slot);
            return -1;
        }
        Py_DECREF(slot);
    }
    return 0;
}

static PyObject *linked_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"library", "hosts", "functions", "memory", "starts", "restorable", NULL};
    PyObject *library, *hosts, *functions;
    Py_ssize_t memory;
    int starts, restorable;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!npp:Linked", names, &LibraryType, &library, &PyTuple_Type,
                                     &hosts, &PyTuple_Type, &functions, &memory, &starts, &restorable))
        return NULL;
    Linked *self = (Linked *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->library = (Library *)Py_NewRef(library);
    self->memory = memory;
    self->starts = starts;
    self->restorable = restorable;
    if (read_hosts(self, hosts) < 0 || read_functions(self, functions) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    if (self->function_count + (size_t)starts != self->library->module->call_count) {
        PyErr_SetString(errors.engine_error, "the compiled module has other functions than it was translated from");
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int linked_traverse(PyObject *object, visitproc visit, void *arg) {
    Linked *self = (Linked *)object;
    for (size_t i = 0; i < self->host_count; i++) Py_VISIT(self->hosts[i].call);
    return 0;
}

/* No tp_clear: instances call through `hosts` for as long as they live, and they own their Linked; a cycle through a
 * host function is broken at its other members. */

static void linked_dealloc(PyObject *object) {
    Linked *self = (Linked *)object;
    PyObject_GC_UnTrack(object);
    for (size_t i = 0; i < self->host_count; i++) {
        Py_XDECREF(self->hosts[i].call);
        Py_XDECREF(self->hosts[i].label);
    }
    for (size_t i = 0; i < self->function_count; i++) Py_XDECREF(self->functions[i].name);
    PyMem_Free(self->hosts);
    PyMem_Free(self->functions);
    Py_XDECREF(self->slots);
    Py_XDECREF(self->initial);
    Py_XDECREF(self->library);
    Py_TYPE(object)->tp_free(object);
}

PyTypeObject LinkedType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "mix_wasm2c._native.Linked",
    .tp_doc = "A module joined to its host functions.",
    .tp_basicsize = sizeof(Linked),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = linked_new,
    .tp_traverse = linked_traverse,
    .tp_dealloc = linked_dealloc,
};
