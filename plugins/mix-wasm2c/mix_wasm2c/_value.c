/* Values between Python and the guest. */
#include "_instance.h"

#include <string.h>

int value_from_argument(PyObject *value, char type, mix_value *raw) {
    memset(raw, 0, sizeof *raw);
    if (type == 'f' || type == 'd') {
        double number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) return -1;
        if (type == 'f') raw->f32 = (float)number;
        else raw->f64 = number;
        return 0;
    }
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "expected an int, found %.100s", Py_TYPE(value)->tp_name);
        return -1;
    }
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (type == 'i' && (overflow || number < INT32_MIN || number > UINT32_MAX)) {
        PyErr_SetString(PyExc_OverflowError, "the int does not fit into 32 bits");
        return -1;
    }
    if (overflow > 0) {
        number = (long long)PyLong_AsUnsignedLongLong(value);
        if (PyErr_Occurred()) return -1;
    } else if (overflow < 0) {
        PyErr_SetString(PyExc_OverflowError, "the int does not fit into 64 bits");
        return -1;
    }
    if (type == 'i') raw->i32 = (uint32_t)number;
    else raw->i64 = (uint64_t)number;
    return 0;
}

int value_from_result(PyObject *value, char type, mix_value *raw) {
    if (type == 'f' || type == 'd') return value_from_argument(value, type, raw);
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_TypeError, "expected an int, found %.100s", Py_TYPE(value)->tp_name);
        return -1;
    }
    /* Modulo 2^64, and then of 2^32. */
    unsigned long long number = PyLong_AsUnsignedLongLongMask(value);
    memset(raw, 0, sizeof *raw);
    if (type == 'i') raw->i32 = (uint32_t)number;
    else raw->i64 = (uint64_t)number;
    return 0;
}

PyObject *value_to_python(const mix_value *raw, char type) {
    switch (type) {
    case 'i': return PyLong_FromLong((int32_t)raw->i32);
    case 'I': return PyLong_FromLongLong((int64_t)raw->i64);
    case 'f': return PyFloat_FromDouble((double)raw->f32);
    case 'd': return PyFloat_FromDouble(raw->f64);
    default: Py_RETURN_NONE;
    }
}
