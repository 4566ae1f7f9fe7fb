/* Instance: a store with one instance in it, and the crossing between Python and the guest. */
#define _GNU_SOURCE
#include "_native.h"

#include <pthread.h>
#include <structmember.h>
#include <string.h>
#include <time.h>

#define MAX_BUFFERS (MAX_PARAMS / 2)

/* Restoring up to so many bytes is not worth letting other threads run. */
#define KEEP_GIL ((size_t)4 << 20)

/* Zeros that one restore writes to a memory in large pieces: those of a small guest, which touches them in every run,
 * but not all those between the runs of a large one (measured). */
#define CLEARED_BY_WRITING ((size_t)256 * 1024)

/* Bytes of a page, the unit in which memories grow. */
#define PAGE ((size_t)65536)

/* Native stack that must be left below the guest's, for Wasmtime, host functions and signal handlers. */
#define HOST_STACK (256 * 1024)

typedef struct {
    PyObject_HEAD
    PyObject *owner;
    PyObject *error; /* what a host function raised, on its way to the caller of the guest */
    Linked *linked;
    wasmtime_store_t *store; /* NULL once closed */
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasmtime_func_t *funcs; /* by slot, the last one is the start function; looked up on first use */
    wasmtime_global_t *globals;
    bool globals_known;
    Account account;
    Py_buffer purse; /* holds the memory of `account.purse` */
    Region **regions;
    size_t region_count;
    wasm_trap_t *trap; /* how the last entry failed: at most one of the two */
    wasmtime_error_t *failure;
    PyThreadState *thread_state;
    unsigned long thread;
    int depth; /* calls under way, one inside the other */
    size_t max_result;
    bool started, finished;
    atomic_bool interrupted; /* never cleared */
    atomic_bool running;
    atomic_bool passed; /* an epoch check let the guest go on, and it has not been seen outside since */
} Instance;

/* ---- errors ---------------------------------------------------------------------------------------------- */

static void keep_exception(Instance *self) {
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
static PyObject *read_frames(wasm_frame_vec_t *frames, Py_ssize_t shift) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < frames->size; i++) {
        const wasm_byte_vec_t *name = wt.wasmtime_frame_func_name(frames->data[i]);
        PyObject *frame = Py_BuildValue("Is#n", wt.wasm_frame_func_index(frames->data[i]),
                                        name != NULL ? name->data : NULL, name != NULL ? (Py_ssize_t)name->size : 0,
                                        (Py_ssize_t)wt.wasm_frame_module_offset(frames->data[i]) - shift);
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

static void raise_interrupt(PyObject *frames) {
    PyObject *message = PyUnicode_FromString("interrupted from outside");
    raise_trap(TRAP_INTERRUPT, message, frames);
    Py_XDECREF(message);
}

/* Raises what made the last entry fail, and finishes the instance. */
static void fail(Instance *self) {
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
        PyObject *frames = read_frames(&trace, self->linked->shift);
        if (atomic_load(&self->interrupted)) {
            raise_interrupt(frames);
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

static PyObject *broken(Instance *self, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(errors.guest_error, format, arguments);
    va_end(arguments);
    self->finished = true;
    return NULL;
}

/* Whether this thread may use the instance now. */
static bool usable(Instance *self, bool also_finished) {
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

/* ---- the native stack ------------------------------------------------------------------------------------ */

/* Nested instances stack their guests' frames on one native stack. Wasmtime looks at each guest's share only, so the
 * end of the thread's stack is watched here: running over it would kill the process. */
static bool stack_suffices(size_t need) {
    static _Thread_local char *low, *high;
    if (low == NULL) {
        pthread_attr_t attributes;
        void *address;
        size_t size;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0) return true;
        if (pthread_attr_getstack(&attributes, &address, &size) == 0) {
            low = address;
            high = low + size;
        }
        pthread_attr_destroy(&attributes);
    }
    char *here = __builtin_frame_address(0);
    /* Outside: a coroutine library has put us on a stack of its own. */
    return here < low || here >= high || (size_t)(here - low) >= need;
}

/* ---- entering the guest ---------------------------------------------------------------------------------- */

/* Releases the GIL. False with an exception when the guest may not be entered. */
static bool begin(Instance *self) {
    if (atomic_load(&self->interrupted)) {
        self->finished = true;
        PyObject *none = PyList_New(0);
        raise_interrupt(none);
        Py_XDECREF(none);
        return false;
    }
    if (!stack_suffices(self->linked->stack + HOST_STACK)) {
        self->finished = true;
        raise_limit("stack", self->linked->stack, "bytes",
                    "the thread has less native stack left than that: calls are nested too deeply, or "
                    "threading.stack_size is too small");
        return false;
    }
    if (self->depth++ == 0) {
        self->account.refused = false;
        self->thread = PyThread_get_thread_ident();
    }
    atomic_store_explicit(&self->passed, false, memory_order_relaxed);
    atomic_store_explicit(&self->running, true, memory_order_relaxed);
    self->thread_state = PyEval_SaveThread();
    return true;
}

/* Takes the GIL again. */
static void end(Instance *self) {
    PyEval_RestoreThread(self->thread_state);
    if (--self->depth == 0) atomic_store_explicit(&self->running, false, memory_order_relaxed);
}

/* no GIL, between begin and end. After false, `fail` raises. */
static bool enter(Instance *self, const wasmtime_func_t *func, wasmtime_val_raw_t *values, size_t count) {
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *failure = wt.wasmtime_func_call_unchecked(self->context, func, values, count, &trap);
    if (failure == NULL && trap == NULL) return true;
    self->failure = failure;
    self->trap = trap;
    return false;
}

/* no GIL */
static wasmtime_error_t *at_epoch(wasmtime_context_t *context, void *data, uint64_t *delta, uint8_t *kind) {
    Instance *self = data;
    (void)context, (void)kind;
    /* This order, against the one in `interrupt`: whoever comes second sees the other. */
    atomic_store(&self->passed, true);
    if (atomic_load(&self->interrupted)) return wt.wasmtime_error_new("interrupted");
    *delta = 1;
    return NULL;
}

/* By name: to ask for the n-th export takes Wasmtime n steps. False with an exception. */
static bool find_export(Instance *self, PyObject *name, uint8_t kind, wasmtime_extern_t *found) {
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (text == NULL) return false;
    if (wt.wasmtime_instance_export_get(self->context, &self->instance, text, (size_t)size, found) && found->kind == kind)
        return true;
    PyErr_Format(PyExc_SystemError, "the export %R is not what it was compiled as", name);
    return false;
}

static bool find_func(Instance *self, size_t slot, PyObject *name) {
    if (self->funcs[slot].store_id != 0) return true;
    wasmtime_extern_t found;
    if (!find_export(self, name, EXTERN_FUNC, &found)) return false;
    self->funcs[slot] = found.of.func;
    return true;
}

/* The start function runs once, before anything else of the guest, where it can be interrupted. */
static bool start(Instance *self) {
    if (self->started) return true;
    self->started = true;
    if (self->linked->start == Py_None) return true;
    size_t slot = self->linked->function_count;
    if (!find_func(self, slot, self->linked->start) || !begin(self)) return false;
    bool passed = enter(self, &self->funcs[slot], NULL, 0);
    end(self);
    if (!passed) fail(self);
    return passed;
}

/* The exported function of that name, found in the store; NULL with an exception. */
static const Function *function_of(Instance *self, PyObject *name, size_t *slot) {
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "a function's name is a str, not %.100s", Py_TYPE(name)->tp_name);
        return NULL;
    }
    PyObject *index = PyDict_GetItemWithError(self->linked->slots, name);
    if (index == NULL) {
        PyObject *known = PyErr_Occurred() ? NULL : PyDict_Keys(self->linked->slots);
        if (known != NULL) {
            PyErr_Format(errors.engine_error, "the guest exports no function %R; it exports %R", name, known);
            Py_DECREF(known);
        }
        return NULL;
    }
    *slot = PyLong_AsSize_t(index);
    const Function *function = &self->linked->functions[*slot];
    return find_func(self, *slot, function->name) ? function : NULL;
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static int argument_to_raw(PyObject *value, char type, wasmtime_val_raw_t *raw) {
    memset(raw, 0, sizeof *raw);
    if (type == 'f' || type == 'd') {
        double number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) return -1;
        if (type == 'f') raw->f32 = (float)number;
        else raw->f64 = number;
        return 0;
    }
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "expected an int, found %.100s", Py_TYPE(value)->tp_name);
        return -1;
    }
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (type == 'i' && (overflow || number < INT32_MIN || number > UINT32_MAX)) {
        PyErr_SetString(PyExc_OverflowError, "the int does not fit into 32 bits");
        return -1;
    }
    if (overflow > 0) {
        number = (long long)PyLong_AsUnsignedLongLong(value);
        if (PyErr_Occurred()) return -1;
    } else if (overflow < 0) {
        PyErr_SetString(PyExc_OverflowError, "the int does not fit into 64 bits");
        return -1;
    }
    if (type == 'i') raw->i32 = (int32_t)number;
    else raw->i64 = number;
    return 0;
}

static int result_to_raw(PyObject *value, char type, wasmtime_val_raw_t *raw) {
    if (type == 'f' || type == 'd') return argument_to_raw(value, type, raw);
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "expected an int, found %.100s", Py_TYPE(value)->tp_name);
        return -1;
    }
    /* Modulo 2^64, and then of 2^32. */
    unsigned long long number = PyLong_AsUnsignedLongLongMask(value);
    memset(raw, 0, sizeof *raw);
    if (type == 'i') raw->i32 = (int32_t)(uint32_t)number;
    else raw->i64 = (int64_t)number;
    return 0;
}

static PyObject *raw_to_value(const wasmtime_val_raw_t *raw, char type) {
    switch (type) {
    case 'i': return PyLong_FromLong(raw->i32);
    case 'I': return PyLong_FromLongLong(raw->i64);
    case 'f': return PyFloat_FromDouble((double)raw->f32);
    case 'd': return PyFloat_FromDouble(raw->f64);
    default: Py_RETURN_NONE;
    }
}

/* ---- host functions -------------------------------------------------------------------------------------- */

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
static bool answer(Instance *self, const HostCall *host, wasmtime_val_raw_t *values) {
    /* One place before the arguments is lent to the callee (PY_VECTORCALL_ARGUMENTS_OFFSET). */
    PyObject *arguments[MAX_PARAMS + 2];
    size_t count = 1;
    PyObject *result = NULL;
    arguments[1] = (PyObject *)self;
    for (; count <= host->arity; count++) {
        arguments[count + 1] = raw_to_value(&values[count - 1], host->params[count - 1]);
        if (arguments[count + 1] == NULL) break;
    }
    if (count > host->arity)
        result = PyObject_Vectorcall(host->call, arguments + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    while (count > 1) Py_DECREF(arguments[count--]);
    if (result == NULL) return false;

    bool fits = true;
    if (host->result != 0) {
        fits = result_to_raw(result, host->result, &values[0]) == 0;
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
wasm_trap_t *instance_host_call(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
    Instance *self = wt.wasmtime_context_get_data(wt.wasmtime_caller_context(caller));
    (void)count;
    atomic_store(&self->passed, false);
    bool good = false;
    if (!atomic_load(&self->interrupted)) {
        PyEval_RestoreThread(self->thread_state);
        good = answer(self, env, values);
        if (!good) keep_exception(self);
        self->thread_state = PyEval_SaveThread();
    }
    if (good && !atomic_load(&self->interrupted)) return NULL;
    return wt.wasmtime_trap_new_code(TRAP_UNREACHABLE);
}

/* ---- state ----------------------------------------------------------------------------------------------- */

static bool find_globals(Instance *self) {
    Linked *linked = self->linked;
    for (size_t i = 0; i < linked->variable_count && !self->globals_known; i++) {
        wasmtime_extern_t found;
        if (!find_export(self, linked->variables[i].name, EXTERN_GLOBAL, &found)) return false;
        self->globals[i] = found.of.global;
    }
    self->globals_known = true;
    return true;
}

/* Counts as running, so that no other thread gets in while the GIL is away: which it is for much work only. */
static PyThreadState *hold(Instance *self) {
    self->thread = PyThread_get_thread_ident();
    self->depth++;
    return self->account.used > KEEP_GIL ? PyEval_SaveThread() : NULL;
}

static void let_go(Instance *self, PyThreadState *thread_state) {
    if (thread_state != NULL) PyEval_RestoreThread(thread_state);
    self->depth--;
}

/* (bytes of the memory, its runs of what is not zero, their contents one after the other) */
static PyObject *get_memory(Instance *self, const Region *region) {
    Run *runs;
    PyThreadState *thread_state = hold(self);
    size_t count = region_runs(region, &runs), total = 0;
    let_go(self, thread_state);
    if (count == SIZE_MAX) return PyErr_NoMemory();
    for (size_t i = 0; i < count; i++) total += runs[i].size;
    PyObject *contents = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total), *item = NULL;
    if (contents != NULL) {
        char *to = PyBytes_AS_STRING(contents);
        for (size_t i = 0; i < count; to += runs[i++].size) memcpy(to, region->base + runs[i].offset, runs[i].size);
        item = Py_BuildValue("ny#N", (Py_ssize_t)atomic_load(&region->size), count == 0 ? "" : (char *)runs,
                             (Py_ssize_t)(count * sizeof *runs), contents);
    }
    free(runs);
    return item;
}

/* ((a memory each, …), the globals at 16 bytes each) */
static PyObject *get_state(Instance *self) {
    Linked *linked = self->linked;
    if (!find_globals(self)) return NULL;
    PyObject *memories = PyTuple_New((Py_ssize_t)self->region_count);
    if (memories == NULL) return NULL;
    for (size_t i = 0; i < self->region_count; i++) {
        PyObject *item = get_memory(self, self->regions[i]);
        if (item == NULL) {
            Py_DECREF(memories);
            return NULL;
        }
        PyTuple_SET_ITEM(memories, (Py_ssize_t)i, item);
    }
    PyObject *globals = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(linked->variable_count * sizeof(wasmtime_val_raw_t)));
    if (globals == NULL) {
        Py_DECREF(memories);
        return NULL;
    }
    char *to = PyBytes_AS_STRING(globals);
    for (size_t i = 0; i < linked->variable_count; i++, to += sizeof(wasmtime_val_raw_t)) {
        wasmtime_val_t value;
        memset(&value, 0, sizeof value);
        wt.wasmtime_global_get(self->context, &self->globals[i], &value);
        memcpy(to, &value.of.raw, sizeof value.of.raw);
    }
    return Py_BuildValue("NN", memories, globals);
}

/* Grows a memory to that size, within the account. False with an exception. */
static bool grow_to(Instance *self, size_t index, size_t size) {
    size_t before = atomic_load(&self->regions[index]->size);
    wasmtime_extern_t found;
    uint64_t pages;
    if (size == before) return true;
    if (!find_export(self, PyTuple_GET_ITEM(self->linked->memories, (Py_ssize_t)index), EXTERN_MEMORY, &found))
        return false;
    wasmtime_error_t *error =
        wt.wasmtime_memory_grow(self->context, &found.of.memory, (size - before) / PAGE, &pages);
    if (error == NULL) return true;
    wt.wasmtime_error_delete(error);
    raise_limit("memory", self->account.limit, "bytes", "the system has no more for the state after init");
    return false;
}

/* A memory of a state, whose bytes stay owned by it. */
typedef struct {
    size_t size, count;
    const char *runs, *contents;
} Kept;

static Run run_of(const Kept *kept, size_t index) {
    Run run;
    memcpy(&run, kept->runs + index * sizeof run, sizeof run);
    return run;
}

/* False with an exception: not what `get_memory` makes. */
static bool read_kept(PyObject *item, Kept *kept) {
    Py_ssize_t size, length, room;
    if (!PyArg_ParseTuple(item, "ny#y#", &size, &kept->runs, &length, &kept->contents, &room)) return false;
    kept->size = (size_t)size;
    kept->count = (size_t)length / sizeof(Run);
    uint64_t at = 0, left = (uint64_t)room;
    bool good = size >= 0 && (size_t)size % PAGE == 0 && (size_t)length % sizeof(Run) == 0;
    for (size_t i = 0; good && i < kept->count; i++) {
        Run run = run_of(kept, i);
        good = run.offset >= at && run.offset <= kept->size && run.size <= kept->size - run.offset && run.size <= left;
        at = run.offset + run.size;
        left -= run.size;
    }
    if (!good || left != 0) {
        PyErr_SetString(errors.engine_error, "the snapshot is damaged: its runs of memory do not add up; take a new one");
        return false;
    }
    return true;
}

static void restore(Region *region, const Kept *kept) {
    size_t at = 0, budget = CLEARED_BY_WRITING;
    const char *from = kept->contents;
    for (size_t i = 0; i < kept->count; i++) {
        Run run = run_of(kept, i);
        region_clear(region, at, (size_t)run.offset, &budget);
        memcpy(region->base + run.offset, from, (size_t)run.size);
        from += run.size;
        at = (size_t)(run.offset + run.size);
    }
    region_clear(region, at, kept->size, &budget);
}

/* 1 done, 0 not possible, -1 exception. The shape is checked in full before anything is written. */
static int set_state(Instance *self, PyObject *state) {
    Linked *linked = self->linked;
    PyObject *memories, *globals;
    size_t total = 0;
    if (!PyArg_ParseTuple(state, "O!S", &PyTuple_Type, &memories, &globals)) return -1;
    if ((size_t)PyTuple_GET_SIZE(memories) != self->region_count ||
        (size_t)PyBytes_GET_SIZE(globals) != linked->variable_count * sizeof(wasmtime_val_raw_t)) {
        PyErr_SetString(errors.engine_error, "the snapshot is of another module");
        return -1;
    }
    Kept kept[MAX_MEMORIES];
    for (size_t i = 0; i < self->region_count; i++) {
        if (!read_kept(PyTuple_GET_ITEM(memories, (Py_ssize_t)i), &kept[i])) return -1;
        total += kept[i].size;
    }
    /* Wasm memories never shrink, but one that is too small is grown as the guest's init did. */
    for (size_t i = 0; i < self->region_count; i++)
        if (kept[i].size < atomic_load(&self->regions[i]->size)) return 0;
    if (total > self->account.limit) {
        char detail[64];
        snprintf(detail, sizeof detail, "the guest has %zu after its init", total);
        raise_limit("memory", self->account.limit, "bytes", detail);
        return -1;
    }
    if (!find_globals(self)) return -1;
    for (size_t i = 0; i < self->region_count; i++)
        if (!grow_to(self, i, kept[i].size)) return -1;
    PyThreadState *thread_state = hold(self);
    for (size_t i = 0; i < self->region_count; i++) restore(self->regions[i], &kept[i]);
    let_go(self, thread_state);
    const char *from = PyBytes_AS_STRING(globals);
    for (size_t i = 0; i < linked->variable_count; i++, from += sizeof(wasmtime_val_raw_t)) {
        wasmtime_val_t value;
        memset(&value, 0, sizeof value);
        value.kind = linked->variables[i].kind;
        memcpy(&value.of.raw, from, sizeof value.of.raw);
        wasmtime_error_t *error = wt.wasmtime_global_set(self->context, &self->globals[i], &value);
        if (error != NULL) {
            PyObject *message = take_message(error);
            if (message != NULL) PyErr_SetObject(errors.engine_error, message);
            Py_XDECREF(message);
            return -1;
        }
    }
    return 1;
}

/* ---- life ------------------------------------------------------------------------------------------------ */

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
}

static bool instantiate(Instance *self) {
    Linked *linked = self->linked;
    Creation creation = {&self->account, NULL, 0};
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error;

    region_creation = &creation;
    Py_BEGIN_ALLOW_THREADS
    error = wt.wasmtime_instance_pre_instantiate(linked->pre, self->context, &self->instance, &trap);
    Py_END_ALLOW_THREADS
    region_creation = NULL;

    /* The newest is first on the list. A store that made others than the module's own (a heap for collected objects)
     * keeps them for itself. */
    bool expected = creation.count <= linked->memory_count;
    size_t index = creation.count;
    for (Region *region = creation.newest, *next; region != NULL; region = next) {
        next = region->next;
        if (expected) self->regions[--index] = region;
        else region_release(region);
    }
    self->region_count = expected ? creation.count : 0;
    if (error == NULL && trap == NULL) {
        if (creation.count == linked->memory_count) return true;
        PyErr_Format(PyExc_SystemError, "expected %zu memories, Wasmtime made %zu", linked->memory_count, creation.count);
    } else if (trap != NULL) {
        /* A data or element segment that does not fit. */
        self->trap = trap;
        fail(self);
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
    if (self->funcs == NULL || self->globals == NULL || self->regions == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    self->store = wt.wasmtime_store_new(linked->engine, self, NULL);
    self->context = wt.wasmtime_store_context(self->store);
    /* Memories are counted by their regions; -1 leaves a limit at Wasmtime's own. */
    wt.wasmtime_store_limiter(self->store, -1, table, 1, -1, -1);
    wt.wasmtime_context_set_epoch_deadline(self->context, 1);
    wt.wasmtime_store_epoch_deadline_callback(self->store, at_epoch, self, NULL);
    if (!instantiate(self)) goto failed;
    /* No guest code has run, so this state is the same for every instance. */
    if (linked->restorable && linked->initial == NULL) {
        PyObject *state = get_state(self);
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
    instance_clear(object);
    Py_XDECREF(self->linked);
    Py_TYPE(object)->tp_free(object);
}

/* ---- methods --------------------------------------------------------------------------------------------- */

static PyObject *instance_start(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!usable(self, false) || !start(self)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *instance_call(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    wasmtime_val_raw_t values[MAX_PARAMS + 1];
    size_t slot;
    if (count < 1) return PyErr_Format(PyExc_TypeError, "call() needs the name of a function");
    if (!usable(self, false)) return NULL;
    const Function *function = function_of(self, args[0], &slot);
    if (function == NULL) return NULL;
    size_t arity = strlen(function->params);
    if (strchr(function->params, '?') != NULL || function->result == '?' || function->result == '*')
        return PyErr_Format(errors.engine_error,
                            "%R cannot be called from outside: it takes or gives vectors or references, has more than "
                            "%d parameters, or more than one result",
                            args[0], MAX_PARAMS);
    if ((size_t)count - 1 != arity)
        return PyErr_Format(errors.engine_error, "%R takes %zu arguments, found %zd", args[0], arity, count - 1);
    for (size_t i = 0; i < arity; i++) {
        if (argument_to_raw(args[i + 1], function->params[i], &values[i]) < 0) {
            PyErr_Clear();
            return PyErr_Format(errors.engine_error, "argument %zu of %R: expected %s, found %R", i + 1, args[0],
                                function->params[i] == 'i'   ? "an int of 32 bits"
                                : function->params[i] == 'I' ? "an int of 64 bits"
                                                             : "a number",
                                args[i + 1]);
        }
    }
    if (!start(self) || !begin(self)) return NULL;
    bool passed = enter(self, &self->funcs[slot], values, arity > 0 ? arity : function->result != 0);
    end(self);
    if (!passed) {
        fail(self);
        return NULL;
    }
    return raw_to_value(&values[0], function->result);
}

static Region *main_memory(Instance *self) {
    Py_ssize_t index = self->linked->memory;
    if (index >= 0 && (size_t)index < self->region_count) return self->regions[index];
    PyErr_SetString(errors.engine_error, "the guest exports no memory named \"memory\"");
    return NULL;
}

static bool inside(Region *region, uint32_t ptr, size_t size) {
    size_t whole = atomic_load_explicit(&region->size, memory_order_relaxed);
    return ptr <= whole && size <= whole - ptr;
}

static PyObject *copy_result(Instance *self, Region *region, PyObject *name, uint64_t packed) {
    uint32_t ptr = (uint32_t)(packed >> 32), size = (uint32_t)packed;
    if (!inside(region, ptr, size))
        return broken(self, "%R answered %u bytes at %u, outside its memory of %zu bytes", name, size, ptr,
                      atomic_load(&region->size));
    if (size > self->max_result) {
        char detail[40];
        PyOS_snprintf(detail, sizeof detail, "%u bytes", size);
        self->finished = true;
        raise_limit("result_size", self->max_result, "bytes", detail);
        return NULL;
    }
    return PyBytes_FromStringAndSize((const char *)region->base + ptr, (Py_ssize_t)size);
}

/* Which step of call_bytes went wrong. */
typedef enum { GOOD, FAILED, NO_ROOM, OUTSIDE } Step;

static PyObject *call_with(Instance *self, Region *region, PyObject *name, size_t function, size_t alloc,
                           const Py_buffer *buffers, size_t count) {
    wasmtime_val_raw_t values[MAX_PARAMS], one;
    Step step = GOOD;
    size_t i = 0;
    if (!begin(self)) return NULL;
    for (; i < count && step == GOOD; i++) {
        size_t size = (size_t)buffers[i].len;
        memset(&one, 0, sizeof one);
        one.i32 = (int32_t)(uint32_t)size;
        if (!enter(self, &self->funcs[alloc], &one, 1)) {
            step = FAILED;
        } else if (one.i32 == 0 && size != 0) {
            step = NO_ROOM;
        } else if (!inside(region, (uint32_t)one.i32, size)) {
            step = OUTSIDE;
        } else {
            memcpy(region->base + (uint32_t)one.i32, buffers[i].buf, size);
            memset(&values[2 * i], 0, 2 * sizeof values[0]);
            values[2 * i].i32 = one.i32;
            values[2 * i + 1].i32 = (int32_t)(uint32_t)size;
        }
    }
    if (step == GOOD && !enter(self, &self->funcs[function], values, count > 0 ? 2 * count : 1)) step = FAILED;
    end(self);
    switch (step) {
    case FAILED:
        fail(self);
        return NULL;
    case NO_ROOM:
        if (self->account.refused) {
            self->finished = true;
            raise_limit("memory", self->account.limit, "bytes", "no room for an argument");
            return NULL;
        }
        return broken(self, "the guest has no room for an argument of %zd bytes: its allocator answered 0",
                      buffers[i - 1].len);
    case OUTSIDE:
        return broken(self, "the guest's allocator answered %u for %zd bytes, outside its memory of %zu bytes",
                      (uint32_t)one.i32, buffers[i - 1].len, atomic_load(&region->size));
    default: return copy_result(self, region, name, (uint64_t)values[0].i64);
    }
}

/* Whether the function takes `pairs` times (ptr, len) and gives i64. */
static bool takes_pairs(const Function *function, size_t pairs) {
    return strlen(function->params) == 2 * pairs && strspn(function->params, "i") == 2 * pairs && function->result == 'I';
}

static PyObject *instance_call_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static PyObject *default_alloc;
    Instance *self = (Instance *)object;
    Py_buffer buffers[MAX_BUFFERS];
    size_t function_slot, alloc_slot, pairs = (size_t)count - 1, got = 0;
    PyObject *result = NULL;

    if (default_alloc == NULL && (default_alloc = PyUnicode_InternFromString("mix_alloc")) == NULL) return NULL;
    PyObject *alloc_name = default_alloc;
    if (keywords != NULL && PyTuple_GET_SIZE(keywords) > 0) {
        if (PyTuple_GET_SIZE(keywords) > 1 || !PyUnicode_Check(PyTuple_GET_ITEM(keywords, 0)) ||
            PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), "alloc") != 0)
            return PyErr_Format(PyExc_TypeError, "call_bytes() knows the keyword 'alloc' only, found %R", keywords);
        alloc_name = args[count];
    }
    if (count < 1) return PyErr_Format(PyExc_TypeError, "call_bytes() needs the name of a function");
    if (pairs > MAX_BUFFERS)
        return PyErr_Format(errors.engine_error, "call_bytes() takes %d buffers at most, found %zu", MAX_BUFFERS, pairs);
    if (!usable(self, false)) return NULL;
    Region *region = main_memory(self);
    if (region == NULL) return NULL;
    const Function *function = function_of(self, args[0], &function_slot);
    if (function == NULL) return NULL;
    if (!takes_pairs(function, pairs))
        return PyErr_Format(errors.engine_error, "expected %R to take %zu times (ptr i32, len i32) and to give i64", args[0],
                            pairs);
    const Function *alloc = function_of(self, alloc_name, &alloc_slot);
    if (alloc == NULL) return NULL;
    if (strcmp(alloc->params, "i") != 0 || alloc->result != 'i')
        return PyErr_Format(errors.engine_error, "expected %R to take (size i32) and to give i32", alloc_name);
    if (!start(self)) return NULL;

    for (; got < pairs; got++) {
        if (PyObject_GetBuffer(args[got + 1], &buffers[got], PyBUF_SIMPLE) < 0) goto done;
        if ((size_t)buffers[got].len > UINT32_MAX) {
            PyErr_Format(errors.engine_error, "a buffer of %zd bytes is larger than any guest's memory", buffers[got].len);
            PyBuffer_Release(&buffers[got]);
            goto done;
        }
    }
    result = call_with(self, region, args[0], function_slot, alloc_slot, buffers, pairs);
done:
    while (got > 0) PyBuffer_Release(&buffers[--got]);
    return result;
}

/* An int, taken as unsigned 32-bit. */
static bool as_u32(PyObject *value, uint32_t *number) {
    unsigned long long wide = PyLong_AsUnsignedLongLongMask(value);
    if (wide == (unsigned long long)-1 && PyErr_Occurred()) return false;
    *number = (uint32_t)wide;
    return true;
}

static PyObject *instance_read(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    uint32_t ptr, size;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "read() takes a pointer and a size");
    if (!usable(self, true) || !as_u32(args[0], &ptr) || !as_u32(args[1], &size)) return NULL;
    Region *region = main_memory(self);
    if (region == NULL) return NULL;
    if (!inside(region, ptr, size))
        return PyErr_Format(errors.guest_error, "cannot read %u bytes at %u: outside the guest's memory of %zu bytes", size,
                            ptr, atomic_load(&region->size));
    return PyBytes_FromStringAndSize((const char *)region->base + ptr, (Py_ssize_t)size);
}

static PyObject *instance_write(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    uint32_t ptr;
    Py_buffer data;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "write() takes a pointer and the bytes");
    if (!usable(self, true) || !as_u32(args[0], &ptr)) return NULL;
    Region *region = main_memory(self);
    if (region == NULL || PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0) return NULL;
    bool fits = inside(region, ptr, (size_t)data.len);
    if (fits) memmove(region->base + ptr, data.buf, (size_t)data.len);
    else
        PyErr_Format(errors.guest_error, "cannot write %zd bytes at %u: outside the guest's memory of %zu bytes", data.len,
                     ptr, atomic_load(&region->size));
    PyBuffer_Release(&data);
    if (!fits) return NULL;
    Py_RETURN_NONE;
}

static PyObject *instance_memory(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!usable(self, true)) return NULL;
    Region *region = main_memory(self);
    return region == NULL ? NULL : region_view(region);
}

static PyObject *instance_grow(PyObject *object, PyObject *pages) {
    Instance *self = (Instance *)object;
    if (!usable(self, false) || main_memory(self) == NULL) return NULL;
    unsigned long long more = PyLong_AsUnsignedLongLong(pages);
    if (PyErr_Occurred()) return NULL;
    uint64_t before;
    wasmtime_extern_t found;
    if (!find_export(self, PyTuple_GET_ITEM(self->linked->memories, self->linked->memory), EXTERN_MEMORY, &found))
        return NULL;
    wasmtime_error_t *error = wt.wasmtime_memory_grow(self->context, &found.of.memory, more, &before);
    if (error != NULL) {
        wt.wasmtime_error_delete(error);
        raise_limit("memory", self->account.limit, "bytes", "or the maximum that the guest's memory declares");
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(before);
}

static PyObject *instance_charge(PyObject *object, PyObject *purse) {
    Instance *self = (Instance *)object;
    Py_buffer view;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot change its purse");
    settle(self);
    if (purse == Py_None) Py_RETURN_NONE;
    if (!usable(self, true) || PyObject_GetBuffer(purse, &view, PyBUF_WRITABLE) < 0) return NULL;
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
    return Py_BuildValue("nn", (Py_ssize_t)(self->region_count > 0 ? self->account.used : 0), (Py_ssize_t)mappings);
}

static PyObject *instance_interrupt(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    atomic_store(&self->interrupted, true);
    wt.wasmtime_engine_increment_epoch(self->linked->engine);
    if (!atomic_load(&self->running) || !atomic_load(&self->passed)) Py_RETURN_NONE;
    /* Another instance was interrupted during this call, and ours may be just between reading its flag and setting its
     * next deadline to after our increment. Increment again until it has noticed, which takes it microseconds unless
     * the system has stopped its thread. */
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < 100 && atomic_load(&self->running) && atomic_load(&self->passed); i++) {
        wt.wasmtime_engine_increment_epoch(self->linked->engine);
        nanosleep(&(struct timespec){0, 100 * 1000}, NULL);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *instance_get_state(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!usable(self, false)) return NULL;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be frozen");
    if (!start(self)) return NULL;
    if (!self->linked->restorable) Py_RETURN_NONE;
    return get_state(self);
}

static PyObject *instance_set_state(PyObject *object, PyObject *state) {
    Instance *self = (Instance *)object;
    if (!usable(self, true)) return NULL;
    if (self->depth > 0) return PyErr_Format(errors.engine_error, "a running instance cannot be reset");
    Py_XSETREF(self->owner, Py_NewRef(Py_None));
    if (self->finished) Py_RETURN_FALSE;
    int done = 0;
    if (self->linked->restorable && !atomic_load(&self->interrupted)) {
        bool fresh = state == Py_None;
        done = set_state(self, fresh ? self->linked->initial : state);
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
    if (self->store != NULL) {
        /* Seen as closed by other threads before the GIL is let go. */
        Instance taken = {.store = self->store, .regions = self->regions, .region_count = self->region_count};
        self->store = NULL;
        self->region_count = 0;
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
