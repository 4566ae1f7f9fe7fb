/* What the modules in C of this package begin with. */
#ifndef MIX_DB_MODULE_H
#define MIX_DB_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The module's `State`, which each file defines. */
#define get_state(module) ((State *)PyModule_GetState(module))

/* `place` gets what a Python module has of that name. 0, or -1 with an exception. */
static inline int import_into(PyObject **place, const char *module, const char *name)
{
    PyObject *found = PyImport_ImportModule(module);
    if (!found)
        return -1;
    Py_XSETREF(*place, PyObject_GetAttrString(found, name));
    Py_DECREF(found);
    return *place ? 0 : -1;
}

#endif
