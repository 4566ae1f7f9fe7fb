/* Records as clients give them, packed, made into the fields of versions: `take` exactly as take_python in
 * mix_db/versions/given.py says, for the price of copying the bytes.
 */
#include "_packed.h"

struct State {
    char unused;
};

/* What is known of a record behind a walk. */
typedef struct {
    size_t longest, paths;
} Measure;

static bool measure(Reader *r, Measure *found);

static bool measure_map(Reader *r, size_t count, Measure *found)
{
    size_t size;
    found->paths += count;
    for (size_t i = 0; i < count; i++) {
        if (!string_length(r, &size))
            return false;
        r->at += size;
        if (size > found->longest)
            found->longest = size;
        if (!measure(r, found))
            return false;
    }
    return true;
}

/* A case has names in it, and no path leads there. */
static bool measure_case(Reader *r, Measure *found)
{
    const uint8_t *start = r->at;
    uint8_t tag = *r->at++;
    size_t size = (size_t)1 << (tag >= 0xd4 ? tag - 0xd4 : 0);
    if ((tag <= 0xc9 && !read_length(r, 1 << (tag - 0xc7), &size)) || !has(r, size + 1))
        return false;
    if (*r->at != EXT_CASE) {
        r->at = start;
        return skip_value(r);
    }
    Reader inside = {r->state, r->at + 1, r->at + 1 + size, r->depth};
    Measure names = {found->longest, 0};
    r->at += 1 + size;
    while (inside.at < inside.end)
        if (!measure(&inside, &names))
            return false;
    found->longest = names.longest;
    return true;
}

static bool measure(Reader *r, Measure *found)
{
    if (!has(r, 1))
        return false;
    uint8_t tag = *r->at;
    size_t count = tag & 0x0f;
    bool is_map = (tag & 0xf0) == 0x80 || tag >= 0xde, is_array = (tag & 0xf0) == 0x90 || tag == 0xdc || tag == 0xdd;
    if ((tag >= 0xc7 && tag <= 0xc9) || (tag >= 0xd4 && tag <= 0xd8))
        return measure_case(r, found);
    if ((!is_map && !is_array) || tag >= 0xe0)
        return skip_value(r);
    r->at++;
    if (tag >= 0xdc ? !read_count(r, tag & 1 ? 4 : 2, &count) : !has(r, count))
        return false;
    if (r->depth >= MAX_DEPTH) {
        malformed("nesting that no record has");
        return false;
    }
    r->depth++;
    bool good = true;
    if (is_map) {
        good = measure_map(r, count, found);
    } else {
        found->paths++;
        for (size_t i = 0; good && i < count; i++)
            good = measure(r, found);
    }
    r->depth--;
    return good;
}

/* Copies the fields that are a client's to `out`, which has room for all; their number, or -1 with an exception. */
static Py_ssize_t copy_fields(Reader *r, size_t count, uint8_t **out, Measure *found)
{
    Py_ssize_t kept = 0;
    const uint8_t *from = r->at; /* what is kept and not yet copied */
    for (size_t i = 0; i < count; i++) {
        const uint8_t *start = r->at;
        size_t size;
        if (!string_length(r, &size))
            return -1;
        const uint8_t *name = r->at;
        r->at += size;
        if (size >= 5 && memcmp(name, "_rmx_", 5) == 0 && !(size == 9 && memcmp(name, "_rmx_type", 9) == 0)) {
            memcpy(*out, from, (size_t)(start - from));
            *out += start - from;
            if (!skip_value(r))
                return -1;
            from = r->at;
            continue;
        }
        kept++;
        found->paths++;
        if (size > found->longest)
            found->longest = size;
        if (!measure(r, found))
            return -1;
    }
    memcpy(*out, from, (size_t)(r->at - from));
    *out += r->at - from;
    return kept;
}

/* The id behind the fields, as `unstamped` in mix_db/versions/version.py puts it there. */
static uint8_t *write_id(uint8_t *p, const char *id, size_t size)
{
    *p++ = ID;
    int power = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : size == 8 ? 3 : size == 16 ? 4 : -1;
    if (power >= 0) {
        *p++ = (uint8_t)(0xd4 + power);
    } else {
        int bytes = size < 1 << 8 ? 1 : size < 1 << 16 ? 2 : 4;
        *p++ = bytes == 1 ? 0xc7 : bytes == 2 ? 0xc8 : 0xc9;
        for (int shift = 8 * bytes - 8; shift >= 0; shift -= 8)
            *p++ = (uint8_t)(size >> shift);
    }
    *p++ = EXT_REF;
    memcpy(p, id, size);
    return p + size;
}

static PyObject *taken(Reader *r, size_t count, const char *id, size_t id_size)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, r->end - r->at + (Py_ssize_t)id_size + 16);
    if (!bytes)
        return NULL;
    Measure found = {0, 0};
    uint8_t *start = (uint8_t *)PyBytes_AS_STRING(bytes), *p = start;
    Py_ssize_t kept = copy_fields(r, count, &p, &found);
    if (kept >= 0 && r->at != r->end) {
        malformed("more than that");
        kept = -1;
    }
    if (kept < 0) {
        Py_DECREF(bytes);
        return NULL;
    }
    Py_ssize_t size = p - start + (kept < 16 ? 1 : kept < 1 << 16 ? 3 : 5);
    p = write_id(p, id, id_size);
    if (_PyBytes_Resize(&bytes, p - start))
        return NULL;
    return Py_BuildValue("nNnnn", kept + 1, bytes, size, (Py_ssize_t)found.longest, (Py_ssize_t)found.paths);
}

static PyObject *given_take(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyBytes_CheckExact(args[0]) || !PyUnicode_CheckExact(args[1]))
        return PyErr_Format(PyExc_TypeError, "take(packed, id) takes bytes and a text");
    Py_ssize_t id_size;
    const char *id = PyUnicode_AsUTF8AndSize(args[1], &id_size);
    if (!id)
        return NULL;
    const uint8_t *start = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    Reader reader = {get_state(module), start, start + PyBytes_GET_SIZE(args[0]), 0};
    if (!has(&reader, 1))
        return NULL;
    uint8_t tag = *reader.at++;
    size_t count = tag & 0x0f;
    if ((tag & 0xf0) != 0x80 && tag != 0xde && tag != 0xdf)
        return malformed("another value");
    if (tag >= 0xde ? !read_count(&reader, tag == 0xde ? 2 : 4, &count) : !has(&reader, count))
        return NULL;
    return taken(&reader, count, id, (size_t)id_size);
}

static PyMethodDef methods[] = {
    {"take", (PyCFunction)(void (*)(void))given_take, METH_FASTCALL,
     "take($module, packed, id, /)\n--\n\nThe fields of a version; see mix_db.versions.given.take_python."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mix_db._given",
    .m_doc = "Records as clients give them, in C.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__given(void) { return PyModuleDef_Init(&definition); }
