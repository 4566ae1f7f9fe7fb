/* Stored versions read: `read` exactly as read_python in mix_db/engine/version.py, for the price of making the objects.
 *
 * The bytes come from files that were checked, and are trusted no more for it: every length is compared with what is
 * there, nesting is bounded, and what is not MessagePack of a map raises ValueError.
 */
#include "_module.h"

#include <stdio.h>

/* A case takes two levels, since its content is an array. */
#define MAX_DEPTH 600
#define NAMES 1024
#define NAME_MAX_SIZE 32
#define EXT_REF 1
#define EXT_CASE 2

/* The engine's fields, as mix_db/engine/version.py numbers them. */
enum own { ID, COMMIT, TIME, PREVIOUS, DELETED, OWN };
static const char *const OWN_NAMES[OWN] = {"_rmx_id", "_rmx_rev", "_rmx_last_modified_at", "_rmx_previous",
                                           "_rmx_deleted"};

typedef struct {
    PyTypeObject *ref, *case_;
    PyObject *undef, *s_id, *s_name, *s_arg;
    PyObject *own[OWN]; /* names of the engine's fields, by their keys */
    PyObject *names[NAMES]; /* names of fields seen lately, short ones in ASCII */
} State;

typedef struct {
    State *state;
    const uint8_t *at, *end;
    int depth;
} Reader;

static PyObject *malformed(const char *what)
{
    PyErr_Format(PyExc_ValueError, "expected the MessagePack of a record, found %s", what);
    return NULL;
}

static bool has(Reader *r, size_t size)
{
    if ((size_t)(r->end - r->at) >= size)
        return true;
    malformed("bytes that break off");
    return false;
}

/* The next `size` bytes as a big-endian number; there must be so many. */
static uint64_t number(Reader *r, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | *r->at++;
    return value;
}

/* A length of `size` bytes, and behind it as many bytes. */
static bool read_length(Reader *r, int size, size_t *length)
{
    if (!has(r, (size_t)size))
        return false;
    *length = (size_t)number(r, size);
    return has(r, *length);
}

/* A count of items, each of which takes a byte at least. */
static bool read_count(Reader *r, int size, size_t *count) { return read_length(r, size, count); }

static PyObject *read_value(Reader *r);

static PyObject *read_text(Reader *r, size_t size)
{
    const char *start = (const char *)r->at;
    r->at += size;
    return PyUnicode_DecodeUTF8(start, (Py_ssize_t)size, NULL);
}

static PyObject *read_bytes(Reader *r, size_t size)
{
    const char *start = (const char *)r->at;
    r->at += size;
    return PyBytes_FromStringAndSize(start, (Py_ssize_t)size);
}

static bool string_length(Reader *r, size_t *size)
{
    if (!has(r, 1))
        return false;
    uint8_t tag = *r->at++;
    if (tag >= 0xa0 && tag <= 0xbf) {
        *size = tag & 0x1f;
        return has(r, *size);
    }
    if (tag >= 0xd9 && tag <= 0xdb)
        return read_length(r, 1 << (tag - 0xd9), size);
    malformed("a name that is no string");
    return false;
}

static PyObject *read_name(Reader *r)
{
    size_t size;
    if (!string_length(r, &size))
        return NULL;
    if (size == 0 || size > NAME_MAX_SIZE)
        return read_text(r, size);
    uint32_t hash = (uint32_t)size;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ r->at[i]) * 0x01000193u;
    PyObject **slot = &r->state->names[(hash ^ hash >> 15) & (NAMES - 1)];
    if (*slot && (size_t)PyUnicode_GET_LENGTH(*slot) == size &&
        memcmp(PyUnicode_1BYTE_DATA(*slot), r->at, size) == 0) {
        r->at += size;
        return Py_NewRef(*slot);
    }
    PyObject *name = read_text(r, size);
    if (name && PyUnicode_IS_COMPACT_ASCII(name))
        Py_XSETREF(*slot, Py_NewRef(name));
    return name;
}

static PyObject *read_array(Reader *r, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    if (!list)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        PyObject *item = read_value(r);
        if (!item) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *read_map(Reader *r, size_t count)
{
    PyObject *map = PyDict_New();
    if (!map)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        PyObject *name = read_name(r), *value = name ? read_value(r) : NULL;
        int failed = !value || PyDict_SetItem(map, name, value) < 0;
        Py_XDECREF(name);
        Py_XDECREF(value);
        if (failed) {
            Py_DECREF(map);
            return NULL;
        }
    }
    return map;
}

/* Refs and cases are immutable, so their attributes are set below `__setattr__`. */
static PyObject *make(PyTypeObject *type, PyObject *name, PyObject *value)
{
    PyObject *object = value ? type->tp_alloc(type, 0) : NULL;
    if (object && PyObject_GenericSetAttr(object, name, value) < 0)
        Py_CLEAR(object);
    Py_XDECREF(value);
    return object;
}

static PyObject *read_case(Reader *r, size_t size)
{
    Reader inside = {r->state, r->at, r->at + size, r->depth};
    r->at += size;
    PyObject *parts = read_value(&inside), *object = NULL;
    if (!parts)
        return NULL;
    Py_ssize_t count = PyList_CheckExact(parts) ? PyList_GET_SIZE(parts) : 0;
    if (inside.at != inside.end || count < 1 || count > 2 || !PyUnicode_CheckExact(PyList_GET_ITEM(parts, 0))) {
        malformed("a case that is not a name and at most one value");
    } else {
        object = make(r->state->case_, r->state->s_name, Py_NewRef(PyList_GET_ITEM(parts, 0)));
        PyObject *arg = count == 2 ? PyList_GET_ITEM(parts, 1) : r->state->undef;
        if (object && PyObject_GenericSetAttr(object, r->state->s_arg, arg) < 0)
            Py_CLEAR(object);
    }
    Py_DECREF(parts);
    return object;
}

static PyObject *read_extension(Reader *r, size_t size)
{
    if (!has(r, size + 1))
        return NULL;
    switch (*r->at++) {
    case EXT_REF:
        return make(r->state->ref, r->state->s_id, read_text(r, size));
    case EXT_CASE:
        return read_case(r, size);
    default:
        return malformed("an extension type that no record has");
    }
}

static PyObject *read_float(Reader *r)
{
    uint64_t bits = number(r, 8);
    double value;
    memcpy(&value, &bits, 8);
    return PyFloat_FromDouble(value);
}

static PyObject *read_tagged(Reader *r, uint8_t tag)
{
    size_t size;
    switch (tag) {
    case 0xc0:
        Py_RETURN_NONE;
    case 0xc2:
        Py_RETURN_FALSE;
    case 0xc3:
        Py_RETURN_TRUE;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_length(r, 1 << (tag - 0xc4), &size) ? read_bytes(r, size) : NULL;
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return read_length(r, 1 << (tag - 0xc7), &size) ? read_extension(r, size) : NULL;
    case 0xcb:
        return has(r, 8) ? read_float(r) : NULL;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: {
        int width = 1 << (tag - 0xcc);
        return has(r, (size_t)width) ? PyLong_FromUnsignedLongLong(number(r, width)) : NULL;
    }
    case 0xd0:
        return has(r, 1) ? PyLong_FromLong((int8_t)number(r, 1)) : NULL;
    case 0xd1:
        return has(r, 2) ? PyLong_FromLong((int16_t)number(r, 2)) : NULL;
    case 0xd2:
        return has(r, 4) ? PyLong_FromLong((int32_t)number(r, 4)) : NULL;
    case 0xd3:
        return has(r, 8) ? PyLong_FromLongLong((int64_t)number(r, 8)) : NULL;
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return read_extension(r, (size_t)1 << (tag - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_length(r, 1 << (tag - 0xd9), &size) ? read_text(r, size) : NULL;
    case 0xdc:
    case 0xdd:
        return read_count(r, tag == 0xdc ? 2 : 4, &size) ? read_array(r, size) : NULL;
    case 0xde:
    case 0xdf:
        return read_count(r, tag == 0xde ? 2 : 4, &size) ? read_map(r, size) : NULL;
    default:
        return malformed("a byte that begins no value of a record");
    }
}

static PyObject *read_inside(Reader *r)
{
    if (!has(r, 1))
        return NULL;
    uint8_t tag = *r->at++;
    if (tag <= 0x7f || tag >= 0xe0)
        return PyLong_FromLong((int8_t)tag);
    if (tag >= 0xc0)
        return read_tagged(r, tag);
    size_t size = tag >= 0xa0 ? tag & 0x1f : tag & 0x0f;
    if (!has(r, size))
        return NULL;
    return tag >= 0xa0 ? read_text(r, size) : tag >= 0x90 ? read_array(r, size) : read_map(r, size);
}

static PyObject *read_value(Reader *r)
{
    if (r->depth >= MAX_DEPTH)
        return malformed("nesting that no record has");
    r->depth++;
    PyObject *value = read_inside(r);
    r->depth--;
    return value;
}

static PyObject *watermark(PyObject *number)
{
    char digits[32];
    long long count = PyLong_CheckExact(number) ? PyLong_AsLongLong(number) : -1;
    if (count < 0 || count > 9999999999999999) {
        PyErr_Clear();
        return malformed("a commit that has no number");
    }
    int size = snprintf(digits, sizeof digits, "%016lld", count);
    return PyUnicode_FromStringAndSize(digits, size);
}

/* What a field of the engine's own is read as. Takes the value over. */
static PyObject *own_value(Reader *r, enum own field, PyObject *value)
{
    PyObject *made = value;
    if (value && field == COMMIT)
        made = watermark(value);
    else if (value && field == PREVIOUS)
        made = make(r->state->ref, r->state->s_id, PyObject_Str(value));
    if (made != value)
        Py_DECREF(value);
    return made;
}

/* A field of the map at the top: where its key is an integer it is the engine's. */
static bool read_field(Reader *r, PyObject *map, bool *deleted)
{
    if (!has(r, 1))
        return false;
    PyObject *name, *value;
    if (*r->at < OWN) {
        enum own field = *r->at++;
        name = Py_NewRef(r->state->own[field]);
        value = own_value(r, field, read_value(r));
        *deleted |= field == DELETED;
    } else {
        name = read_name(r);
        value = name ? read_value(r) : NULL;
    }
    bool done = value && (name == r->state->own[DELETED] || PyDict_SetItem(map, name, value) == 0);
    Py_XDECREF(name);
    Py_XDECREF(value);
    return done;
}

static PyObject *read_record(Reader *r)
{
    if (!has(r, 1))
        return NULL;
    uint8_t tag = *r->at++;
    size_t count = tag & 0x0f;
    if ((tag & 0xf0) != 0x80 && tag != 0xde && tag != 0xdf)
        return malformed("another value");
    if (tag >= 0xde ? !read_count(r, tag == 0xde ? 2 : 4, &count) : !has(r, count))
        return NULL;
    PyObject *map = PyDict_New();
    bool deleted = false;
    for (size_t i = 0; map && i < count; i++)
        if (!read_field(r, map, &deleted))
            Py_CLEAR(map);
    if (map && deleted && PyDict_SetItem(map, r->state->own[DELETED], Py_True) < 0)
        Py_CLEAR(map);
    return map;
}

static PyObject *version_read(PyObject *module, PyObject *data)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    const uint8_t *start = buffer.buf;
    Reader reader = {get_state(module), start, start + buffer.len, 0};
    PyObject *record = read_record(&reader);
    if (record && reader.at != reader.end) {
        Py_CLEAR(record);
        malformed("more than that");
    }
    PyBuffer_Release(&buffer);
    return record;
}

/* Adds about how many bytes a value takes, and stops when it is over `most`. What is nested deeper than any record counts
 * for nothing. */
static bool weigh(State *state, PyObject *value, int depth, Py_ssize_t most, Py_ssize_t *size)
{
    *size += 16;
    if (PyUnicode_Check(value)) {
        *size += PyUnicode_GET_LENGTH(value);
    } else if (PyBytes_Check(value)) {
        *size += PyBytes_GET_SIZE(value);
    } else if (depth >= MAX_DEPTH || *size > most) {
        return true;
    } else if (PyDict_Check(value)) {
        Py_ssize_t place = 0;
        PyObject *name, *item;
        while (*size <= most && PyDict_Next(value, &place, &name, &item))
            if (!weigh(state, name, depth + 1, most, size) || !weigh(state, item, depth + 1, most, size))
                return false;
    } else if (PyList_Check(value)) {
        for (Py_ssize_t i = 0; *size <= most && i < PyList_GET_SIZE(value); i++)
            if (!weigh(state, PyList_GET_ITEM(value, i), depth + 1, most, size))
                return false;
    } else if (Py_IS_TYPE(value, state->ref) || Py_IS_TYPE(value, state->case_)) {
        PyObject *part = PyObject_GetAttr(value, Py_IS_TYPE(value, state->ref) ? state->s_id : state->s_arg);
        bool weighed = part && weigh(state, part, depth + 1, most, size);
        Py_XDECREF(part);
        return weighed;
    }
    return true;
}

static PyObject *version_weigh(PyObject *module, PyObject *args)
{
    PyObject *value;
    Py_ssize_t most, size = 0;
    if (!PyArg_ParseTuple(args, "On:weigh", &value, &most) || !weigh(get_state(module), value, 0, most, &size))
        return NULL;
    return PyLong_FromSsize_t(size);
}

static int module_exec(PyObject *module)
{
    State *state = get_state(module);
    if (import_into((PyObject **)&state->ref, "mixkit.value", "Ref") < 0 ||
        import_into((PyObject **)&state->case_, "mixkit.value", "Case") < 0 ||
        import_into(&state->undef, "mixkit.value", "UNDEF") < 0)
        return -1;
    state->s_id = PyUnicode_InternFromString("id");
    state->s_name = PyUnicode_InternFromString("name");
    state->s_arg = PyUnicode_InternFromString("arg");
    for (int i = 0; i < OWN; i++) {
        state->own[i] = PyUnicode_InternFromString(OWN_NAMES[i]);
        if (!state->own[i])
            return -1;
    }
    return state->s_id && state->s_name && state->s_arg ? 0 : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = get_state(module);
    Py_VISIT(state->ref);
    Py_VISIT(state->case_);
    Py_VISIT(state->undef);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = get_state(module);
    Py_CLEAR(state->ref);
    Py_CLEAR(state->case_);
    Py_CLEAR(state->undef);
    Py_CLEAR(state->s_id);
    Py_CLEAR(state->s_name);
    Py_CLEAR(state->s_arg);
    for (int i = 0; i < OWN; i++)
        Py_CLEAR(state->own[i]);
    for (int i = 0; i < NAMES; i++)
        Py_CLEAR(state->names[i]);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyMethodDef methods[] = {
    {"read", version_read, METH_O,
     "read($module, data, /)\n--\n\nThe map of a stored version; see mix_db.engine.version.read_python."},
    {"weigh", version_weigh, METH_VARARGS,
     "weigh($module, value, most, /)\n--\n\nAbout its bytes; see mix_db.query.weight.weigh_python."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mix_db._version",
    .m_doc = "Stored versions read in C.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__version(void) { return PyModuleDef_Init(&definition); }
