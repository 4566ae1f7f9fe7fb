/* State: what an instance is frozen to and restored from. */
#include "_instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Restoring up to so many bytes is not worth letting other threads run. */
#define KEEP_GIL ((size_t)4 << 20)

/* Zeros that one restore writes to a memory in large pieces: those of a small guest, which touches them in every run,
 * but not all those between the runs of a large one (measured). */
#define CLEARED_BY_WRITING ((size_t)256 * 1024)

/* Bytes of a page, the unit in which memories grow. */
#define PAGE ((size_t)65536)

/* Bytes of a heap for exceptions with which an instance can be used again. */
#define MOST_HEAP ((size_t)1 << 20)

static bool find_globals(Instance *self) {
    Linked *linked = self->linked;
    for (size_t i = 0; i < linked->variable_count && !self->globals_known; i++) {
        wasmtime_extern_t found;
        if (!entry_export(self, linked->variables[i].name, EXTERN_GLOBAL, &found)) return false;
        self->globals[i] = found.of.global;
    }
    self->globals_known = true;
    return true;
}

/* Counts as running, so that no other thread gets in while the GIL is away: which it is for so many bytes only. */
static PyThreadState *hold(Instance *self, size_t bytes) {
    self->thread = PyThread_get_thread_ident();
    self->depth++;
    return bytes > KEEP_GIL ? PyEval_SaveThread() : NULL;
}

static void let_go(Instance *self, PyThreadState *thread_state) {
    if (thread_state != NULL) PyEval_RestoreThread(thread_state);
    self->depth--;
}

/* Between the runs all is zero, and having been read takes no pages: so that who restores it finds there none touched. */
static void give_back(Region *region, const Run *runs, size_t count) {
    size_t at = 0;
    if (region->image != 0) return; /* what comes back there may be of the image */
    for (size_t i = 0; i < count; at = (size_t)(runs[i].offset + runs[i].size), i++)
        region_give_back(region, at, (size_t)runs[i].offset);
    region_give_back(region, at, atomic_load(&region->size));
}

/* (bytes of the memory, its runs of what is not zero, their contents one after the other) */
static PyObject *get_memory(Instance *self, Region *region) {
    Run *runs;
    PyThreadState *thread_state = hold(self, atomic_load(&region->size));
    size_t count = region_runs(region, &runs), total = 0;
    if (count != SIZE_MAX) give_back(region, runs, count);
    let_go(self, thread_state);
    if (count == SIZE_MAX) return PyErr_NoMemory();
    for (size_t i = 0; i < count; i++) total += runs[i].size;
    PyObject *contents = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total), *item = NULL;
    if (contents != NULL) {
        char *to = PyBytes_AS_STRING(contents);
        memory_large_pages(to, total);
        thread_state = hold(self, total);
        for (size_t i = 0; i < count; to += runs[i++].size) memcpy(to, region->base + runs[i].offset, runs[i].size);
        let_go(self, thread_state);
        item = Py_BuildValue("ny#N", (Py_ssize_t)atomic_load(&region->size), count == 0 ? "" : (char *)runs,
                             (Py_ssize_t)(count * sizeof *runs), contents);
    }
    free(runs);
    return item;
}

/* ((a memory each, …), the globals at 16 bytes each) */
PyObject *state_get(Instance *self) {
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
    if (!entry_export(self, PyTuple_GET_ITEM(self->linked->memories, (Py_ssize_t)index), EXTERN_MEMORY, &found))
        return false;
    wasmtime_error_t *error =
        wt.wasmtime_memory_grow(self->context, &found.of.memory, (size - before) / PAGE, &pages);
    if (error == NULL) return true;
    wt.wasmtime_error_delete(error);
    raise_limit("memory", self->account.limit, "bytes", "the system has no more for the state after init");
    return false;
}

Run run_of(const Kept *kept, size_t index) {
    Run run;
    memcpy(&run, kept->runs + index * sizeof run, sizeof run);
    return run;
}

bool kept_read(PyObject *item, Kept *kept) {
    Py_ssize_t size, length, room;
    if (!PyArg_ParseTuple(item, "ny#y#", &size, &kept->runs, &length, &kept->contents, &room)) return false;
    kept->size = (size_t)size;
    kept->length = (size_t)room;
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

/* Zeroes [from, to), of which no byte is anything else that is not touched; NULL if that is not known. */
static void clear(Region *region, const Touched *touched, size_t from, size_t to, size_t *budget) {
    if (touched == NULL) {
        region_clear(region, from, to, budget);
        return;
    }
    for (size_t end = to; touched_next(touched, &from, &end); from = end, end = to) region_clear(region, from, end, budget);
}

/* Whether all runs are touched, as they are in a memory that has been restored before. */
static bool has_runs(const Touched *touched, const Kept *kept) {
    for (size_t i = 0; i < kept->count; i++) {
        Run run = run_of(kept, i);
        size_t from = (size_t)run.offset, to = from + (size_t)run.size;
        if (!touched_next(touched, &from, &to) || from != run.offset || to != run.offset + run.size) return false;
    }
    return true;
}

static bool restore(Region *region, const Kept *kept, bool known) {
    if (!image_forget(region)) return false;
    Touched found;
    const Touched *touched = known && touched_read(&found, region) && has_runs(&found, kept) ? &found : NULL;
    size_t at = 0, budget = CLEARED_BY_WRITING;
    const char *from = kept->contents;
    for (size_t i = 0; i < kept->count; i++) {
        Run run = run_of(kept, i);
        clear(region, touched, at, (size_t)run.offset, &budget);
        memcpy(region->base + run.offset, from, (size_t)run.size);
        from += run.size;
        at = (size_t)(run.offset + run.size);
    }
    clear(region, touched, at, kept->size, &budget);
    return true;
}

/* The same for a memory in which nothing has been written but the module's segments: it is zero elsewhere, and to write
 * that would take pages of the system that hold nothing. */
static void restore_fresh(Region *region, const Kept *initial, const Kept *kept) {
    const char *from = kept->contents;
    for (size_t i = 0; i < initial->count; i++) {
        Run run = run_of(initial, i);
        memset(region->base + run.offset, 0, (size_t)run.size);
    }
    for (size_t i = 0; i < kept->count; i++) {
        Run run = run_of(kept, i);
        memcpy(region->base + run.offset, from, (size_t)run.size);
        from += run.size;
    }
}

/* With an image of it, which has all runs of the state. */
static bool restore_shared(Region *region, const Kept *initial, const Kept *kept, const Image *image, size_t index) {
    const ImagePart *part = &image->parts[index];
    size_t budget = CLEARED_BY_WRITING;
    for (size_t i = 0; initial != NULL && i < initial->count; i++) {
        Run run = run_of(initial, i);
        if (run.offset < part->from || run.offset + run.size > part->to)
            memset(region->base + run.offset, 0, (size_t)run.size);
    }
    if (initial == NULL) {
        region_clear(region, 0, part->from, &budget);
        region_clear(region, part->to, kept->size, &budget);
    }
    return image_restore(image, index, region);
}

/* 1 done, 0 not possible, -1 exception. The shape is checked in full before anything is written. */
int state_set(Instance *self, PyObject *state, const Image *image) {
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
        if (!kept_read(PyTuple_GET_ITEM(memories, (Py_ssize_t)i), &kept[i])) return -1;
        total += kept[i].size;
        if (image != NULL && image->parts[i].file >= 0 && image->parts[i].to > kept[i].size) {
            PyErr_SetString(errors.engine_error, "the image is of another state");
            return -1;
        }
    }
    /* No code can reach an exception of an earlier run, but those that were alive at once have taken of the memory. */
    if (self->heap != NULL && atomic_load(&self->heap->size) > MOST_HEAP) return 0;
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
    Kept initial[MAX_MEMORIES];
    bool fresh = self->pristine && linked->initial != NULL;
    for (size_t i = 0; fresh && i < self->region_count; i++)
        fresh = kept_read(PyTuple_GET_ITEM(PyTuple_GET_ITEM(linked->initial, 0), (Py_ssize_t)i), &initial[i]);
    self->pristine = false;
    size_t copied = 0;
    for (size_t i = 0; i < self->region_count; i++)
        if (image == NULL || image->parts[i].file < 0) copied += kept[i].size;
    bool good = true, known = touched_known();
    PyThreadState *thread_state = hold(self, copied);
    for (size_t i = 0; good && i < self->region_count; i++) {
        Region *region = self->regions[i];
        if (image != NULL && image->parts[i].file >= 0)
            good = restore_shared(region, fresh ? &initial[i] : NULL, &kept[i], image, i);
        else if (fresh) restore_fresh(region, &initial[i], &kept[i]);
        else good = restore(region, &kept[i], known);
    }
    let_go(self, thread_state);
    if (!good) return 0;
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
