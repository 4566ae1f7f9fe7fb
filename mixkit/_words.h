/* What the C of the codec and of the forms share: the words, their tags, and the pace at which others get to run. */
#ifndef MIXKIT_WORDS_H
#define MIXKIT_WORDS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum tag {
    TAG_UNDEF,
    TAG_NULL,
    TAG_BOOL,
    TAG_INT,
    TAG_INT64,
    TAG_NUMBER,
    TAG_STRING,
    TAG_REF,
    TAG_BINARY,
    TAG_ARRAY,
    TAG_MAP,
    TAG_CASE,
    TAG_TOKEN,
};

#define INT24_MIN (-(1 << 23))
#define INT24_MAX ((1 << 23) - 1)
#define LONG_FORM 0xFFFFFFu /* in aux: the length or count stands in the next word */
#define CANONICAL_NAN UINT64_C(0x7FF8000000000000)
#define MAX_DEPTH 256 /* mixkit.value.MAX_DEPTH; a module refuses to load when they differ */

/* Bytes one by one, because the buffer may lie at any address; compilers make one load or store of it. */

static inline uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load64(const uint8_t *p) { return (uint64_t)load32(p) | (uint64_t)load32(p + 4) << 32; }

static inline void store32(uint8_t *p, uint32_t word)
{
    p[0] = (uint8_t)word;
    p[1] = (uint8_t)(word >> 8);
    p[2] = (uint8_t)(word >> 16);
    p[3] = (uint8_t)(word >> 24);
}

static inline void store64(uint8_t *p, uint64_t words)
{
    store32(p, (uint32_t)words);
    store32(p + 4, (uint32_t)(words >> 32));
}

static inline int64_t words_of(int64_t bytes) { return (bytes >> 2) + ((bytes & 3) != 0); }

/* Has the pages of much memory that is about to be written come as large ones, where the system has such: one by one they
 * take several times as long as the writing (measured). */
static inline void take_large_pages(void *memory, size_t size)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = 2 << 20;
    uintptr_t first = ((uintptr_t)memory + page - 1) / page * page, last = ((uintptr_t)memory + size) / page * page;
    if (size >= 2 * page && first < last)
        (void)madvise((void *)first, last - first, MADV_HUGEPAGE); /* advice: without it, it is slower */
#else
    (void)memory, (void)size;
#endif
}

/* Lets other threads run now and then, who would wait for as long as many values take. */
static inline void breathe(unsigned *ticks)
{
    if (++*ticks % 4096 == 0) {
        PyThreadState *thread = PyEval_SaveThread();
        PyEval_RestoreThread(thread);
    }
}

/* 0 if the module `name` was built for the depth that values have; else -1 with an exception set. */
static int same_depth(const char *name)
{
    PyObject *module = PyImport_ImportModule("mixkit.value");
    PyObject *depth = module == NULL ? NULL : PyObject_GetAttrString(module, "MAX_DEPTH");
    Py_XDECREF(module);
    if (depth == NULL)
        return -1;
    long found = PyLong_AsLong(depth);
    Py_DECREF(depth);
    if (found == MAX_DEPTH)
        return 0;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ImportError, "%s was built for MAX_DEPTH %d, found %ld; build it again", name, MAX_DEPTH, found);
    return -1;
}

#endif
