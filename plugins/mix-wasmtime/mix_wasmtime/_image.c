/* Images: what memories are after init, in files of the system's memory that all instances share, page by page, until
 * they write. To restore one is to forget what it has written. */
#define _GNU_SOURCE
#include "_native.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

/* Where there is less in a memory, to copy it takes less than the pages that come one by one (measured). */
#define LEAST ((size_t)4 << 20)

static atomic_uint_least64_t last_id;

static bool write_all(int file, const char *from, size_t size, size_t at) {
    while (size > 0) {
        ssize_t done = pwrite(file, from, size, (off_t)at);
        if (done <= 0) return false;
        from += done;
        at += (size_t)done;
        size -= (size_t)done;
    }
    return true;
}

/* The file for a memory, from the page in which the first run begins to that in which the last one ends. False where the
 * system gives none: its memories are copied then, as small ones are. */
static bool make_file(ImagePart *part, const Kept *kept) {
    Run first = run_of(kept, 0), last = run_of(kept, kept->count - 1);
    part->from = (size_t)first.offset / PAGE * PAGE;
    part->to = ((size_t)(last.offset + last.size) + PAGE - 1) / PAGE * PAGE;
    part->file = memfd_create("mixkit-image", MFD_CLOEXEC);
    if (part->file < 0) return false;
    bool good = ftruncate(part->file, (off_t)(part->to - part->from)) == 0;
    const char *from = kept->contents;
    for (size_t i = 0; good && i < kept->count; i++) {
        Run run = run_of(kept, i);
        good = write_all(part->file, from, (size_t)run.size, (size_t)run.offset - part->from);
        from += run.size;
    }
    if (!good) {
        close(part->file);
        part->file = -1;
    }
    return good;
}

static PyObject *image_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *memories, *globals;
    Kept kept;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "(O!O)", &PyTuple_Type, &memories, &globals)) return NULL;
    Image *self = (Image *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->id = atomic_fetch_add(&last_id, 1) + 1;
    for (size_t i = 0; i < MAX_MEMORIES; i++) self->parts[i].file = -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(memories) && i < MAX_MEMORIES; i++) {
        if (!kept_read(PyTuple_GET_ITEM(memories, i), &kept)) {
            Py_DECREF(self);
            return NULL;
        }
        if (kept.length < LEAST) continue;
        Py_BEGIN_ALLOW_THREADS
        make_file(&self->parts[i], &kept);
        Py_END_ALLOW_THREADS
    }
    return (PyObject *)self;
}

static void image_dealloc(PyObject *object) {
    Image *self = (Image *)object;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < MAX_MEMORIES; i++)
        if (self->parts[i].file >= 0) close(self->parts[i].file);
    Py_END_ALLOW_THREADS
    Py_TYPE(object)->tp_free(object);
}

/* no GIL needed */
bool image_restore(const Image *image, size_t index, Region *region) {
    const ImagePart *part = &image->parts[index];
    uint8_t *base = region->base + part->from;
    size_t size = part->to - part->from;
    /* What was written to a mapping of one's own is gone, and the file's pages are there again. */
    if (region->image == image->id) return madvise(base, size, MADV_DONTNEED) == 0;
    if (!image_forget(region)) return false;
    if (mmap(base, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, part->file, 0) == MAP_FAILED) return false;
    region->image = image->id;
    region->image_from = part->from;
    region->image_to = part->to;
    return true;
}

/* no GIL needed */
bool image_forget(Region *region) {
    if (region->image == 0) return true;
    void *base = region->base + region->image_from;
    if (mmap(base, region->image_to - region->image_from, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        return false;
    region->image = 0;
    return true;
}

PyTypeObject ImageType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "mix_wasmtime._native.Image",
    .tp_doc = "Image(state): large memories of a state, for instances to share until they write to them.",
    .tp_basicsize = sizeof(Image),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = image_new,
    .tp_dealloc = image_dealloc,
};
