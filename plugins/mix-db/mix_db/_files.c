/* What the file layer asks of the system at every query and commit: `identity`, whose twin in Python is in
 * mix_db/files/layer.py.
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
    struct statx found;
    if (statx(directory, name, AT_SYMLINK_NOFOLLOW, STATX_INO, &found))
        return -1;
    *device = makedev(found.stx_dev_major, found.stx_dev_minor);
    *inode = found.stx_ino;
#else
    struct stat found;
    if (fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW))
        return -1;
    *device = (unsigned long long)found.st_dev;
    *inode = (unsigned long long)found.st_ino;
#endif
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

static PyMethodDef METHODS[] = {
    {"identity", (PyCFunction)(void (*)(void))files_identity, METH_FASTCALL,
     "identity(directory, name); see mix_db.files.layer."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mix_db._files",
    .m_doc = "What the file layer asks of the system; mix_db.files.layer has the twin in Python.",
    .m_methods = METHODS,
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__files(void) { return PyModuleDef_Init(&MODULE); }
