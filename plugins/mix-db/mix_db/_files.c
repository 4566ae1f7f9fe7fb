/* What queries and commits do to files again and again: `identity`, whose twin in Python is in mix_db/files/layer.py, and
 * `rows` and `lay`, whose twins are in mix_db/files/rows.py. These are only there where the processor computes CRC-32C
 * itself.
 */
#include "_module.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <sys/sysmacros.h>
#endif

/* 0, or -1 with `errno`. */
static int look(int directory, const char *name, unsigned long long *device, unsigned long long *inode)
{
#if defined(__linux__) && defined(STATX_INO)
    struct statx asked;
    if (!statx(directory, name, AT_SYMLINK_NOFOLLOW, STATX_INO, &asked)) {
        *device = makedev(asked.stx_dev_major, asked.stx_dev_minor);
        *inode = asked.stx_ino;
        return 0;
    }
    if (errno == ENOENT)
        return -1;
    /* Old kernels do not know the call, old containers forbid it. */
#endif
    struct stat found;
    if (fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW))
        return -1;
    *device = (unsigned long long)found.st_dev;
    *inode = (unsigned long long)found.st_ino;
    return 0;
}

static PyObject *files_identity(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "expected a descriptor and a name, found %zd arguments", count);
    long directory = PyLong_AsLong(args[0]);
    if (directory == -1 && PyErr_Occurred())
        return NULL;
    if (directory < 0 || directory > INT32_MAX) {
        errno = EBADF;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_ssize_t size;
    const char *name = PyUnicode_AsUTF8AndSize(args[1], &size);
    if (!name)
        return NULL;
    if (strlen(name) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "expected a file name, found a null character in it");
        return NULL;
    }
    unsigned long long device, inode;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = look((int)directory, name, &device, &inode);
    Py_END_ALLOW_THREADS
    if (!failed)
        return Py_BuildValue("KK", device, inode);
    if (errno == ENOENT)
        Py_RETURN_NONE;
    return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, args[1]);
}

/* ----------------------------------------------------------------------------------------------------------- rows */

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>
#define HAS_CRC 1
#define CRC_TARGET __attribute__((target("sse4.2")))
#define CRC_8(crc, byte) _mm_crc32_u8(crc, byte)
#define CRC_64(crc, word) (uint32_t)_mm_crc32_u64(crc, word)
static bool can_crc(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_acle.h>
#define HAS_CRC 1
#define CRC_TARGET
#define CRC_8(crc, byte) __crc32cb(crc, byte)
#define CRC_64(crc, word) __crc32cd(crc, word)
static bool can_crc(void) { return true; }
#else
#define HAS_CRC 0
static bool can_crc(void) { return false; }
#endif

static inline uint32_t get32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

#if HAS_CRC
CRC_TARGET static uint32_t crc32c(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (; size >= 8; data += 8, size -= 8)
        crc = CRC_64(crc, get64(data));
    for (; size; data++, size--)
        crc = CRC_8(crc, *data);
    return ~crc;
}

#define MOST_VARCODE 10

/* The longest rows whose varcode takes one byte, and two. */
#define ONE (1 + 0x7F)
#define TWO (2 + 0x3FFF)

/* The record of a row that follows its neighbours as it should, or NULL, without an exception or with one. */
static PyObject *read_row(const Py_buffer *data, const Py_buffer *offsets, const Py_buffer *sums, uint64_t row)
{
    /* The last row has no neighbour behind it. */
    if (row + 1 >= (uint64_t)offsets->len / 8 || row >= (uint64_t)sums->len / 4)
        return NULL;
    const uint8_t *place = (const uint8_t *)offsets->buf + 8 * row;
    uint64_t start = get64(place), end = get64(place + 8);
    if (start >= end || end > (uint64_t)data->len || end - start > TWO)
        return NULL;
    const uint8_t *whole = (const uint8_t *)data->buf + start;
    size_t size = end - start;
    if (crc32c(whole, size) != get32((const uint8_t *)sums->buf + 4 * row))
        return NULL;
    size_t length = size <= ONE ? 1 : 2;
    return size < length ? NULL : PyBytes_FromStringAndSize((const char *)whole + length, (Py_ssize_t)(size - length));
}

/* rows(data, offsets, sums, wanted, at, most) */
static PyObject *files_rows(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 6 || !PyList_Check(args[3]))
        return PyErr_Format(PyExc_TypeError, "expected data, offsets, sums, a list of rows, and two numbers");
    Py_ssize_t at = PyLong_AsSsize_t(args[4]), most = PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred())
        return NULL;
    if (at < 0)
        return PyErr_Format(PyExc_ValueError, "expected a place in the list, found %zd", at);
    Py_buffer buffers[3];
    int opened = 0;
    while (opened < 3 && !PyObject_GetBuffer(args[opened], &buffers[opened], PyBUF_SIMPLE))
        opened++;
    PyObject *records = opened == 3 ? PyList_New(0) : NULL;
    for (; records && at < PyList_GET_SIZE(args[3]) && most > 0; at++) {
        int overflow;
        long long row = PyLong_AsLongLongAndOverflow(PyList_GET_ITEM(args[3], at), &overflow);
        if (row < 0 || overflow) {
            if (PyErr_Occurred())
                Py_CLEAR(records);
            break;
        }
        PyObject *record = read_row(&buffers[0], &buffers[1], &buffers[2], (uint64_t)row);
        if (!record || PyList_Append(records, record)) {
            Py_XDECREF(record);
            if (PyErr_Occurred())
                Py_CLEAR(records);
            break;
        }
        most -= PyBytes_GET_SIZE(record);
        Py_DECREF(record);
    }
    for (int i = 0; i < opened; i++)
        PyBuffer_Release(&buffers[i]);
    return records;
}

/* ------------------------------------------------------------------------------------------------------------ lay */

static uint8_t *put_varcode(uint8_t *p, uint64_t number)
{
    for (; number > 0x7F; number >>= 7)
        *p++ = (uint8_t)(number | 0x80);
    *p++ = (uint8_t)number;
    return p;
}

static void put_number(uint8_t *p, uint64_t number, int size)
{
    for (int i = 0; i < size; i++)
        p[i] = (uint8_t)(number >> 8 * i);
}

/* lay(records, at) */
static PyObject *files_lay(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 2 || !PyTuple_CheckExact(args[0]))
        return PyErr_Format(PyExc_TypeError, "expected a tuple of records, and an offset");
    unsigned long long at = PyLong_AsUnsignedLongLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(args[0]), size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *record = PyTuple_GET_ITEM(args[0], i);
        if (!PyBytes_CheckExact(record))
            return PyErr_Format(PyExc_TypeError, "expected a record as bytes, found %s", Py_TYPE(record)->tp_name);
        if (PyBytes_GET_SIZE(record) > PY_SSIZE_T_MAX - MOST_VARCODE - size)
            return PyErr_NoMemory();
        size += PyBytes_GET_SIZE(record) + MOST_VARCODE;
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, size), *offsets = PyBytes_FromStringAndSize(NULL, 8 * count);
    PyObject *sums = PyBytes_FromStringAndSize(NULL, 4 * count), *answer = NULL;
    if (data && offsets && sums) {
        uint8_t *start = (uint8_t *)PyBytes_AS_STRING(data), *p = start;
        uint64_t total = 0;
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *record = PyTuple_GET_ITEM(args[0], i);
            uint8_t *row = p;
            p = put_varcode(p, (uint64_t)PyBytes_GET_SIZE(record));
            memcpy(p, PyBytes_AS_STRING(record), (size_t)PyBytes_GET_SIZE(record));
            p += PyBytes_GET_SIZE(record);
            uint32_t sum = crc32c(row, (size_t)(p - row));
            total += sum;
            put_number((uint8_t *)PyBytes_AS_STRING(offsets) + 8 * i, at + (uint64_t)(row - start), 8);
            put_number((uint8_t *)PyBytes_AS_STRING(sums) + 4 * i, sum, 4);
        }
        if (!_PyBytes_Resize(&data, p - start))
            answer = Py_BuildValue("OOOK", data, offsets, sums, (unsigned long long)total);
    }
    Py_XDECREF(data);
    Py_XDECREF(offsets);
    Py_XDECREF(sums);
    return answer;
}
#endif

/* --------------------------------------------------------------------------------------------------------- module */

#if HAS_CRC
static PyMethodDef WITH_CRC[] = {
    {"rows", (PyCFunction)(void (*)(void))files_rows, METH_FASTCALL,
     "rows(data, offsets, sums, wanted, at, most); see mix_db.files.rows."},
    {"lay", (PyCFunction)(void (*)(void))files_lay, METH_FASTCALL, "lay(records, at); see mix_db.files.rows."},
    {NULL, NULL, 0, NULL},
};
#endif

static int files_exec(PyObject *module)
{
    if (!can_crc())
        return 0;
#if HAS_CRC
    return PyModule_AddFunctions(module, WITH_CRC);
#endif
    return 0;
}

static PyMethodDef METHODS[] = {
    {"identity", (PyCFunction)(void (*)(void))files_identity, METH_FASTCALL,
     "identity(directory, name); see mix_db.files.layer."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, files_exec}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mix_db._files",
    .m_doc = "What queries and commits do to files again and again; mix_db.files has the twins in Python.",
    .m_methods = METHODS,
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__files(void) { return PyModuleDef_Init(&MODULE); }
