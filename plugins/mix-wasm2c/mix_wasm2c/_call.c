/* Calls: Python calls an export of the guest, with numbers or with bytes. */
#include "_instance.h"

#include <string.h>

#define MAX_BUFFERS (MAX_PARAMS / 2)

typedef struct {
    size_t slot;
    mix_value *values;
} Numbers;

static void run_numbers(Instance *self, void *data) {
    Numbers *numbers = data;
    module_of(self)->calls[numbers->slot](data_of(self), numbers->values);
}

PyObject *instance_call(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    mix_value values[MAX_PARAMS + 1];
    size_t slot;
    if (count < 1) return PyErr_Format(PyExc_TypeError, "call() needs the name of a function");
    if (!instance_usable(self, false)) return NULL;
    const Function *function = entry_function(self, args[0], &slot);
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
        if (value_from_argument(args[i + 1], function->params[i], &values[i]) < 0) {
            PyErr_Clear();
            return PyErr_Format(errors.engine_error, "argument %zu of %R: expected %s, found %R", i + 1, args[0],
                                function->params[i] == 'i'   ? "an int of 32 bits"
                                : function->params[i] == 'I' ? "an int of 64 bits"
                                                             : "a number",
                                args[i + 1]);
        }
    }
    if (!entry_start(self) || !entry_begin(self)) return NULL;
    Numbers numbers = {slot, values};
    bool passed = entry_run(self, run_numbers, &numbers);
    entry_end(self);
    if (!passed) {
        trap_raise(self);
        return NULL;
    }
    return value_to_python(&values[0], function->result);
}

static PyObject *copy_result(Instance *self, Region *region, PyObject *name, uint64_t packed) {
    uint32_t ptr = (uint32_t)(packed >> 32), size = (uint32_t)packed;
    if (!memory_holds(region, ptr, size))
        return trap_broken(self, "%R answered %u bytes at %u, outside its memory of %zu bytes", name, size, ptr,
                      atomic_load(&region->size));
    if (size > self->max_result) {
        char detail[40];
        PyOS_snprintf(detail, sizeof detail, "%u bytes", size);
        self->finished = true;
        raise_limit("result_size", self->max_result, "bytes", detail);
        return NULL;
    }
    return memory_copy(region, ptr, size);
}

/* Which step of call_bytes went wrong. */
typedef enum { GOOD, NO_ROOM, OUTSIDE } Step;

typedef struct {
    Region *region;
    size_t function, alloc, count;
    const Py_buffer *buffers;
    mix_value values[MAX_PARAMS];
    Step step;
    size_t failed; /* which buffer, after NO_ROOM and OUTSIDE */
    uint32_t ptr;  /* what the allocator answered */
} Bytes;

static void run_bytes(Instance *self, void *data) {
    Bytes *bytes = data;
    const mix_call *calls = module_of(self)->calls;
    for (size_t i = 0; i < bytes->count; i++) {
        size_t size = (size_t)bytes->buffers[i].len;
        mix_value one = {.i64 = 0};
        one.i32 = (uint32_t)size;
        calls[bytes->alloc](data_of(self), &one);
        bytes->ptr = one.i32;
        bytes->failed = i;
        if (one.i32 == 0 && size != 0) {
            bytes->step = NO_ROOM;
            return;
        }
        if (!memory_holds(bytes->region, one.i32, size)) {
            bytes->step = OUTSIDE;
            return;
        }
        memcpy(bytes->region->base + one.i32, bytes->buffers[i].buf, size);
        bytes->values[2 * i].i32 = one.i32;
        bytes->values[2 * i + 1].i32 = (uint32_t)size;
    }
    calls[bytes->function](data_of(self), bytes->values);
}

static PyObject *call_with(Instance *self, Region *region, PyObject *name, size_t function, size_t alloc,
                           const Py_buffer *buffers, size_t count) {
    Bytes bytes;
    bytes.region = region;
    bytes.function = function;
    bytes.alloc = alloc;
    bytes.buffers = buffers;
    bytes.count = count;
    bytes.step = GOOD;
    if (!entry_begin(self)) return NULL;
    bool passed = entry_run(self, run_bytes, &bytes);
    entry_end(self);
    if (!passed) {
        trap_raise(self);
        return NULL;
    }
    switch (bytes.step) {
    case NO_ROOM:
        if (self->account.refused) {
            self->finished = true;
            raise_limit("memory", self->account.limit, "bytes", "no room for an argument");
            return NULL;
        }
        return trap_broken(self, "the guest has no room for an argument of %zd bytes: its allocator answered 0",
                      buffers[bytes.failed].len);
    case OUTSIDE:
        return trap_broken(self, "the guest's allocator answered %u for %zd bytes, outside its memory of %zu bytes",
                      bytes.ptr, buffers[bytes.failed].len, atomic_load(&region->size));
    default: return copy_result(self, region, name, bytes.values[0].i64);
    }
}

/* Whether the function takes `pairs` times (ptr, len) and gives i64. */
static bool takes_pairs(const Function *function, size_t pairs) {
    return strlen(function->params) == 2 * pairs && strspn(function->params, "i") == 2 * pairs && function->result == 'I';
}

PyObject *instance_call_bytes(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
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
    if (!instance_usable(self, false)) return NULL;
    Region *region = memory_of(self);
    if (region == NULL) return NULL;
    const Function *function = entry_function(self, args[0], &function_slot);
    if (function == NULL) return NULL;
    if (!takes_pairs(function, pairs))
        return PyErr_Format(errors.engine_error, "expected %R to take %zu times (ptr i32, len i32) and to give i64", args[0],
                            pairs);
    const Function *alloc = entry_function(self, alloc_name, &alloc_slot);
    if (alloc == NULL) return NULL;
    if (strcmp(alloc->params, "i") != 0 || alloc->result != 'i')
        return PyErr_Format(errors.engine_error, "expected %R to take (size i32) and to give i32", alloc_name);
    if (!entry_start(self)) return NULL;

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
