/* Touched pages: those of a memory that hold anything, as the system says (/proc/self/pagemap, see its
 * Documentation/admin-guide/mm/pagemap.rst). All others are zero without being written, and a small guest touches few. */
#define _GNU_SOURCE
#include "_native.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bits of an entry. What is being moved counts as swapped. */
#define PRESENT ((uint64_t)1 << 63)
#define SWAPPED ((uint64_t)1 << 62)

/* With the GIL. */
static int file = -1;
static bool tried;
static size_t page;

static bool read_entries(const uint8_t *from, size_t count, uint64_t *entries) {
    size_t size = count * sizeof *entries;
    return pread(file, entries, size, (off_t)((uintptr_t)from / page * sizeof *entries)) == (ssize_t)size;
}

/* A child has other pages, and the file goes on telling of its parent's. */
static void forget(void) {
    if (file >= 0) close(file);
    file = -1;
    tried = false;
}

/* Whether the file says of three pages that the second one is touched: there are systems in which it says nothing. */
static bool tells(void) {
    uint64_t entries[3];
    uint8_t *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return false;
    (void)madvise(pages, 3 * page, MADV_NOHUGEPAGE); /* advice: without it, it may seem to tell nothing */
    ((volatile uint8_t *)pages)[page] = 1;
    bool good = read_entries(pages, 3, entries) && (entries[0] & (PRESENT | SWAPPED)) == 0 &&
                (entries[1] & (PRESENT | SWAPPED)) != 0 && (entries[2] & (PRESENT | SWAPPED)) == 0;
    munmap(pages, 3 * page);
    return good;
}

bool touched_known(void) {
    static bool watches_forks;
    if (tried) return file >= 0;
    tried = true;
    if (!watches_forks && pthread_atfork(NULL, NULL, forget) != 0) return false;
    watches_forks = true;
    page = (size_t)sysconf(_SC_PAGESIZE);
    file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (file >= 0 && !tells()) {
        close(file);
        file = -1;
    }
    return file >= 0;
}

bool touched_read(Touched *self, const Region *region) {
    size_t size = atomic_load_explicit(&region->size, memory_order_relaxed);
    if (size < LEAST_TOUCHED * page || size > MOST_TOUCHED * page) return false;
    self->page = page;
    self->count = size / page;
    return read_entries(region->base, self->count, self->entries);
}

static bool is_touched(const Touched *self, size_t index) { return (self->entries[index] & (PRESENT | SWAPPED)) != 0; }

bool touched_next(const Touched *self, size_t *from, size_t *to) {
    size_t index = *from / self->page, last = (*to + self->page - 1) / self->page;
    while (index < last && !is_touched(self, index)) index++;
    if (index == last || *from >= *to) return false;
    if (index * self->page > *from) *from = index * self->page;
    while (index < last && is_touched(self, index)) index++;
    if (index * self->page < *to) *to = index * self->page;
    return true;
}
