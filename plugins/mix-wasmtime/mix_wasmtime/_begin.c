/* Call: a call of the guest that was begun and is gone on with step by step. */
#include "_instance.h"

#include <string.h>

typedef enum { STARTING, PLACING, CALLING, OVER } Stage;

typedef struct {
    PyObject_HEAD
    Instance *instance; /* NULL once the call is over */
    PyObject *result;
    Stage stage;
    bool with_bytes, waits, gave_way;
    size_t slot, placed;
} Call;

/* What `step` answers; the same numbers as in `mixkit.contracts`. */
enum { DONE = 0, WAITS = 1, GAVE_WAY = 2 };

static void let_go(Call *self) {
    Instance *instance = self->instance;
    self->stage = OVER;
    self->waits = false;
    if (instance == NULL) return;
    if (self->with_bytes) bytes_call_free(&instance->fiber->bytes);
    instance->pending = NULL;
    self->instance = NULL;
    Py_DECREF(instance);
}

void call_drop(PyObject *object) {
    Call *self = (Call *)object;
    if (self->instance != NULL) {
        fiber_drop(self->instance);
        /* Even between two entries: part of what it was to do has been done. */
        self->instance->finished = true;
    }
    let_go(self);
}

static Call *new_call(Instance *instance) {
    if (!instance_usable(instance, false) || !instance_free(instance)) return NULL;
    if (instance->fiber == NULL) {
        PyErr_SetString(errors.engine_error, "the instance holds its thread while it runs; make it with suspends=True");
        return NULL;
    }
    Call *self = PyObject_GC_New(Call, &CallType);
    if (self == NULL) return NULL;
    self->instance = NULL;
    self->result = NULL;
    self->stage = OVER;
    self->with_bytes = self->waits = self->gave_way = false;
    self->placed = 0;
    PyObject_GC_Track(self);
    return self;
}

/* Everything is checked: from here on the call keeps the instance. */
static PyObject *begin(Call *self, Instance *instance) {
    int needed = entry_needs_start(instance);
    if (needed < 0) {
        if (self->with_bytes) bytes_call_free(&instance->fiber->bytes);
        Py_DECREF(self);
        return NULL;
    }
    self->stage = needed ? STARTING : self->with_bytes ? PLACING : CALLING;
    self->instance = (Instance *)Py_NewRef((PyObject *)instance);
    instance->pending = (PyObject *)self;
    instance->account.refused = false;
    return (PyObject *)self;
}

PyObject *instance_begin(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *instance = (Instance *)object;
    Call *self = new_call(instance);
    if (self == NULL) return NULL;
    if (numbers_call_read(instance, args, count, &self->slot, instance->fiber->values) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return begin(self, instance);
}

PyObject *instance_begin_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    Instance *instance = (Instance *)object;
    Call *self = new_call(instance);
    if (self == NULL) return NULL;
    if (!bytes_call_read(instance, &instance->fiber->bytes, args, count, keywords)) {
        Py_DECREF(self);
        return NULL;
    }
    self->with_bytes = true;
    self->slot = instance->fiber->bytes.function;
    return begin(self, instance);
}

/* no GIL. Enters the guest for what comes next. */
static void enter_next(Call *self, wasmtime_val_raw_t *value) {
    Instance *instance = self->instance;
    const BytesCall *bytes = &instance->fiber->bytes;
    if (self->stage == PLACING && self->placed == bytes->count) self->stage = CALLING;
    switch (self->stage) {
    case STARTING: fiber_begin(instance, instance->linked->function_count, NULL); break;
    case PLACING:
        memset(value, 0, sizeof *value);
        value->i32 = (int32_t)(uint32_t)bytes->buffers[self->placed].len;
        fiber_begin(instance, bytes->alloc, value);
        break;
    default: fiber_begin(instance, self->slot, instance->fiber->values);
    }
}

/* no GIL. What an entry that is done was for; `finished` says that it was the last. */
static Step take_value(Call *self, wasmtime_val_raw_t value, bool *finished) {
    *finished = self->stage == CALLING;
    if (self->stage == STARTING) {
        self->stage = self->with_bytes ? PLACING : CALLING;
    } else if (self->stage == PLACING) {
        Fiber *fiber = self->instance->fiber;
        Step step = bytes_call_place(&fiber->bytes, self->placed, value, fiber->values);
        if (step != GOOD) return step;
        self->placed++;
    }
    return GOOD;
}

/* no GIL. Goes on until there is something to say; the value is the last one that the guest gave. */
static FiberEvent go_on(Call *self, wasmtime_val_raw_t *value, Step *step) {
    for (;;) {
        bool finished;
        if (self->instance->fiber->future == NULL) enter_next(self, value);
        FiberEvent event = fiber_go(self->instance, value);
        if (event != FIBER_DONE) return event;
        *step = take_value(self, *value, &finished);
        if (*step != GOOD || finished) return FIBER_DONE;
    }
}

static PyObject *take_result(Call *self, const wasmtime_val_raw_t *value, Step step) {
    Instance *instance = self->instance;
    if (step != GOOD) return bytes_call_broken(instance, &instance->fiber->bytes, step, self->placed, (uint32_t)value->i32);
    if (self->with_bytes) return bytes_call_result(instance, &instance->fiber->bytes, *value);
    return value_to_python(value, instance->linked->functions[self->slot].result);
}

/* As `entry_begin` for a guest that may be on its way already. */
static bool enter(Call *self) {
    Instance *instance = self->instance;
    if (!self->gave_way) atomic_store(&instance->passed, false);
    self->gave_way = false;
    /* Before the flag is looked at: what sets it afterwards sees that the guest runs. */
    atomic_store(&instance->running, true);
    /* A guest that gave way sets its next deadline when it goes on, so nothing would stop it before that one. */
    if (atomic_load(&instance->interrupted)) {
        atomic_store(&instance->running, false);
        PyObject *none = PyList_New(0);
        trap_interrupted(none);
        Py_XDECREF(none);
        return false;
    }
    instance->pristine = false;
    instance->depth = 1;
    instance->thread = PyThread_get_thread_ident();
    return true;
}

static void leave(Instance *instance) {
    instance->depth = 0;
    atomic_store(&instance->running, false);
}

static PyObject *call_step(PyObject *object, PyObject *unused) {
    Call *self = (Call *)object;
    Instance *instance = self->instance;
    wasmtime_val_raw_t value;
    Step step = GOOD;
    (void)unused;
    if (self->stage == OVER) return PyErr_Format(errors.engine_error, "the call is over; begin another one");
    if (instance->depth > 0) return PyErr_Format(errors.engine_error, "the call is being stepped already");
    if (self->waits) {
        if (!instance->fiber->answered && !atomic_load(&instance->interrupted))
            return PyErr_Format(errors.engine_error, "the call waits for an answer; give it one with resume() or fail()");
        self->waits = false;
    }
    bool went_on = self->gave_way;
    if (!enter(self)) {
        call_drop(object);
        return NULL;
    }
    /* As for an interrupt: a guest that goes on sets its next deadline behind what was asked for before. */
    if (went_on && atomic_exchange(&instance->fiber->give_way, false)) {
        leave(instance);
        self->gave_way = true;
        return PyLong_FromLong(GAVE_WAY);
    }
    for (;;) {
        PyThreadState *thread_state = PyEval_SaveThread();
        FiberEvent event = go_on(self, &value, &step);
        PyEval_RestoreThread(thread_state);
        if (event == FIBER_DONE) {
            leave(instance);
            self->result = take_result(self, &value, step);
            bool good = self->result != NULL;
            let_go(self);
            return good ? PyLong_FromLong(DONE) : NULL;
        }
        if (event == FIBER_FAILED) {
            leave(instance);
            trap_raise(instance);
            let_go(self);
            return NULL;
        }
        if (event == FIBER_GAVE_WAY) {
            leave(instance);
            self->gave_way = true;
            return PyLong_FromLong(GAVE_WAY);
        }
        HostEnd end = fiber_call_host(instance);
        if (end == HOST_LATER) {
            leave(instance);
            self->waits = true;
            return PyLong_FromLong(WAITS);
        }
        /* Between two calls of its host a guest may come by no epoch check. */
        if (end == HOST_ANSWERED && atomic_exchange(&instance->fiber->give_way, false)) {
            leave(instance);
            self->gave_way = true;
            return PyLong_FromLong(GAVE_WAY);
        }
    }
}

static bool is_waiting(Call *self) {
    if (self->stage != OVER && self->waits && !self->instance->fiber->answered) return true;
    PyErr_SetString(errors.engine_error, "the call does not wait for an answer");
    return false;
}

static PyObject *call_resume(PyObject *object, PyObject *value) {
    Call *self = (Call *)object;
    wasmtime_val_raw_t raw;
    if (!is_waiting(self) || !host_result(self->instance->fiber->host, value, &raw)) return NULL;
    fiber_answer(self->instance, &raw);
    Py_RETURN_NONE;
}

static PyObject *call_fail(PyObject *object, PyObject *error) {
    Call *self = (Call *)object;
    if (!PyExceptionInstance_Check(error)) return PyErr_Format(PyExc_TypeError, "expected an exception, found %R", error);
    if (!is_waiting(self)) return NULL;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    fiber_fail(self->instance);
    Py_RETURN_NONE;
}

static PyObject *call_drop_method(PyObject *object, PyObject *unused) {
    Call *self = (Call *)object;
    (void)unused;
    if (self->instance != NULL && self->instance->depth > 0)
        return PyErr_Format(errors.engine_error, "a call that is being stepped cannot be dropped; interrupt the instance");
    call_drop(object);
    Py_RETURN_NONE;
}

static int call_traverse(PyObject *object, visitproc visit, void *arg) {
    Call *self = (Call *)object;
    Py_VISIT(self->instance);
    Py_VISIT(self->result);
    return 0;
}

static int call_clear(PyObject *object) {
    Call *self = (Call *)object;
    call_drop(object);
    Py_CLEAR(self->result);
    return 0;
}

static void call_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    call_clear(object);
    PyObject_GC_Del(object);
}

static PyMethodDef call_methods[] = {
    {"step", call_step, METH_NOARGS, "step() -> int: 0 done, 1 waits for an answer, 2 gave way."},
    {"resume", call_resume, METH_O, "resume(value): what the host function answers that the guest waits in."},
    {"fail", call_fail, METH_O, "fail(exception): what that host function raises."},
    {"drop", call_drop_method, METH_NOARGS, "Leave it half done; the instance is finished. Idempotent."},
    {NULL, NULL, 0, NULL},
};

static PyObject *call_get_result(PyObject *object, void *unused) {
    Call *self = (Call *)object;
    (void)unused;
    if (self->result == NULL) return PyErr_Format(errors.engine_error, "the call has no result: it is not done");
    return Py_NewRef(self->result);
}

static PyGetSetDef call_properties[] = {
    {"result", call_get_result, NULL, "What the guest answered, once the call is done.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject CallType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "mix_wasmtime._native.Call",
    .tp_doc = "A call of the guest that was begun and is gone on with step by step.",
    .tp_basicsize = sizeof(Call),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = call_traverse,
    .tp_clear = call_clear,
    .tp_dealloc = call_dealloc,
    .tp_methods = call_methods,
    .tp_getset = call_properties,
};
