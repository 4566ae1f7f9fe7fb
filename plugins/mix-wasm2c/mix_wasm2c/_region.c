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

/* Bytes of all regions of the process. */
static atomic_size_t in_use;

size_t region_in_use(void) { return atomic_load(&in_use); }

/* Makes [from, to) of the region accessible. Huge pages for what is far from the start: a guest that fills 256 MiB with
 * one instruction, which nothing can interrupt, is done several times sooner (measured). Small guests stay small. */
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

bool region_grow(Region *region, Account *account, size_t new_size) {
    size_t size = atomic_load_explicit(&region->size, memory_order_relaxed);
    if (new_size <= size) return true;
    size_t more = new_size - size;
    if (new_size > region->capacity || !account_take(account, more)) {
        account->refused = true;
        return false;
    }
    if (!open_range(region->base, size, new_size)) {
        account_give_back(account, more);
        account->refused = true;
        return false;
    }
    atomic_fetch_add(&in_use, more);
    atomic_store_explicit(&region->size, new_size, memory_order_release);
    return true;
}

size_t region_mappings(const Region *region) {
    size_t size = atomic_load_explicit(&region->size, memory_order_relaxed);
    /* What is accessible, with what lies behind; and what is advised to be in huge pages. */
    return size == 0 || size == region->capacity ? 1 : size <= SMALL_PAGES ? 2 : 3;
}

void region_release(Region *region) {
    if (region == NULL || atomic_fetch_sub(&region->references, 1) != 1) return;
    atomic_fetch_sub(&in_use, atomic_load(&region->size));
    munmap(region->base, region->capacity);
    free(region);
}

Region *region_new(Account *account, const void *key, size_t size, size_t most) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t capacity = most < account->limit ? most : account->limit;
    capacity = capacity < page ? page : capacity / page * page;
    if (size > capacity || size > account->limit - account->used) {
        account->refused = true;
        return NULL;
    }
    Region *region = calloc(1, sizeof *region);
    if (region == NULL) return NULL;
    uint8_t *space = mmap(NULL, capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED || !open_range(space, 0, size)) {
        if (space != MAP_FAILED) munmap(space, capacity);
        free(region);
        return NULL;
    }
    account->used += size;
    atomic_init(&region->references, 1);
    atomic_init(&region->size, size);
    atomic_fetch_add(&in_use, size);
    region->base = space;
    region->capacity = capacity;
    region->key = key;
    return region;
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
    .tp_name = "mix_wasm2c._native.Memory",
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
