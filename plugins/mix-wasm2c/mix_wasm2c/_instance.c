/* Instance: its life, and its methods for Python. */
#include "_instance.h"

#include <stdio.h>
#include <structmember.h>
#include <stdlib.h>

/* Whether this thread may use the instance now. */
bool instance_usable(Instance *self, bool also_finished) {
    if (self->host == NULL) {
        PyErr_SetString(errors.engine_error, "the instance is closed; make a new one");
    } else if (self->depth > 0 && self->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(errors.engine_error, "the instance is running in another thread; use one instance a thread");
    } else if (self->finished && !also_finished) {
        PyErr_SetString(errors.engine_error,
                        "the instance is finished, since a call failed or a reset was refused; make a new one");
    } else {
        return true;
    }
    return false;
}

/* Gives back what the purse of a run has lent, if there is one. */
static void settle(Instance *self) {
    if (self->account.purse == NULL) return;
    purse_give_back(self->account.purse, self->account.used);
    self->account.purse = NULL;
    PyBuffer_Release(&self->purse);
}

/* no GIL needed */
static void free_data(const mix_module *module, mix_host *host, Region **regions, size_t count) {
    if (host == NULL) return;
    module->release(host + 1);
    free(host);
    for (size_t i = 0; i < count; i++) region_release(regions[i]);
}

/* ---- what the code asks for while it runs (mix_module.h); no GIL ------------------------------------------- */

static uint8_t *new_memory(const void *key, uint64_t size, uint64_t most) {
    Instance *self = entry_innermost->instance;
    Region *region =
        self->region_count < MAX_MEMORIES ? region_new(&self->account, key, (size_t)size, (size_t)most) : NULL;
    if (region == NULL) return NULL;
    self->regions[self->region_count++] = region;
    return region->base;
}

static bool grow_memory(const void *key, uint64_t size) {
    Instance *self = entry_innermost->instance;
    for (size_t i = 0; i < self->region_count; i++)
        if (self->regions[i]->key == key) return region_grow(self->regions[i], &self->account, (size_t)size);
    return false;
}

static bool take_elements(uint64_t more) {
    Instance *self = entry_innermost->instance;
    if (more > self->most_elements - self->elements) return false;
    self->elements += (size_t)more;
    return true;
}

const mix_runtime instance_runtime = {entry_leave, entry_stop, host_call, new_memory, grow_memory, take_elements};

static void run_instantiate(Instance *self, void *data) {
    (void)data;
    module_of(self)->instantiate(data_of(self), self->host);
}

static PyObject *instance_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"linked", "memory", "table", "stack", "max_result", NULL};
    Linked *linked;
    Py_ssize_t memory, table, stack, max_result;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!nnnn:Instance", names, &LinkedType, &linked, &memory, &table, &stack,
                                     &max_result))
        return NULL;
    Instance *self = (Instance *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->owner = Py_NewRef(Py_None);
    self->linked = (Linked *)Py_NewRef(linked);
    self->account.limit = (size_t)memory;
    self->max_result = max_result < 0 ? SIZE_MAX : (size_t)max_result;
    self->most_elements = (size_t)table;
    self->stack = (size_t)stack;
    size_t size = (sizeof(mix_host) + module_of(self)->size + sizeof(mix_host) - 1) / sizeof(mix_host) * sizeof(mix_host);
    self->host = aligned_alloc(sizeof(mix_host), size);
    if (self->host == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    memset(self->host, 0, size);
    self->host->instance = self;
    bool passed;
    Py_BEGIN_ALLOW_THREADS
    /* No code of the guest runs, and none of its loops. */
    passed = entry_run(self, run_instantiate, NULL);
    Py_END_ALLOW_THREADS
    if (!passed) {
        /* A data or element segment that does not fit. */
        if (self->trap == MIX_NO_ROOM && !self->account.refused)
            PyErr_SetString(errors.engine_error, "the system has no more memory for an instance");
        else
            trap_raise(self);
        goto failed;
    }
    /* No guest code has run, so this state is the same for every instance. */
    if (linked->restorable && linked->initial == NULL) {
        PyObject *state = state_get(self);
        if (state == NULL) goto failed;
        Py_XSETREF(linked->initial, state);
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static int instance_traverse(PyObject *object, visitproc visit, void *arg) {
    Instance *self = (Instance *)object;
    Py_VISIT(self->owner);
    Py_VISIT(self->error);
    Py_VISIT(self->linked);
    return 0;
}

static int instance_clear(PyObject *object) {
    Instance *self = (Instance *)object;
    Py_CLEAR(self->owner);
    Py_CLEAR(self->error);
    return 0; /* `linked` stays: the code calls through it */
}

static void instance_dealloc(PyObject *object) {
    Instance *self = (Instance *)object;
    PyObject_GC_UnTrack(object);
    settle(self);
    if (self->host != NULL) free_data(module_of(self), self->host, self->regions, self->region_count);
    instance_clear(object);
    Py_XDECREF(self->linked);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *instance_start(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!instance_usable(self, false) || !entry_start(self)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *instance_charge(PyObject *object, PyObject *purse) {
    Instance *self = (Instance *)object;
    Py_buffer view;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot change its purse");
    settle(self);
    if (purse == Py_None) Py_RETURN_NONE;
    if (!instance_usable(self, true) || PyObject_GetBuffer(purse, &view, PyBUF_WRITABLE) < 0) return NULL;
    if (view.len < (Py_ssize_t)(2 * sizeof(int64_t)) || (uintptr_t)view.buf % sizeof(int64_t) != 0) {
        PyBuffer_Release(&view);
        return PyErr_Format(PyExc_TypeError, "a purse is two numbers of 64 bits");
    }
    if (!purse_take(view.buf, self->account.used)) {
        char detail[96];
        int64_t left = __atomic_load_n((int64_t *)view.buf, __ATOMIC_RELAXED);
        PyBuffer_Release(&view);
        snprintf(detail, sizeof detail, "the guest has %zu bytes, and the run that it belongs to has %lld left",
                 self->account.used, (long long)left);
        raise_limit("memory", self->account.limit, "bytes", detail);
        return NULL;
    }
    self->purse = view;
    self->account.purse = view.buf;
    Py_RETURN_NONE;
}

static PyObject *instance_footprint(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    size_t mappings = 0;
    (void)unused;
    for (size_t i = 0; i < self->region_count; i++) mappings += region_mappings(self->regions[i]);
    return Py_BuildValue("nn", (Py_ssize_t)(self->host != NULL ? self->account.used : 0), (Py_ssize_t)mappings);
}

static PyObject *instance_interrupt(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    /* `entry_begin` sets `lowest`, and `close` frees the host, with the GIL, which we hold. */
    atomic_store(&self->interrupted, true);
    if (self->host != NULL) self->host->lowest = UINTPTR_MAX;
    Py_RETURN_NONE;
}

static PyObject *instance_get_state(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!instance_usable(self, false)) return NULL;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be frozen");
    if (!entry_start(self)) return NULL;
    if (!self->linked->restorable) Py_RETURN_NONE;
    return state_get(self);
}

static PyObject *instance_set_state(PyObject *object, PyObject *state) {
    Instance *self = (Instance *)object;
    if (!instance_usable(self, true)) return NULL;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be reset");
    Py_XSETREF(self->owner, Py_NewRef(Py_None));
    if (self->finished) Py_RETURN_FALSE;
    int done = 0;
    if (self->linked->restorable && !atomic_load(&self->interrupted)) {
        bool fresh = state == Py_None;
        done = state_set(self, fresh ? self->linked->initial : state);
        self->started = !fresh;
    }
    if (done <= 0) self->finished = true;
    return done < 0 ? NULL : PyBool_FromLong(done);
}

static PyObject *instance_close(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be closed; interrupt it first");
    settle(self);
    if (self->host != NULL) {
        /* Seen as closed by other threads before the GIL is let go. */
        mix_host *host = self->host;
        size_t count = self->region_count;
        self->host = NULL;
        self->region_count = 0;
        Py_BEGIN_ALLOW_THREADS
        free_data(module_of(self), host, self->regions, count);
        Py_END_ALLOW_THREADS
    }
    Py_XSETREF(self->owner, Py_NewRef(Py_None));
    Py_RETURN_NONE;
}

static PyMethodDef instance_methods[] = {
    {"start", instance_start, METH_NOARGS, "Run the start function, if there is one and it has not run."},
    {"call", (PyCFunction)(void (*)(void))instance_call, METH_FASTCALL, "call(name, *args) -> int | float | None"},
    {"call_bytes", (PyCFunction)(void (*)(void))instance_call_bytes, METH_FASTCALL | METH_KEYWORDS,
     "call_bytes(name, *buffers, alloc='mix_alloc') -> bytes"},
    {"read", (PyCFunction)(void (*)(void))instance_read, METH_FASTCALL, "read(ptr, size) -> bytes"},
    {"write", (PyCFunction)(void (*)(void))instance_write, METH_FASTCALL, "write(ptr, data)"},
    {"memory", instance_memory, METH_NOARGS, "memory() -> memoryview"},
    {"grow", instance_grow, METH_O, "grow(pages) -> old size in pages"},
    {"charge", instance_charge, METH_O, "charge(purse | None): take all memory from the purse from now on."},
    {"footprint", instance_footprint, METH_NOARGS, "footprint() -> (bytes, mappings)"},
    {"interrupt", instance_interrupt, METH_NOARGS, "Make the guest trap soon; callable from any thread."},
    {"get_state", instance_get_state, METH_NOARGS, "The state as a tuple, or None if it cannot be restored."},
    {"set_state", instance_set_state, METH_O, "set_state(state | None) -> bool"},
    {"close", instance_close, METH_NOARGS, "Free everything. Idempotent."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef instance_members[] = {
    {"owner", T_OBJECT_EX, offsetof(Instance, owner), 0, "Whatever the creator hangs on it."},
    {"memory_refused", T_BOOL, offsetof(Instance, account.refused), READONLY,
     "Whether memory was refused to the guest since the outermost call began."},
    {"memory_limit", T_ULONG, offsetof(Instance, account.limit), READONLY, "Bytes of all memories together, at most."},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject InstanceType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "mix_wasm2c._native.Instance",
    .tp_doc = "A running module.",
    .tp_basicsize = sizeof(Instance),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_new = instance_new,
    .tp_traverse = instance_traverse,
    .tp_clear = instance_clear,
    .tp_dealloc = instance_dealloc,
    .tp_methods = instance_methods,
    .tp_members = instance_members,
};
