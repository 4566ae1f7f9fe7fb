/* Linear memories: our own mappings, so that one account covers all memories of an instance, a refused growth is
 * known for certain, and a memoryview can outlive the instance. */
#define _GNU_SOURCE
#include "_native.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Writing so many zeros is cheaper than giving pages back to the system, which then come one by one (measured). */
#define CLEAR_BY_WRITING (64 * 1024)

/* Of what is given back, both ends are written all the same: a stack that grows down to the data behind it, and a heap
 * that grows up from the data before it, touch them in every run, and the rest in few (measured). */
#define EDGE ((size_t)16 * 1024)

/* The bytes that are compared with zero at a time, and so many zeros that end a run of what is not. */
#define BLOCK 4096
#define GAP ((size_t)4 * BLOCK)

/* The first bytes of a memory, which get pages of the usual size. */
#define SMALL_PAGES ((size_t)8 << 20)

_Thread_local Creation *region_creation;

/* Bytes of all regions of the process. */
static atomic_size_t in_use;

size_t region_in_use(void) { return atomic_load(&in_use); }

static uint8_t *get_memory(void *env, size_t *size, size_t *capacity) {
    Region *region = env;
    *size = atomic_load_explicit(&region->size, memory_order_relaxed);
    *capacity = region->capacity;
    return region->base;
}

/* Makes [from, to) of the region accessible. Huge pages for what is far from the start: a guest that fills 256 MiB is
 * done several times sooner (measured). Small guests stay small. */
static bool open_range(uint8_t *base, size_t from, size_t to) {
    if (to <= from) return true;
    if (mprotect(base + from, to - from, PROT_READ | PROT_WRITE) != 0) return false;
    size_t huge = from > SMALL_PAGES ? from : SMALL_PAGES;
    if (to > huge) (void)madvise(base + huge, to - huge, MADV_HUGEPAGE); /* advice: a kernel without it is slower */
    return true;
}

bool purse_take(int64_t *purse, size_t more) {
    if (__atomic_sub_fetch(&purse[0], (int64_t)more, __ATOMIC_RELAXED) >= 0) return true;
    __atomic_add_fetch(&purse[0], (int64_t)more, __ATOMIC_RELAXED);
    __atomic_store_n(&purse[1], 1, __ATOMIC_RELAXED);
    return false;
}

void purse_give_back(int64_t *purse, size_t less) { __atomic_add_fetch(&purse[0], (int64_t)less, __ATOMIC_RELAXED); }

static bool account_take(Account *account, size_t more) {
    if (more > account->limit - account->used) return false;
    if (account->purse != NULL && !purse_take(account->purse, more)) return false;
    account->used += more;
    return true;
}

static void account_give_back(Account *account, size_t less) {
    account->used -= less;
    if (account->purse != NULL) purse_give_back(account->purse, less);
}

/* no GIL */
static wasmtime_error_t *grow_memory(void *env, size_t new_size) {
    Region *region = env;
    size_t size = atomic_load_explicit(&region->size, memory_order_relaxed);
    Account *account = region->account;
    if (new_size <= size) return NULL;
    size_t more = new_size - size;
    if (new_size > region->capacity || !account_take(account, more)) {
        account->refused = true;
        return wt.wasmtime_error_new("the memory limit is reached");
    }
    if (!open_range(region->base, size, new_size)) {
        account_give_back(account, more);
        account->refused = true;
        return wt.wasmtime_error_new("the system has no more memory");
    }
    atomic_fetch_add(&in_use, more);
    atomic_store_explicit(&region->size, new_size, memory_order_release);
    return NULL;
}

size_t region_mappings(const Region *region) {
    size_t size = atomic_load_explicit(&region->size, memory_order_relaxed);
    /* What is accessible, with what lies before and behind; and what is advised to be in huge pages. */
    return (size == 0 ? 1 : size <= SMALL_PAGES ? 3 : 4) + (region->image != 0 ? 2 : 0);
}

void region_release(Region *region) {
    if (region == NULL || atomic_fetch_sub(&region->references, 1) != 1) return;
    atomic_fetch_sub(&in_use, atomic_load(&region->size));
    munmap(region->base - region->guard, region->guard + region->capacity + region->guard);
    free(region);
}

static void finalize_memory(void *env) {
    Region *region = env;
    region->account = NULL;
    region_release(region);
}

/* no GIL */
static wasmtime_error_t *new_memory(void *env, const wasm_memorytype_t *type, size_t minimum, size_t maximum,
                                    size_t reserved, size_t guard, wasmtime_linear_memory_t *memory) {
    Creation *creation = region_creation;
    (void)env, (void)type, (void)maximum;
    if (creation == NULL) return wt.wasmtime_error_new("a memory outside of an instance");
    Account *account = creation->account;
    if (minimum > reserved || minimum > account->limit - account->used) {
        account->refused = true;
        return wt.wasmtime_error_new("the memory limit is reached");
    }
    Region *region = calloc(1, sizeof *region);
    if (region == NULL) return wt.wasmtime_error_new("the system has no more memory");
    uint8_t *space = mmap(NULL, guard + reserved + guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        free(region);
        return wt.wasmtime_error_new("the system has no more address space for a linear memory");
    }
    if (!open_range(space + guard, 0, minimum)) {
        munmap(space, guard + reserved + guard);
        free(region);
        return wt.wasmtime_error_new("the system has no more memory");
    }
    account->used += minimum;
    atomic_init(&region->references, 2); /* the store's and the instance's */
    atomic_init(&region->size, minimum);
    atomic_fetch_add(&in_use, minimum);
    region->base = space + guard;
    region->capacity = reserved;
    region->guard = guard;
    region->account = account;
    region->next = creation->newest;
    creation->newest = region;
    creation->count++;
    *memory = (wasmtime_linear_memory_t){region, get_memory, grow_memory, finalize_memory};
    return NULL;
}

const wasmtime_memory_creator_t region_creator = {NULL, new_memory, NULL};

void region_give_back(Region *region, size_t from, size_t to) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = (from + page - 1) / page * page, last = to / page * page;
    if (first < last) (void)madvise(region->base + first, last - first, MADV_DONTNEED);
}

void region_clear(Region *region, size_t from, size_t to, size_t *budget) {
    if (to <= from) return;
    if (to - from <= CLEAR_BY_WRITING || to - from <= *budget) {
        memset(region->base + from, 0, to - from);
        *budget -= to - from <= *budget ? to - from : *budget;
        return;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = (from + EDGE + page - 1) / page * page, last = (to - EDGE) / page * page;
    if (first > last) first = last = to; /* pages are large here */
    memset(region->base + from, 0, first - from);
    if (first < last && madvise(region->base + first, last - first, MADV_DONTNEED) != 0)
        memset(region->base + first, 0, last - first);
    memset(region->base + last, 0, to - last);
}

static bool add_run(Run **runs, size_t *count, size_t *room, Run run) {
    if (*count == *room) {
        size_t more = *room == 0 ? 16 : 2 * *room;
        Run *larger = realloc(*runs, more * sizeof run);
        if (larger == NULL) return false;
        *runs = larger;
        *room = more;
    }
    (*runs)[(*count)++] = run;
    return true;
}

size_t region_runs(const Region *region, Run **runs) {
    static const uint64_t zeros[BLOCK / 8];
    size_t size = atomic_load_explicit(&region->size, memory_order_relaxed), count = 0, room = 0, end = 0, begin = 0;
    *runs = NULL;
    /* A region's size is whole pages, which are whole blocks, and its base is aligned. */
    for (size_t at = 0; at < size; at += BLOCK) {
        const uint64_t *words = (const uint64_t *)(const void *)(region->base + at);
        if (memcmp(words, zeros, BLOCK) == 0) continue;
        size_t first = 0, last = BLOCK / 8;
        while (words[first] == 0) first++;
        while (words[last - 1] == 0) last--;
        if (end > 0 && at + 8 * first - end >= GAP && !add_run(runs, &count, &room, (Run){begin, end - begin})) goto full;
        if (end == 0 || at + 8 * first - end >= GAP) begin = at + 8 * first;
        end = at + 8 * last;
    }
    if (end == 0 || add_run(runs, &count, &room, (Run){begin, end - begin})) return count;
full:
    free(*runs);
    *runs = NULL;
    return SIZE_MAX;
}

/* ---- the exporter behind memoryviews --------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Region *region;
    size_t size;
} Memory;

static int memory_getbuffer(PyObject *object, Py_buffer *view, int flags) {
    Memory *self = (Memory *)object;
    return PyBuffer_FillInfo(view, object, self->region->base, (Py_ssize_t)self->size, 0, flags);
}

static void memory_dealloc(PyObject *object) {
    region_release(((Memory *)object)->region);
    PyObject_Free(object);
}

static PyBufferProcs memory_buffer = {.bf_getbuffer = memory_getbuffer};

PyTypeObject MemoryType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "mix_wasmtime._native.Memory",
    .tp_doc = "Keeps a linear memory alive for the memoryviews over it.",
    .tp_basicsize = sizeof(Memory),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = memory_dealloc,
    .tp_as_buffer = &memory_buffer,
};

PyObject *region_view(Region *region) {
    Memory *memory = PyObject_New(Memory, &MemoryType);
    if (memory == NULL) return NULL;
    memory->region = region;
    memory->size = atomic_load_explicit(&region->size, memory_order_acquire);
    atomic_fetch_add(&region->references, 1);
    PyObject *view = PyMemoryView_FromObject((PyObject *)memory);
    Py_DECREF(memory);
    return view;
}
