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

/* Bytes of a global in a state, whatever its type. */
#define GLOBAL 16

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
PyObject *state_get(Instance *self) {
    const mix_module *module = module_of(self);
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
    PyObject *globals = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(module->global_count * GLOBAL));
    if (globals == NULL) {
        Py_DECREF(memories);
        return NULL;
    }
    char *to = PyBytes_AS_STRING(globals);
    memset(to, 0, module->global_count * GLOBAL);
    for (size_t i = 0; i < module->global_count; i++, to += GLOBAL)
        memcpy(to, (char *)data_of(self) + module->globals[i].offset, module->globals[i].size);
    return Py_BuildValue("NN", memories, globals);
}

/* Grows a memory to that size, within the account. False with an exception. */
static bool grow_to(Instance *self, size_t index, size_t size) {
    size_t before = atomic_load(&self->regions[index]->size);
    if (size == before || memory_grow(self, index, (size - before) / PAGE) != UINT64_MAX) return true;
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
int state_set(Instance *self, PyObject *state) {
    const mix_module *module = module_of(self);
    PyObject *memories, *globals;
    size_t total = 0;
    if (!PyArg_ParseTuple(state, "O!S", &PyTuple_Type, &memories, &globals)) return -1;
    if ((size_t)PyTuple_GET_SIZE(memories) != self->region_count ||
        (size_t)PyBytes_GET_SIZE(globals) != module->global_count * GLOBAL) {
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
    for (size_t i = 0; i < self->region_count; i++)
        if (!grow_to(self, i, kept[i].size)) return -1;
    PyThreadState *thread_state = hold(self);
    for (size_t i = 0; i < self->region_count; i++) restore(self->regions[i], &kept[i]);
    let_go(self, thread_state);
    const char *from = PyBytes_AS_STRING(globals);
    for (size_t i = 0; i < module->global_count; i++, from += GLOBAL)
        memcpy((char *)data_of(self) + module->globals[i].offset, from, module->globals[i].size);
    return 1;
}
