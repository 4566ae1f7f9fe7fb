/* The index of stored versions, straight from their bytes: `add` exactly as add_python in mix_db/versions/indexing.py says.
 * No value is made of what is only to be found by its key.
 *
 * Columns are objects in Python, which others read meanwhile; mix_db/index/memory.py says what they rely on.
 */
#include "_packed.h"

#include <structmember.h>

#define MAX_TEXT 256
#define SHORT 32

/* In the order of mix_db.index.part.Kind. */
enum kind { K_NULL, K_BOOL, K_INT, K_FLOAT, K_STRING, K_REF, K_BINARY, K_ARRAY, K_MAP, K_CASE, KINDS };

/* Attributes of Node, of Growing. */
enum slot { COLUMNS, FIELDS, ITEMS, KEYS, POSTINGS, ROWS, ATTRIBUTES };
static const char *const SLOT_NAMES[ATTRIBUTES] = {"columns", "fields", "items", "keys", "postings", "rows"};

struct State {
    PyTypeObject *node, *growing; /* NULL until the first `add` */
    PyObject *bitmap;
    Py_ssize_t slots[ATTRIBUTES]; /* where the attributes are in their objects */
    PyObject *add; /* BitMap.add */
    PyObject *zero, *one, *id_name, *type_name;
    PyObject *names[NAMES];
};

/* Where a slot of a class is in its objects; -1 with an exception if it has none of that name. */
static Py_ssize_t offset_of(PyTypeObject *type, const char *name)
{
    Py_ssize_t offset = -1;
    PyObject *found = PyObject_GetAttrString((PyObject *)type, name);
    if (found && Py_IS_TYPE(found, &PyMemberDescr_Type))
        offset = ((PyMemberDescrObject *)found)->d_member->offset;
    else if (found)
        PyErr_Format(PyExc_TypeError, "expected %s to be a slot of %s", name, type->tp_name);
    Py_XDECREF(found);
    return offset;
}

/* The modules that are named here import this one, so that it cannot import them when it is loaded. */
static int load_types(State *st)
{
    if (st->bitmap)
        return 0;
    if (import_into((PyObject **)&st->node, "mix_db.index.memory", "Node") ||
        import_into((PyObject **)&st->growing, "mix_db.index.memory", "Growing"))
        return -1;
    for (int i = 0; i < ATTRIBUTES; i++) {
        st->slots[i] = offset_of(i < KEYS ? st->node : st->growing, SLOT_NAMES[i]);
        if (st->slots[i] < 0)
            return -1;
    }
    if (import_into(&st->bitmap, "pyroaring", "BitMap"))
        return -1;
    st->add = PyObject_GetAttrString(st->bitmap, "add");
    if (!st->add)
        Py_CLEAR(st->bitmap);
    return st->add ? 0 : -1;
}

/* Where an attribute is in a node or column. */
static inline PyObject **place_of(State *st, PyObject *object, enum slot slot)
{
    return (PyObject **)((char *)object + st->slots[slot]);
}

/* An attribute that must be a dict or a list; borrowed, or NULL with an exception. */
static inline PyObject *attribute(State *st, PyObject *object, enum slot slot, PyTypeObject *type)
{
    PyTypeObject *owner = slot < KEYS ? st->node : st->growing;
    if (!Py_IS_TYPE(object, owner)) {
        PyErr_Format(PyExc_TypeError, "expected a %s, found %s", owner->tp_name, Py_TYPE(object)->tp_name);
        return NULL;
    }
    PyObject *found = *place_of(st, object, slot);
    if (found && Py_IS_TYPE(found, type))
        return found;
    PyErr_Format(PyExc_TypeError, "expected a %s as %s, found %s", type->tp_name, SLOT_NAMES[slot],
                 found ? Py_TYPE(found)->tp_name : "none");
    return NULL;
}

/* -- keys: as `number_key` and `text_key` in mix_db/index/part.py make them */

static PyObject *number_key(double number)
{
    uint64_t bits;
    if (number != number)
        return PyLong_FromLong(0);
    if (number == 0)
        number = 0; /* not -0 */
    memcpy(&bits, &number, sizeof bits);
    return PyLong_FromUnsignedLongLong(bits >> 63 ? ~bits : bits | UINT64_C(1) << 63);
}

static bool is_ascii(const uint8_t *text, size_t size)
{
    uint64_t all = 0, eight;
    for (; size >= 8; text += 8, size -= 8) {
        memcpy(&eight, text, 8);
        all |= eight;
    }
    for (; size; size--)
        all |= (uint64_t)*text++ << 56;
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

static PyObject *text_key(Reader *r, size_t size)
{
    const uint8_t *start = r->at;
    if (is_ascii(start, size)) {
        r->at += size;
        return PyBytes_FromStringAndSize((const char *)start, (Py_ssize_t)(size < MAX_TEXT ? size : MAX_TEXT));
    }
    PyObject *text = read_text(r, size), *key = NULL;
    if (text) {
        Py_SETREF(text, PyUnicode_Substring(text, 0, MAX_TEXT));
        key = text ? PyUnicode_AsUTF8String(text) : NULL;
    }
    Py_XDECREF(text);
    return key;
}

/* -- columns */

static int call_add(State *st, PyObject *bitmap, PyObject *row)
{
    if (!Py_IS_TYPE(bitmap, (PyTypeObject *)st->bitmap)) {
        PyErr_Format(PyExc_TypeError, "expected a BitMap, found %s", Py_TYPE(bitmap)->tp_name);
        return -1;
    }
    PyObject *both[] = {bitmap, row}, *answer = PyObject_Vectorcall(st->add, both, 2, NULL);
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

/* Whether a row is noted already, as one that stands twice in an array. */
static int is_noted(PyObject *last, PyObject *row)
{
    return last == row ? 1 : PyObject_RichCompareBool(last, row, Py_EQ);
}

/* The rows of a key that was there before, and one more. */
static int note_again(State *st, PyObject *postings, PyObject *key, PyObject *posting, PyObject *row)
{
    if (PyLong_CheckExact(posting)) {
        int noted = is_noted(posting, row);
        if (noted)
            return noted < 0 ? -1 : 0;
        PyObject *list = PyList_New(2);
        if (!list)
            return -1;
        PyList_SET_ITEM(list, 0, Py_NewRef(posting));
        PyList_SET_ITEM(list, 1, Py_NewRef(row));
        int failed = PyDict_SetItem(postings, key, list);
        Py_DECREF(list);
        return failed;
    }
    if (!PyList_CheckExact(posting))
        return call_add(st, posting, row);
    Py_ssize_t size = PyList_GET_SIZE(posting);
    /* Nobody else changes the list. */
    int noted = size ? is_noted(PyList_GET_ITEM(posting, size - 1), row) : 0;
    if (noted)
        return noted < 0 ? -1 : 0;
    if (PyList_Append(posting, row))
        return -1;
    if (size + 1 <= SHORT)
        return 0;
    PyObject *bitmap = PyObject_CallOneArg(st->bitmap, posting);
    int failed = bitmap ? PyDict_SetItem(postings, key, bitmap) : -1;
    Py_XDECREF(bitmap);
    return failed;
}

/* Growing.add */
static int note(State *st, PyObject *column, PyObject *key, PyObject *row)
{
    PyObject *postings = attribute(st, column, POSTINGS, &PyDict_Type);
    if (!postings)
        return -1;
    Py_ssize_t before = PyDict_GET_SIZE(postings);
    PyObject *posting = PyDict_SetDefault(postings, key, row);
    if (!posting)
        return -1;
    int status = 0;
    if (PyDict_GET_SIZE(postings) != before) {
        PyObject *keys = attribute(st, column, KEYS, &PyList_Type);
        status = keys ? PyList_Append(keys, key) : -1;
    } else {
        Py_INCREF(posting);
        status = note_again(st, postings, key, posting, row);
        Py_DECREF(posting);
    }
    if (status)
        return -1;
    PyObject *rows = *place_of(st, column, ROWS);
    if (rows)
        return call_add(st, rows, row);
    PyErr_SetString(PyExc_AttributeError, SLOT_NAMES[ROWS]);
    return -1;
}

/* The column of a kind, made if it is new; borrowed. */
static PyObject *column_of(State *st, PyObject *node, enum kind kind)
{
    PyObject *columns = attribute(st, node, COLUMNS, &PyList_Type);
    if (!columns)
        return NULL;
    if (PyList_GET_SIZE(columns) != KINDS) {
        PyErr_Format(PyExc_ValueError, "expected %d columns of a node", KINDS);
        return NULL;
    }
    PyObject *column = PyList_GET_ITEM(columns, kind);
    if (column != Py_None)
        return column;
    column = PyObject_CallNoArgs((PyObject *)st->growing);
    if (column && PyList_SetItem(columns, kind, Py_NewRef(column)))
        Py_CLEAR(column);
    Py_XDECREF(column); /* the list has it */
    return column;
}

/* The node of a field, made if it is new; borrowed. */
static PyObject *field_of(State *st, PyObject *fields, PyObject *name)
{
    PyObject *node = PyDict_GetItemWithError(fields, name);
    if (node || PyErr_Occurred())
        return node;
    node = PyObject_CallNoArgs((PyObject *)st->node);
    if (node && PyDict_SetItem(fields, name, node))
        Py_CLEAR(node);
    Py_XDECREF(node);
    return node;
}

/* -- versions */

static int add_value(Reader *r, PyObject *node, PyObject *row);

static int add_fields(Reader *r, PyObject *node, PyObject *row, size_t count)
{
    PyObject *fields = attribute(r->state, node, FIELDS, &PyDict_Type);
    int status = fields ? 0 : -1;
    for (size_t i = 0; !status && i < count; i++) {
        PyObject *name = read_name(r, r->state->names);
        PyObject *inner = name ? field_of(r->state, fields, name) : NULL;
        status = inner ? add_value(r, inner, row) : -1;
        Py_XDECREF(name);
    }
    return status;
}

static int add_items(Reader *r, PyObject *node, PyObject *row, size_t count)
{
    if (!count)
        return 0;
    PyObject **items = place_of(r->state, node, ITEMS);
    if (*items == Py_None) {
        PyObject *made = PyObject_CallNoArgs((PyObject *)r->state->node);
        if (!made)
            return -1;
        Py_SETREF(*items, made);
    }
    int status = 0;
    if (!*items) {
        PyErr_SetString(PyExc_AttributeError, SLOT_NAMES[ITEMS]);
        status = -1;
    }
    for (size_t i = 0; !status && i < count; i++)
        status = add_value(r, *items, row);
    return status;
}

/* Kind and key of the value that comes next; a new reference, or NULL with an exception. Of an array or map `count` is
 * told, and the reader is before its first item; else it is behind the value. */
static PyObject *read_key(Reader *r, enum kind *kind, size_t *count)
{
    State *st = r->state;
    PyObject *key = st->zero;
    const uint8_t *start = r->at;
    size_t size;
    if (!has(r, 1))
        return NULL;
    uint8_t tag = *r->at++;
    if (tag <= 0x7f || tag >= 0xe0) {
        *kind = K_INT;
        return number_key((int8_t)tag);
    }
    if (tag <= 0x9f) {
        *kind = tag <= 0x8f ? K_MAP : K_ARRAY;
        *count = tag & 0x0f;
        return has(r, *count) ? Py_NewRef(key) : NULL;
    }
    if (tag <= 0xbf || (tag >= 0xd9 && tag <= 0xdb)) {
        *kind = K_STRING;
        size = tag & 0x1f;
        if (tag <= 0xbf ? !has(r, size) : !read_length(r, 1 << (tag - 0xd9), &size))
            return NULL;
        return text_key(r, size);
    }
    if (tag >= 0xdc) {
        *kind = tag >= 0xde ? K_MAP : K_ARRAY;
        return read_count(r, tag & 1 ? 4 : 2, count) ? Py_NewRef(key) : NULL;
    }
    switch (tag) {
    case 0xc0:
        *kind = K_NULL;
        return Py_NewRef(key);
    case 0xc2:
    case 0xc3:
        *kind = K_BOOL;
        return Py_NewRef(tag == 0xc3 ? st->one : key);
    case 0xcb: {
        *kind = K_FLOAT;
        if (!has(r, 8))
            return NULL;
        uint64_t bits = number(r, 8);
        double value;
        memcpy(&value, &bits, 8);
        return number_key(value);
    }
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: {
        *kind = K_INT;
        int width = 1 << (tag & 3);
        if (!has(r, (size_t)width))
            return NULL;
        uint64_t bits = number(r, width);
        if (tag <= 0xcf)
            return number_key((double)bits);
        int unused = 64 - 8 * width;
        return number_key((double)((int64_t)(bits << unused) >> unused));
    }
    case 0xc4:
    case 0xc5:
    case 0xc6:
        *kind = K_BINARY;
        break;
    case 0xc7:
    case 0xc8:
    case 0xc9:
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        size = (size_t)1 << (tag >= 0xd4 ? tag - 0xd4 : 0);
        if ((tag <= 0xc9 && !read_length(r, 1 << (tag - 0xc7), &size)) || !has(r, size + 1))
            return NULL;
        if (*r->at == EXT_REF) {
            r->at++;
            *kind = K_REF;
            return text_key(r, size);
        }
        *kind = K_CASE; /* nothing inside is indexed */
        break;
    default:
        break;
    }
    r->at = start;
    return skip_value(r) ? Py_NewRef(key) : NULL;
}

static int add_value(Reader *r, PyObject *node, PyObject *row)
{
    enum kind kind = K_NULL;
    size_t count = 0;
    PyObject *key = read_key(r, &kind, &count);
    if (!key)
        return -1;
    PyObject *column = column_of(r->state, node, kind);
    int status = column ? note(r->state, column, key, row) : -1;
    Py_DECREF(key);
    if (status || (kind != K_MAP && kind != K_ARRAY))
        return status;
    if (r->depth >= MAX_DEPTH) {
        malformed("nesting that no record has");
        return -1;
    }
    r->depth++;
    status = kind == K_MAP ? add_fields(r, node, row, count) : add_items(r, node, row, count);
    r->depth--;
    return status;
}

/* Whether a name at the top is the engine's own, and no column. */
static bool is_hidden(State *st, PyObject *name)
{
    if (PyUnicode_GET_LENGTH(name) < 5)
        return false;
    int kind = PyUnicode_KIND(name);
    const void *data = PyUnicode_DATA(name);
    for (int i = 0; i < 5; i++)
        if (PyUnicode_READ(kind, data, i) != (Py_UCS4) "_rmx_"[i])
            return false;
    return PyUnicode_Compare(name, st->id_name) != 0 && PyUnicode_Compare(name, st->type_name) != 0;
}

/* What an engine's field says beside the columns. */
typedef struct {
    PyObject *previous; /* an int, or NULL */
    bool deleted;
} Noted;

static PyObject *read_row(Reader *r)
{
    if (!has(r, 1))
        return NULL;
    uint8_t tag = *r->at++;
    if (tag <= 0x7f)
        return PyLong_FromLong(tag);
    int width = tag >= 0xcc && tag <= 0xcf ? 1 << (tag - 0xcc) : 0;
    if (!width)
        return malformed("a row that has no number");
    return has(r, (size_t)width) ? PyLong_FromUnsignedLongLong(number(r, width)) : NULL;
}

static int add_own(Reader *r, PyObject *fields, PyObject *row, Noted *noted)
{
    switch (*r->at++) {
    case ID: {
        PyObject *node = field_of(r->state, fields, r->state->id_name);
        return node ? add_value(r, node, row) : -1;
    }
    case PREVIOUS:
        Py_XSETREF(noted->previous, read_row(r));
        return noted->previous ? 0 : -1;
    case DELETED:
        if (!has(r, 1))
            return -1;
        noted->deleted = *r->at == 0xc3;
        /* fall through */
    default:
        return skip_value(r) ? 0 : -1;
    }
}

static int add_version(Reader *r, PyObject *root, PyObject *row, Noted *noted)
{
    size_t count;
    if (!has(r, 1))
        return -1;
    uint8_t tag = *r->at++;
    count = tag & 0x0f;
    if ((tag & 0xf0) != 0x80 && tag != 0xde && tag != 0xdf) {
        malformed("another value");
        return -1;
    }
    if (tag >= 0xde ? !read_count(r, tag == 0xde ? 2 : 4, &count) : !has(r, count))
        return -1;
    PyObject *fields = attribute(r->state, root, FIELDS, &PyDict_Type);
    int status = fields ? 0 : -1;
    for (size_t i = 0; !status && i < count; i++) {
        if (!has(r, 1))
            return -1;
        if (*r->at < OWN) {
            status = add_own(r, fields, row, noted);
            continue;
        }
        PyObject *name = read_name(r, r->state->names);
        if (name && is_hidden(r->state, name)) {
            status = skip_value(r) ? 0 : -1;
        } else {
            PyObject *node = name ? field_of(r->state, fields, name) : NULL;
            status = node ? add_value(r, node, row) : -1;
        }
        Py_XDECREF(name);
    }
    if (!status && r->at != r->end) {
        malformed("more than that");
        return -1;
    }
    return status;
}

/* Adds what was noted of a row to the links, and to the tombstones. */
static int keep(const Noted *noted, PyObject *row, PyObject *links, PyObject *deleted)
{
    if (noted->deleted && PyList_Append(deleted, row))
        return -1;
    if (!noted->previous)
        return 0;
    PyObject *link = PyTuple_Pack(2, row, noted->previous);
    int failed = link ? PyList_Append(links, link) : -1;
    Py_XDECREF(link);
    return failed;
}

/* add(root, row, versions): how many were added, which are all up to the first that cannot be; the links, and the
 * tombstones among them. Raises only if that is the first of all, so that those before it count. */
static PyObject *index_add(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *st = get_state(module);
    if (count != 3 || !PyTuple_CheckExact(args[2]))
        return PyErr_Format(PyExc_TypeError, "expected a node, a row and a tuple of versions");
    long long first = PyLong_AsLongLong(args[1]);
    if ((first == -1 && PyErr_Occurred()) || load_types(st))
        return NULL;
    PyObject *links = PyList_New(0), *deleted = PyList_New(0), *answer = NULL;
    Py_ssize_t done = 0;
    for (; links && deleted && done < PyTuple_GET_SIZE(args[2]); done++) {
        PyObject *version = PyTuple_GET_ITEM(args[2], done), *row = PyLong_FromLongLong(first + done);
        Noted noted = {NULL, false};
        int failed = row ? 0 : -1;
        if (!failed && !PyBytes_CheckExact(version)) {
            PyErr_Format(PyExc_TypeError, "expected a version as bytes, found %s", Py_TYPE(version)->tp_name);
            failed = -1;
        }
        if (!failed) {
            const uint8_t *start = (const uint8_t *)PyBytes_AS_STRING(version);
            Reader reader = {st, start, start + PyBytes_GET_SIZE(version), 0};
            failed = add_version(&reader, args[0], row, &noted) || keep(&noted, row, links, deleted);
        }
        Py_XDECREF(noted.previous);
        Py_XDECREF(row);
        if (failed)
            break;
    }
    if (PyErr_Occurred() && done && links && deleted)
        PyErr_Clear();
    if (!PyErr_Occurred())
        answer = Py_BuildValue("nOO", done, links, deleted);
    Py_XDECREF(links);
    Py_XDECREF(deleted);
    return answer;
}

static int module_exec(PyObject *module)
{
    State *st = get_state(module);
    st->id_name = PyUnicode_InternFromString("_rmx_id");
    st->type_name = PyUnicode_InternFromString("_rmx_type");
    st->zero = PyLong_FromLong(0);
    st->one = PyLong_FromLong(1);
    return st->id_name && st->type_name && st->zero && st->one ? 0 : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *st = get_state(module);
    Py_VISIT(st->node);
    Py_VISIT(st->growing);
    Py_VISIT(st->bitmap);
    Py_VISIT(st->add);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *st = get_state(module);
    Py_CLEAR(st->node);
    Py_CLEAR(st->growing);
    Py_CLEAR(st->bitmap);
    Py_CLEAR(st->add);
    Py_CLEAR(st->id_name);
    Py_CLEAR(st->type_name);
    Py_CLEAR(st->zero);
    Py_CLEAR(st->one);
    for (int i = 0; i < NAMES; i++)
        Py_CLEAR(st->names[i]);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyMethodDef methods[] = {
    {"add", (PyCFunction)(void (*)(void))index_add, METH_FASTCALL,
     "add($module, root, row, versions, /)\n--\n\nIndex stored versions; see mix_db.versions.indexing."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mix_db._index",
    .m_doc = "Stored versions into the columns of the index, in C.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__index(void) { return PyModuleDef_Init(&definition); }
