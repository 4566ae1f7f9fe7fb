/* The memory that a guest exports as "memory": read, written, looked at and grown from Python. */
#define _GNU_SOURCE
#include "_instance.h"

#include <string.h>
#include <sys/mman.h>

Region *memory_of(Instance *self) {
    Py_ssize_t index = self->linked->memory;
    if (index >= 0 && (size_t)index < self->region_count) return self->regions[index];
    PyErr_SetString(errors.engine_error, "the guest exports no memory named \"memory\"");
    return NULL;
}

bool memory_holds(Region *region, uint32_t ptr, size_t size) {
    size_t whole = atomic_load_explicit(&region->size, memory_order_relaxed);
    return ptr <= whole && size <= whole - ptr;
}

void memory_large_pages(char *bytes, size_t size) {
    static const uintptr_t page = 2 << 20;
    uintptr_t first = ((uintptr_t)bytes + page - 1) / page * page, last = ((uintptr_t)bytes + size) / page * page;
    if (size >= 2 * page) (void)madvise((void *)first, last - first, MADV_HUGEPAGE); /* advice: without it, it is slower */
}

PyObject *memory_copy(const Region *region, uint32_t ptr, size_t size) {
    PyObject *copy = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (copy == NULL) return NULL;
    memory_large_pages(PyBytes_AS_STRING(copy), size);
    memcpy(PyBytes_AS_STRING(copy), region->base + ptr, size);
    return copy;
}

/* An int, taken as unsigned 32-bit. */
static bool as_u32(PyObject *value, uint32_t *number) {
    unsigned long long wide = PyLong_AsUnsignedLongLongMask(value);
    if (wide == (unsigned long long)-1 && PyErr_Occurred()) return false;
    *number = (uint32_t)wide;
    return true;
}

PyObject *instance_read(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    uint32_t ptr, size;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "read() takes a pointer and a size");
    if (!instance_usable(self, true) || !as_u32(args[0], &ptr) || !as_u32(args[1], &size)) return NULL;
    Region *region = memory_of(self);
    if (region == NULL) return NULL;
    if (!memory_holds(region, ptr, size))
        return PyErr_Format(errors.guest_error, "cannot read %u bytes at %u: outside the guest's memory of %zu bytes", size,
                            ptr, atomic_load(&region->size));
    return memory_copy(region, ptr, size);
}

PyObject *instance_write(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Instance *self = (Instance *)object;
    uint32_t ptr;
    Py_buffer data;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "write() takes a pointer and the bytes");
    if (!instance_usable(self, true) || !as_u32(args[0], &ptr)) return NULL;
    Region *region = memory_of(self);
    if (region == NULL || PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0) return NULL;
    bool fits = memory_holds(region, ptr, (size_t)data.len);
    self->pristine = false;
    if (fits) memmove(region->base + ptr, data.buf, (size_t)data.len);
    else
        PyErr_Format(errors.guest_error, "cannot write %zd bytes at %u: outside the guest's memory of %zu bytes", data.len,
                     ptr, atomic_load(&region->size));
    PyBuffer_Release(&data);
    if (!fits) return NULL;
    Py_RETURN_NONE;
}

PyObject *instance_memory(PyObject *object, PyObject *unused) {
    Instance *self = (Instance *)object;
    (void)unused;
    if (!instance_usable(self, true)) return NULL;
    self->pristine = false;
    Region *region = memory_of(self);
    return region == NULL ? NULL : region_view(region);
}

PyObject *instance_grow(PyObject *object, PyObject *pages) {
    Instance *self = (Instance *)object;
    if (!instance_usable(self, false) || !instance_free(self) || memory_of(self) == NULL) return NULL;
    self->pristine = false;
    unsigned long long more = PyLong_AsUnsignedLongLong(pages);
    if (PyErr_Occurred()) return NULL;
    uint64_t before;
    wasmtime_extern_t found;
    if (!entry_export(self, PyTuple_GET_ITEM(self->linked->memories, self->linked->memory), EXTERN_MEMORY, &found))
        return NULL;
    wasmtime_error_t *error = wt.wasmtime_memory_grow(self->context, &found.of.memory, more, &before);
    if (error != NULL) {
        wt.wasmtime_error_delete(error);
        raise_limit("memory", self->account.limit, "bytes", "or the maximum that the guest's memory declares");
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(before);
}
