/* Library: a translated and compiled module, loaded into the process. */
#define _GNU_SOURCE
#include "_native.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int by_address(const void *one, const void *other) {
    uintptr_t a = ((const Place *)one)->address, b = ((const Place *)other)->address;
    return (a > b) - (a < b);
}

bool library_function(const Library *library, uintptr_t address, uint32_t *index) {
    Place wanted = {address, 0};
    const Place *found = bsearch(&wanted, library->places, library->place_count, sizeof wanted, by_address);
    if (found != NULL) *index = found->index;
    return found != NULL;
}

/* Loads the library in those bytes, from a file in memory that nobody else can change; false with an exception. The
 * loader knows what it has loaded by name, and the name has the file's number: so the file stays open as long. */
static bool load_bytes(Library *self, const char *data, Py_ssize_t size) {
    char name[40];
    self->file = memfd_create("mix-wasm2c", MFD_CLOEXEC);
    for (Py_ssize_t at = 0; at < size;) {
        ssize_t written = self->file < 0 ? -1 : write(self->file, data + at, (size_t)(size - at));
        if (written <= 0) {
            PyErr_Format(errors.engine_error, "cannot keep the compiled module in memory: %s", strerror(errno));
            return false;
        }
        at += written;
    }
    snprintf(name, sizeof name, "/proc/self/fd/%d", self->file);
    self->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (self->handle == NULL) PyErr_Format(errors.engine_error, "cannot load the compiled module: %s", dlerror());
    return self->handle != NULL;
}

static PyObject *library_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *keys[] = {"data", "names", NULL};
    Py_buffer data;
    PyObject *names;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*O:Library", keys, &data, &names)) return NULL;
    Library *self = (Library *)type->tp_alloc(type, 0);
    if (self != NULL) self->file = -1;
    bool loaded = self != NULL && load_bytes(self, data.buf, data.len);
    PyBuffer_Release(&data);
    if (!loaded) goto failed;
    self->names = Py_NewRef(names);
    self->module = dlsym(self->handle, "mix_module_table");
    if (self->module == NULL || self->module->abi != MIX_ABI) {
        PyErr_SetString(errors.engine_error, "the compiled module is of another version of mix-wasm2c");
        goto failed;
    }
    *self->module->runtime = &instance_runtime;
    size_t count = self->module->function_count;
    self->places = PyMem_Calloc(count + 1, sizeof *self->places);
    if (self->places == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (size_t i = 0; i < count; i++)
        self->places[i] = (Place){(uintptr_t)self->module->functions[i], (uint32_t)i};
    self->place_count = count;
    qsort(self->places, count, sizeof *self->places, by_address);
    return (PyObject *)self;
failed:
    Py_XDECREF(self);
    return NULL;
}

static void library_dealloc(PyObject *object) {
    Library *self = (Library *)object;
    PyMem_Free(self->places);
    if (self->handle != NULL) dlclose(self->handle);
    if (self->file >= 0) close(self->file);
    Py_XDECREF(self->names);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *library_slots(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(((Library *)object)->module->call_count);
}

static PyGetSetDef library_properties[] = {
    {"slots", library_slots, NULL, "How many functions can be called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject LibraryType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "mix_wasm2c._native.Library",
    .tp_doc = "Library(data, names): a compiled module.",
    .tp_basicsize = sizeof(Library),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = library_new,
    .tp_dealloc = library_dealloc,
    .tp_getset = library_properties,
};
