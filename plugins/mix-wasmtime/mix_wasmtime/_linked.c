/* Linked: a module joined to its host functions. Made once for (engine, module, imports), instantiated often. */
#include "_native.h"

#include <string.h>

static uint8_t kind_of(char type) {
    switch (type) {
    case 'i': return 0;
    case 'I': return 1;
    case 'f': return 2;
    default: return 3;
    }
}

static wasm_functype_t *make_type(const char *params, char result) {
    wasm_valtype_vec_t in, out;
    size_t count = strlen(params);
    wt.wasm_valtype_vec_new_uninitialized(&in, count);
    for (size_t i = 0; i < count; i++) in.data[i] = wt.wasm_valtype_new(kind_of(params[i]));
    wt.wasm_valtype_vec_new_uninitialized(&out, result != 0);
    if (result != 0) out.data[0] = wt.wasm_valtype_new(kind_of(result));
    return wt.wasm_functype_new(&in, &out);
}

static int define_hosts(Linked *self, wasmtime_linker_t *linker, PyObject *hosts) {
    Py_ssize_t count = PyTuple_GET_SIZE(hosts);
    self->hosts = PyMem_Calloc((size_t)count + 1, sizeof *self->hosts);
    if (self->hosts == NULL) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *module, *name, *params, *result;
        Py_ssize_t module_size, name_size;
        PyObject *call;
        HostCall *host = &self->hosts[i];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(hosts, i), "s#s#ssO", &module, &module_size, &name, &name_size, &params,
                              &result, &call))
            return -1;
        if (strlen(params) > MAX_PARAMS) {
            PyErr_Format(errors.engine_error, "host function %s.%s has %zu parameters, the most is %d", module, name,
                         strlen(params), MAX_PARAMS);
            return -1;
        }
        host->label = PyUnicode_FromFormat("%s.%s", module, name);
        if (host->label == NULL) return -1;
        host->call = Py_NewRef(call);
        host->arity = strlen(params);
        strcpy(host->params, params);
        host->result = result[0];
        self->host_count++;
        wasm_functype_t *type = make_type(params, result[0]);
        wasmtime_error_t *error =
            self->suspends
                ? wt.wasmtime_linker_define_async_func(linker, module, (size_t)module_size, name, (size_t)name_size, type,
                                                       fiber_host_call, host, NULL)
                : wt.wasmtime_linker_define_func_unchecked(linker, module, (size_t)module_size, name, (size_t)name_size,
                                                           type, instance_host_call, host, NULL);
        wt.wasm_functype_delete(type);
        if (error != NULL) {
            PyObject *message = take_message(error);
            if (message != NULL) PyErr_SetObject(errors.engine_error, message);
            Py_XDECREF(message);
            return -1;
        }
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

static int read_variables(Linked *self, PyObject *variables) {
    Py_ssize_t count = PyTuple_GET_SIZE(variables);
    self->variables = PyMem_Calloc((size_t)count + 1, sizeof *self->variables);
    if (self->variables == NULL) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(variables, i), "bU", &self->variables[i].kind, &name)) return -1;
        self->variables[i].name = Py_NewRef(name);
        self->variable_count++;
    }
    return 0;
}

static PyObject *linked_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"owners",   "engine", "module", "hosts",      "functions", "variables",
                            "memories", "memory", "start",  "restorable", "heaps",     "stack",     "shift",
                            "own",      "suspends", NULL};
    PyObject *owners, *hosts, *functions, *variables, *memories, *start;
    unsigned long long engine, module;
    Py_ssize_t memory, heaps, stack, shift, own;
    int restorable, suspends;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OKKO!O!O!O!nOpnnnnp:Linked", names, &owners, &engine, &module,
                                     &PyTuple_Type, &hosts, &PyTuple_Type, &functions, &PyTuple_Type, &variables,
                                     &PyTuple_Type, &memories, &memory, &start, &restorable, &heaps, &stack, &shift,
                                     &own, &suspends))
        return NULL;
    if (PyTuple_GET_SIZE(memories) > MAX_MEMORIES)
        return PyErr_Format(errors.engine_error, "the module has %zd memories, expected at most %d",
                            PyTuple_GET_SIZE(memories), MAX_MEMORIES);
    if (wt.wasmtime_linker_new == NULL) return PyErr_Format(PyExc_RuntimeError, "call _native.load() first");
    if (suspends && wt.wasmtime_func_call_async == NULL)
        return PyErr_Format(errors.engine_error, "this build of Wasmtime has no calls on fibers");
    Linked *self = (Linked *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->owners = Py_NewRef(owners);
    self->engine = (wasm_engine_t *)(uintptr_t)engine;
    self->memories = Py_NewRef(memories);
    self->memory_count = (size_t)PyTuple_GET_SIZE(memories);
    self->memory = memory;
    self->start = Py_NewRef(start);
    self->restorable = restorable;
    self->suspends = suspends;
    self->heaps = (size_t)heaps;
    self->stack = (size_t)stack;
    self->shift = shift;
    self->own = (size_t)own;
    wasmtime_linker_t *linker = wt.wasmtime_linker_new(self->engine);
    int failed = define_hosts(self, linker, hosts) < 0 || read_functions(self, functions) < 0 ||
                 read_variables(self, variables) < 0;
    if (!failed) {
        wasmtime_error_t *error =
            wt.wasmtime_linker_instantiate_pre(linker, (wasmtime_module_t *)(uintptr_t)module, &self->pre);
        if (error != NULL) {
            PyObject *message = take_message(error);
            if (message != NULL) PyErr_SetObject(errors.engine_error, message);
            Py_XDECREF(message);
            failed = 1;
        }
    }
    wt.wasmtime_linker_delete(linker);
    if (failed) Py_CLEAR(self);
    return (PyObject *)self;
}

static int linked_traverse(PyObject *object, visitproc visit, void *arg) {
    Linked *self = (Linked *)object;
    Py_VISIT(self->owners);
    for (size_t i = 0; i < self->host_count; i++) Py_VISIT(self->hosts[i].call);
    return 0;
}

/* No tp_clear: instances call through `hosts` for as long as they live, and they own their Linked; a cycle through a
 * host function is broken at its other members. */

static void linked_dealloc(PyObject *object) {
    Linked *self = (Linked *)object;
    PyObject_GC_UnTrack(object);
    if (self->pre != NULL) wt.wasmtime_instance_pre_delete(self->pre);
    for (size_t i = 0; i < self->host_count; i++) {
        Py_XDECREF(self->hosts[i].call);
        Py_XDECREF(self->hosts[i].label);
    }
    for (size_t i = 0; i < self->function_count; i++) Py_XDECREF(self->functions[i].name);
    for (size_t i = 0; i < self->variable_count; i++) Py_XDECREF(self->variables[i].name);
    PyMem_Free(self->hosts);
    PyMem_Free(self->functions);
    PyMem_Free(self->variables);
    Py_XDECREF(self->slots);
    Py_XDECREF(self->memories);
    Py_XDECREF(self->start);
    Py_XDECREF(self->initial);
    Py_XDECREF(self->owners); /* last: they own what `pre` was made from */
    Py_TYPE(object)->tp_free(object);
}

PyTypeObject LinkedType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "mix_wasmtime._native.Linked",
    .tp_doc = "A module joined to its host functions, on one engine.",
    .tp_basicsize = sizeof(Linked),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = linked_new,
    .tp_traverse = linked_traverse,
    .tp_dealloc = linked_dealloc,
};
