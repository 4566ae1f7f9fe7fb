/* Instance: a store with one instance in it; its life, and its methods for Python. */
#include "_instance.h"

#include <stdio.h>
#include <structmember.h>
#include <time.h>

/* Whether this thread may use the instance now. */
bool instance_usable(Instance *self, bool also_finished) {
    if (self->store == NULL) {
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

bool instance_free(Instance *self) {
    if (self->pending == NULL && (self->fiber == NULL || self->fiber->future == NULL)) return true;
    PyErr_SetString(errors.engine_error,
                    "a call of the instance is under way, and one that runs on a fiber has one at a time; drop it first");
    return false;
}

/* Gives back what the purse of a run has lent, if there is one. */
static void settle(Instance *self) {
    if (self->account.purse == NULL) return;
    purse_give_back(self->account.purse, self->account.used);
    self->account.purse = NULL;
    PyBuffer_Release(&self->purse);
}

static void free_store(Instance *self) {
    if (self->store == NULL) return;
    wt.wasmtime_store_delete(self->store);
    self->store = NULL;
    for (size_t i = 0; i < self->region_count; i++) region_release(self->regions[i]);
    self->region_count = 0;
    region_release(self->heap);
    self->heap = NULL;
}

static bool instantiate(Instance *self) {
    Linked *linked = self->linked;
    Creation creation = {&self->account, NULL, 0};
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;

    region_creation = &creation;
    Py_BEGIN_ALLOW_THREADS
    bool done = true;
    if (self->fiber != NULL) done = fiber_instantiate(self, &trap, &error);
    else error = wt.wasmtime_instance_pre_instantiate(linked->pre, self->context, &self->instance, &trap);
    if (!done) error = wt.wasmtime_error_new("the instantiation waits");
    Py_END_ALLOW_THREADS
    region_creation = NULL;

    /* The newest is first on the list, and a heap for exceptions was made before the module's own. */
    size_t more = creation.count - linked->memory_count;
    bool whole = creation.count >= linked->memory_count && more <= linked->heaps;
    size_t index = linked->memory_count;
    for (Region *region = creation.newest, *next; region != NULL; region = next) {
        next = region->next;
        if (whole && index > 0) self->regions[--index] = region;
        else if (whole) self->heap = region;
        else region_release(region);
    }
    self->region_count = whole ? linked->memory_count : 0;
    if (error == NULL && trap == NULL) {
        if (whole) return true;
        PyErr_Format(PyExc_SystemError, "expected %zu memories, Wasmtime made %zu", linked->memory_count, creation.count);
    } else if (trap != NULL) {
        /* A data or element segment that does not fit. */
        self->trap = trap;
        trap_raise(self);
    } else if (self->account.refused) {
        wt.wasmtime_error_delete(error);
        raise_limit("memory", self->account.limit, "bytes", "the guest starts with more");
    } else {
        PyObject *message = take_message(error);
        if (message != NULL) PyErr_SetObject(errors.engine_error, message);
        Py_XDECREF(message);
    }
    return false;
}

static PyObject *instance_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"linked", "memory", "table", "max_result", NULL};
    Linked *linked;
    Py_ssize_t memory, table, max_result;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!nnn:Instance", names, &LinkedType, &linked, &memory, &table,
                                     &max_result))
        return NULL;
    Instance *self = (Instance *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->owner = Py_NewRef(Py_None);
    self->linked = (Linked *)Py_NewRef(linked);
    self->account.limit = (size_t)memory;
    self->max_result = max_result < 0 ? SIZE_MAX : (size_t)max_result;
    self->funcs = PyMem_Calloc(linked->function_count + 1, sizeof *self->funcs);
    self->globals = PyMem_Calloc(linked->variable_count + 1, sizeof *self->globals);
    self->regions = PyMem_Calloc(linked->memory_count + 1, sizeof *self->regions);
    if (linked->suspends) self->fiber = PyMem_Calloc(1, sizeof *self->fiber);
    if (self->funcs == NULL || self->globals == NULL || self->regions == NULL ||
        (linked->suspends && self->fiber == NULL)) {
        PyErr_NoMemory();
        goto failed;
    }
    self->store = wt.wasmtime_store_new(linked->engine, self, NULL);
    self->context = wt.wasmtime_store_context(self->store);
    /* Memories are counted by their regions; -1 leaves a limit at Wasmtime's own. */
    wt.wasmtime_store_limiter(self->store, -1, table, 1, -1, -1);
    wt.wasmtime_context_set_epoch_deadline(self->context, 1);
    wt.wasmtime_store_epoch_deadline_callback(self->store, entry_at_epoch, self, NULL);
    if (!instantiate(self)) goto failed;
    self->pristine = true;
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
    return 0; /* `linked` stays: the store calls through it */
}

static void instance_dealloc(PyObject *object) {
    Instance *self = (Instance *)object;
    PyObject_GC_UnTrack(object);
    settle(self);
    free_store(self);
    PyMem_Free(self->funcs);
    PyMem_Free(self->globals);
    PyMem_Free(self->regions);
    PyMem_Free(self->fiber);
    instance_clear(object);
    Py_XDECREF(self->linked);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *instance_start(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!instance_usable(self, false) || !instance_free(self) || !entry_start(self)) return NULL;
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
    if (self->heap != NULL) mappings += region_mappings(self->heap);
    /* The stack of a fiber and its guard. */
    if (self->fiber != NULL) mappings += 2;
    return Py_BuildValue("nn", (Py_ssize_t)(self->region_count > 0 ? self->account.used : 0), (Py_ssize_t)mappings);
}

/* Another instance was stopped during this call, and ours may be just between reading its flag and setting its next
 * deadline to after our increment. Increment again until it has noticed, which takes it microseconds unless the system
 * has stopped its thread. */
static void insist(Instance *self, atomic_bool *wanted) {
    if (!atomic_load(&self->running) || !atomic_load(&self->passed)) return;
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < 100 && atomic_load(&self->running) && atomic_load(&self->passed); i++) {
        if (wanted != NULL && !atomic_load(wanted)) break;
        wt.wasmtime_engine_increment_epoch(self->linked->engine);
        nanosleep(&(struct timespec){0, 100 * 1000}, NULL);
    }
    Py_END_ALLOW_THREADS
}

static PyObject *instance_interrupt(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    atomic_store(&self->interrupted, true);
    wt.wasmtime_engine_increment_epoch(self->linked->engine);
    insist(self, NULL);
    Py_RETURN_NONE;
}

PyObject *instance_give_way(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (self->fiber == NULL)
        return PyErr_Format(errors.engine_error, "the instance holds its thread while it runs; make it with suspends=True");
    atomic_store(&self->fiber->give_way, true);
    wt.wasmtime_engine_increment_epoch(self->linked->engine);
    insist(self, &self->fiber->give_way);
    Py_RETURN_NONE;
}

static PyObject *instance_get_state(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!instance_usable(self, false)) return NULL;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be frozen");
    if (!instance_free(self)) return NULL;
    if (!entry_start(self)) return NULL;
    if (!self->linked->restorable) Py_RETURN_NONE;
    return state_get(self);
}

static PyObject *instance_set_state(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    const Image *image = NULL;
    if (count < 1 || count > 2) return PyErr_Format(PyExc_TypeError, "set_state() takes a state and an image of it");
    PyObject *state = args[0];
    if (count == 2 && args[1] != Py_None) {
        if (!Py_IS_TYPE(args[1], &ImageType)) return PyErr_Format(PyExc_TypeError, "expected an Image, found %R", args[1]);
        image = (const Image *)args[1];
    }
    if (!instance_usable(self, true)) return NULL;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be reset");
    if (!instance_free(self)) return NULL;
    Py_XSETREF(self->owner, Py_NewRef(Py_None));
    if (self->finished) Py_RETURN_FALSE;
    int done = 0;
    if (self->linked->restorable && !atomic_load(&self->interrupted)) {
        bool fresh = state == Py_None;
        done = state_set(self, fresh ? self->linked->initial : state, image);
        self->started = !fresh;
    }
    if (done <= 0) self->finished = true;
    return done < 0 ? NULL : PyBool_FromLong(done);
}

static PyObject *instance_close(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be closed; interrupt it first");
    if (self->pending != NULL) call_drop(self->pending);
    settle(self);
    if (self->store != NULL) {
        /* Seen as closed by other threads before the GIL is let go. */
        Instance taken = {
            .store = self->store, .regions = self->regions, .region_count = self->region_count, .heap = self->heap};
        self->store = NULL;
        self->region_count = 0;
        self->heap = NULL;
        Py_BEGIN_ALLOW_THREADS
        free_store(&taken);
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
    {"begin", (PyCFunction)(void (*)(void))instance_begin, METH_FASTCALL, "begin(name, *args) -> Call"},
    {"begin_bytes", (PyCFunction)(void (*)(void))instance_begin_bytes, METH_FASTCALL | METH_KEYWORDS,
     "begin_bytes(name, *buffers, alloc='mix_alloc') -> Call"},
    {"give_way", instance_give_way, METH_NOARGS, "Make the step that is under way end soon; callable from any thread."},
    {"read", (PyCFunction)(void (*)(void))instance_read, METH_FASTCALL, "read(ptr, size) -> bytes"},
    {"write", (PyCFunction)(void (*)(void))instance_write, METH_FASTCALL, "write(ptr, data)"},
    {"memory", instance_memory, METH_NOARGS, "memory() -> memoryview"},
    {"grow", instance_grow, METH_O, "grow(pages) -> old size in pages"},
    {"charge", instance_charge, METH_O, "charge(purse | None): take all memory from the purse from now on."},
    {"footprint", instance_footprint, METH_NOARGS, "footprint() -> (bytes, mappings)"},
    {"interrupt", instance_interrupt, METH_NOARGS, "Make the guest trap soon; callable from any thread."},
    {"get_state", instance_get_state, METH_NOARGS, "The state as a tuple, or None if it cannot be restored."},
    {"set_state", (PyCFunction)(void (*)(void))instance_set_state, METH_FASTCALL,
     "set_state(state | None, image=None) -> bool"},
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
    .tp_name = "mix_wasmtime._native.Instance",
    .tp_doc = "A store with one instance in it.",
    .tp_basicsize = sizeof(Instance),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_new = instance_new,
    .tp_traverse = instance_traverse,
    .tp_clear = instance_clear,
    .tp_dealloc = instance_dealloc,
    .tp_methods = instance_methods,
    .tp_members = instance_members,
};
