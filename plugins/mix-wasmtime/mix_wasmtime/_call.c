/* Calls: Python calls an export of the guest, with numbers or with bytes. */
#include "_instance.h"

#include <string.h>

#define MAX_BUFFERS (MAX_PARAMS / 2)

const Function *numbers_call_read(Instance *self, PyObject *const *args, Py_ssize_t count, size_t *slot,
                                  wasmtime_val_raw_t *values) {
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "a call needs the name of a function");
        return NULL;
    }
    const Function *function = entry_function(self, args[0], slot);
    if (function == NULL) return NULL;
    size_t arity = strlen(function->params);
    if (strchr(function->params, '?') != NULL || function->result == '?' || function->result == '*') {
        PyErr_Format(errors.engine_error,
                     "%R cannot be called from outside: it takes or gives vectors or references, has more than "
                     "%d parameters, or more than one result",
                     args[0], MAX_PARAMS);
        return NULL;
    }
    if ((size_t)count - 1 != arity) {
        PyErr_Format(errors.engine_error, "%R takes %zu arguments, found %zd", args[0], arity, count - 1);
        return NULL;
    }
    for (size_t i = 0; i < arity; i++) {
        if (value_from_argument(args[i + 1], function->params[i], &values[i]) < 0) {
            PyErr_Clear();
            PyErr_Format(errors.engine_error, "argument %zu of %R: expected %s, found %R", i + 1, args[0],
                         function->params[i] == 'i'   ? "an int of 32 bits"
                         : function->params[i] == 'I' ? "an int of 64 bits"
                                                      : "a number",
                         args[i + 1]);
            return NULL;
        }
    }
    return function;
}

PyObject *instance_call(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    wasmtime_val_raw_t values[MAX_PARAMS + 1];
    size_t slot;
    if (!instance_usable(self, false) || !instance_free(self)) return NULL;
    const Function *function = numbers_call_read(self, args, count, &slot, values);
    if (function == NULL || !entry_start(self) || !entry_begin(self)) return NULL;
    bool passed = entry_enter(self, slot, values);
    entry_end(self);
    if (!passed) {
        trap_raise(self);
        return NULL;
    }
    return value_to_python(&values[0], function->result);
}

PyObject *bytes_call_result(Instance *self, const BytesCall *call, wasmtime_val_raw_t answer) {
    uint64_t packed = (uint64_t)answer.i64;
    uint32_t ptr = (uint32_t)(packed >> 32), size = (uint32_t)packed;
    if (!memory_holds(call->region, ptr, size))
        return trap_broken(self, "%R answered %u bytes at %u, outside its memory of %zu bytes", call->name, size, ptr,
                      atomic_load(&call->region->size));
    if (size > self->max_result) {
        char detail[40];
        PyOS_snprintf(detail, sizeof detail, "%u bytes", size);
        self->finished = true;
        raise_limit("result_size", self->max_result, "bytes", detail);
        return NULL;
    }
    return memory_copy(call->region, ptr, size);
}

/* no GIL */
Step bytes_call_place(const BytesCall *call, size_t index, wasmtime_val_raw_t place, wasmtime_val_raw_t *values) {
    const Py_buffer *buffer = &call->buffers[index];
    size_t size = (size_t)buffer->len;
    if (place.i32 == 0 && size != 0) return NO_ROOM;
    if (!memory_holds(call->region, (uint32_t)place.i32, size)) return OUTSIDE;
    memcpy(call->region->base + (uint32_t)place.i32, buffer->buf, size);
    memset(&values[2 * index], 0, 2 * sizeof values[0]);
    values[2 * index].i32 = place.i32;
    values[2 * index + 1].i32 = (int32_t)(uint32_t)size;
    return GOOD;
}

PyObject *bytes_call_broken(Instance *self, const BytesCall *call, Step step, size_t index, uint32_t place) {
    Py_ssize_t size = call->buffers[index].len;
    if (step == OUTSIDE)
        return trap_broken(self, "the guest's allocator answered %u for %zd bytes, outside its memory of %zu bytes", place,
                           size, atomic_load(&call->region->size));
    if (!self->account.refused)
        return trap_broken(self, "the guest has no room for an argument of %zd bytes: its allocator answered 0", size);
    self->finished = true;
    raise_limit("memory", self->account.limit, "bytes", "no room for an argument");
    return NULL;
}

static PyObject *run(Instance *self, const BytesCall *call) {
    wasmtime_val_raw_t values[MAX_PARAMS], one;
    Step step = GOOD;
    size_t i = 0;
    if (!entry_begin(self)) return NULL;
    for (; i < call->count; i++) {
        memset(&one, 0, sizeof one);
        one.i32 = (int32_t)(uint32_t)call->buffers[i].len;
        step = entry_enter(self, call->alloc, &one) ? bytes_call_place(call, i, one, values) : FAILED;
        if (step != GOOD) break;
    }
    if (step == GOOD && !entry_enter(self, call->function, values)) step = FAILED;
    entry_end(self);
    if (step == GOOD) return bytes_call_result(self, call, values[0]);
    if (step != FAILED) return bytes_call_broken(self, call, step, i, (uint32_t)one.i32);
    trap_raise(self);
    return NULL;
}

/* Whether the function takes `pairs` times (ptr, len) and gives i64. */
static bool takes_pairs(const Function *function, size_t pairs) {
    return strlen(function->params) == 2 * pairs && strspn(function->params, "i") == 2 * pairs && function->result == 'I';
}

void bytes_call_free(BytesCall *call) {
    while (call->count > 0) PyBuffer_Release(&call->buffers[--call->count]);
    Py_CLEAR(call->name);
}

bool bytes_call_read(Instance *self, BytesCall *call, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static PyObject *default_alloc;
    size_t pairs = (size_t)count - 1;
    call->count = 0;
    call->name = NULL;
    if (default_alloc == NULL && (default_alloc = PyUnicode_InternFromString("mix_alloc")) == NULL) return false;
    PyObject *alloc_name = default_alloc;
    if (keywords != NULL && PyTuple_GET_SIZE(keywords) > 0) {
        if (PyTuple_GET_SIZE(keywords) > 1 || !PyUnicode_Check(PyTuple_GET_ITEM(keywords, 0)) ||
            PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), "alloc") != 0) {
            PyErr_Format(PyExc_TypeError, "a call with bytes knows the keyword 'alloc' only, found %R", keywords);
            return false;
        }
        alloc_name = args[count];
    }
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "a call with bytes needs the name of a function");
        return false;
    }
    if (pairs > MAX_BUFFERS) {
        PyErr_Format(errors.engine_error, "a call takes %d buffers at most, found %zu", MAX_BUFFERS, pairs);
        return false;
    }
    call->region = memory_of(self);
    if (call->region == NULL) return false;
    const Function *function = entry_function(self, args[0], &call->function);
    if (function == NULL) return false;
    if (!takes_pairs(function, pairs)) {
        PyErr_Format(errors.engine_error, "expected %R to take %zu times (ptr i32, len i32) and to give i64", args[0], pairs);
        return false;
    }
    const Function *alloc = entry_function(self, alloc_name, &call->alloc);
    if (alloc == NULL) return false;
    if (strcmp(alloc->params, "i") != 0 || alloc->result != 'i') {
        PyErr_Format(errors.engine_error, "expected %R to take (size i32) and to give i32", alloc_name);
        return false;
    }
    call->name = Py_NewRef(args[0]);
    for (; call->count < pairs; call->count++) {
        Py_buffer *buffer = &call->buffers[call->count];
        if (PyObject_GetBuffer(args[call->count + 1], buffer, PyBUF_SIMPLE) < 0) break;
        if ((size_t)buffer->len <= UINT32_MAX) continue;
        PyErr_Format(errors.engine_error, "a buffer of %zd bytes is larger than any guest's memory", buffer->len);
        PyBuffer_Release(buffer);
        break;
    }
    if (call->count == pairs) return true;
    bytes_call_free(call);
    return false;
}

PyObject *instance_call_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    Instance *self = (Instance *)object;
    BytesCall call;
    if (!instance_usable(self, false) || !instance_free(self)) return NULL;
    if (!bytes_call_read(self, &call, args, count, keywords)) return NULL;
    PyObject *result = entry_start(self) ? run(self, &call) : NULL;
    bytes_call_free(&call);
    return result;
}
