/* Stored versions read: `read` exactly as read_python in mix_db/versions/version.py, for the price of making the objects;
 * and `publish` exactly as publish_python in mix_db/versions/public.py, for the price of copying the bytes.
 *
 * The bytes come from files that were checked, and are trusted no more for it: every length is compared with what is
 * there, nesting is bounded, and what is not MessagePack of a map raises ValueError.
 */
#include "_packed.h"

#include <stdio.h>

#define MAX_COMMIT INT64_C(9999999999999999) /* mix_db.versions.version.MAX_WATERMARK */
#define PICKS 256 /* fields that a projection names at most */
#define SLOTS 1024
#define FEW 8 /* so many names are compared one by one */

static const char *const OWN_NAMES[OWN] = {"_rmx_id", "_rmx_rev", "_rmx_last_modified_at", "_rmx_previous",
                                           "_rmx_deleted"};

struct State {
    PyTypeObject *ref, *case_;
    PyObject *undef, *s_id, *s_name, *s_arg;
    PyObject *own[OWN]; /* names of the engine's fields, by their keys */
    PyObject *names[NAMES]; /* names of fields seen lately, short ones in ASCII */
};

static PyObject *read_value(Reader *r);

static PyObject *read_bytes(Reader *r, size_t size)
{
    const char *start = (const char *)r->at;
    r->at += size;
    return PyBytes_FromStringAndSize(start, (Py_ssize_t)size);
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
        PyObject *name = read_name(r, r->state->names), *value = name ? read_value(r) : NULL;
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
    if (count < 0 || count > MAX_COMMIT) {
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
        name = read_name(r, r->state->names);
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

/* ------------------------------------------------------------------------------------------------ public form */

/* A field: where its name and its value are. `packed` is the name as MessagePack where the value stands right behind it. */
typedef struct {
    const uint8_t *packed, *name, *value;
    size_t name_size, value_size;
} Field;

/* What the engine knows of a row and does not store, and the longest of all that is written for its own fields. */
static const char ROW[] = "_rmx_row", SUPERSEDED[] = "_rmx_superseded", SUPERSEDED_AT[] = "_rmx_superseded_at";
#define OWN_SIZE 256

typedef struct {
    Field *fields;
    size_t count, capacity, joined; /* `joined`: how many there are beside, as parts of the values of others */
    uint8_t commit[17], previous[24], row[9], since[9]; /* values of fields of the engine's own */
} Version;

static const uint8_t TRUE_BYTE[] = {0xc3};

/* An integer that is not negative; -1 with an exception set for another value. */
static int64_t read_natural(const Field *field)
{
    uint8_t tag = field->value[0];
    if (tag <= 0x7f)
        return tag;
    Reader r = {NULL, field->value + 1, field->value + field->value_size, 0};
    uint64_t found = tag >= 0xcc && tag <= 0xcf ? number(&r, 1 << (tag - 0xcc)) : UINT64_MAX;
    if (found <= INT64_MAX)
        return (int64_t)found;
    malformed("a commit or row that has no number");
    return -1;
}

/* Writes an integer as MessagePack, in the shortest way; answers its end. */
static uint8_t *write_natural(uint8_t *p, uint64_t value)
{
    int power = value < 1 << 8 ? 0 : value < 1 << 16 ? 1 : value < UINT64_C(1) << 32 ? 2 : 3;
    if (value <= 0x7f) {
        *p++ = (uint8_t)value;
        return p;
    }
    *p++ = (uint8_t)(0xcc + power);
    for (int shift = 8 * (1 << power) - 8; shift >= 0; shift -= 8)
        *p++ = (uint8_t)(value >> shift);
    return p;
}

static inline Field *add_field(Version *version)
{
    if (version->count == version->capacity) {
        size_t capacity = version->capacity ? 2 * version->capacity : 64;
        Field *fields = PyMem_Resize(version->fields, Field, capacity);
        if (!fields) {
            PyErr_NoMemory();
            return NULL;
        }
        version->fields = fields;
        version->capacity = capacity;
    }
    return &version->fields[version->count++];
}

static inline bool add_own(Version *version, const char *name, const uint8_t *value, size_t size)
{
    Field *field = add_field(version);
    if (!field)
        return false;
    *field = (Field){NULL, (const uint8_t *)name, value, strlen(name), size};
    return true;
}

/* Writes decimal digits, with zeros before them up to `width`; answers their end. */
static uint8_t *write_digits(uint8_t *p, int64_t value, int width)
{
    uint8_t digits[20];
    int count = 0;
    for (; value > 0 || count < width; value /= 10)
        digits[count++] = (uint8_t)('0' + value % 10);
    while (count > 0)
        *p++ = digits[--count];
    return p;
}

static bool add_commit(Version *version, const Field *stored)
{
    int64_t commit = read_natural(stored);
    if (commit > MAX_COMMIT)
        malformed("a commit that has no number");
    if (commit < 0 || commit > MAX_COMMIT)
        return false;
    version->commit[0] = 0xb0;
    write_digits(version->commit + 1, commit, 16);
    return add_own(version, OWN_NAMES[COMMIT], version->commit, sizeof version->commit);
}

static bool add_previous(Version *version, const Field *stored)
{
    int64_t previous = read_natural(stored);
    if (previous < 0)
        return false;
    uint8_t digits[20], *p = version->previous;
    int size = (int)(write_digits(digits, previous, 1) - digits);
    /* An extension of 1, 2, 4, 8 or 16 bytes has a tag of its own. */
    if ((size & (size - 1)) == 0) {
        *p++ = (uint8_t)(0xd4 + (size >= 2) + (size >= 4) + (size >= 8) + (size >= 16));
    } else {
        *p++ = 0xc7;
        *p++ = (uint8_t)size;
    }
    *p++ = EXT_REF;
    memcpy(p, digits, (size_t)size);
    return add_own(version, OWN_NAMES[PREVIOUS], version->previous, (size_t)(p + size - version->previous));
}

/* The fields of the engine's own, behind the client's. */
static bool add_engine_fields(Version *version, const Field *own, PyObject *row, PyObject *since)
{
    if (own[ID].value && !add_own(version, OWN_NAMES[ID], own[ID].value, own[ID].value_size))
        return false;
    if (own[COMMIT].value && !add_commit(version, &own[COMMIT]))
        return false;
    if (own[TIME].value && !add_own(version, OWN_NAMES[TIME], own[TIME].value, own[TIME].value_size))
        return false;
    if (own[PREVIOUS].value && !add_previous(version, &own[PREVIOUS]))
        return false;
    if (own[DELETED].value && !add_own(version, OWN_NAMES[DELETED], TRUE_BYTE, 1))
        return false;
    unsigned long long place = PyLong_AsUnsignedLongLong(row);
    unsigned long long time = since ? PyLong_AsUnsignedLongLong(since) : 0;
    if (PyErr_Occurred())
        return false;
    size_t size = (size_t)(write_natural(version->row, place) - version->row);
    if (!add_own(version, ROW, version->row, size))
        return false;
    size = (size_t)(write_natural(version->since, time) - version->since);
    return !since || (add_own(version, SUPERSEDED, TRUE_BYTE, 1) && add_own(version, SUPERSEDED_AT, version->since, size));
}

/* All fields of a stored version in their public order; with `join`, those of the client that stand together as one. */
static bool find_fields(Reader *r, Version *version, bool join, PyObject *row, PyObject *since)
{
    Field own[OWN] = {{0}}, *last = NULL;
    version->count = version->joined = 0;
    if (!has(r, 1))
        return false;
    uint8_t tag = *r->at++;
    size_t count = tag & 0x0f;
    if ((tag & 0xf0) != 0x80 && tag != 0xde && tag != 0xdf) {
        malformed("another value");
        return false;
    }
    if (tag >= 0xde ? !read_count(r, tag == 0xde ? 2 : 4, &count) : !has(r, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!has(r, 1))
            return false;
        const uint8_t *packed = r->at;
        size_t name_size = 0;
        bool is_own = *r->at < OWN;
        Field *field = is_own ? &own[*r->at++] : last;
        if (!is_own && !string_length(r, &name_size))
            return false;
        if (field && !is_own) {
            version->joined++;
        } else {
            if (!is_own && !(field = add_field(version)))
                return false;
            *field = (Field){packed, r->at, r->at + name_size, name_size, 0};
        }
        last = join && !is_own ? field : NULL;
        r->at += name_size;
        if (!skip_value(r))
            return false;
        field->value_size = (size_t)(r->at - field->value);
    }
    if (r->at != r->end) {
        malformed("more than that");
        return false;
    }
    return add_engine_fields(version, own, row, since);
}

/* Names that fields are looked up among: of picks, which are pairs of a name and another one as MessagePack, or by themselves. */
typedef struct {
    PyObject *items;
    Py_ssize_t count;
    bool are_picks;
    const char *texts[PICKS];
    size_t sizes[PICKS];
    uint16_t slots[SLOTS]; /* the place of a name, counted from 1, where its hash says, or behind that */
} Names;

static inline bool is_at(const Names *names, Py_ssize_t place, const void *name, size_t size)
{
    return names->sizes[place] == size && memcmp(names->texts[place], name, size) == 0;
}

/* Keyed anew in each process, so that nobody finds names that take long to find. */
static size_t slot_of(const void *name, size_t size)
{
#if PY_VERSION_HEX >= 0x030E0000
    return (size_t)Py_HashBuffer(name, (Py_ssize_t)size) % SLOTS;
#else
    return (size_t)_Py_HashBytes(name, (Py_ssize_t)size) % SLOTS;
#endif
}

/* The place of a name; -1 if it is not there. */
static inline Py_ssize_t place_of(const Names *names, const void *name, size_t size)
{
    if (names->count <= FEW) {
        for (Py_ssize_t i = 0; i < names->count; i++)
            if (is_at(names, i, name, size))
                return i;
        return -1;
    }
    for (size_t slot = slot_of(name, size); names->slots[slot]; slot = (slot + 1) % SLOTS)
        if (is_at(names, names->slots[slot] - 1, name, size))
            return names->slots[slot] - 1;
    return -1;
}

/* Takes over the names; false, without an exception, if they are not as they should be. Adds what other names of picks take. */
static bool take_names(Names *names, PyObject *items, bool are_picks, Py_ssize_t *size)
{
    *names = (Names){.items = items, .are_picks = are_picks};
    if (!PyTuple_CheckExact(items) || PyTuple_GET_SIZE(items) > PICKS)
        return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (are_picks && (!PyTuple_CheckExact(item) || PyTuple_GET_SIZE(item) != 2 ||
                          !PyBytes_CheckExact(PyTuple_GET_ITEM(item, 1))))
            return false;
        PyObject *name = are_picks ? PyTuple_GET_ITEM(item, 0) : item;
        if (!PyBytes_CheckExact(name))
            return false;
        const char *text = names->texts[i] = PyBytes_AS_STRING(name);
        size_t length = names->sizes[i] = (size_t)PyBytes_GET_SIZE(name), slot = slot_of(text, length);
        /* What would be written twice has no room. */
        if (place_of(names, text, length) >= 0)
            return false;
        while (names->slots[slot])
            slot = (slot + 1) % SLOTS;
        names->slots[slot] = (uint16_t)(i + 1);
        names->count = i + 1;
        *size += are_picks ? PyBytes_GET_SIZE(PyTuple_GET_ITEM(item, 1)) : 0;
    }
    return true;
}

static uint8_t *write_map(uint8_t *p, size_t count)
{
    if (count < 16) {
        *p++ = (uint8_t)(0x80 | count);
        return p;
    }
    *p++ = count < 1 << 16 ? 0xde : 0xdf;
    for (int shift = count < 1 << 16 ? 8 : 24; shift >= 0; shift -= 8)
        *p++ = (uint8_t)(count >> shift);
    return p;
}

static uint8_t *write_field(uint8_t *p, const Field *field)
{
    if (field->packed) {
        size_t size = (size_t)(field->value + field->value_size - field->packed);
        memcpy(p, field->packed, size);
        return p + size;
    }
    /* The engine's names are shorter than 32 bytes. */
    *p++ = (uint8_t)(0xa0 | field->name_size);
    memcpy(p, field->name, field->name_size);
    memcpy(p + field->name_size, field->value, field->value_size);
    return p + field->name_size + field->value_size;
}

static uint8_t *write_all(uint8_t *p, const Version *version)
{
    p = write_map(p, version->count + version->joined);
    for (size_t i = 0; i < version->count; i++)
        p = write_field(p, &version->fields[i]);
    return p;
}

/* All fields but some. */
static uint8_t *write_most(uint8_t *p, Version *version, const Names *dropped)
{
    size_t count = 0;
    for (size_t i = 0; i < version->count; i++) {
        const Field *field = &version->fields[i];
        if (place_of(dropped, field->name, field->name_size) < 0)
            version->fields[count++] = *field;
    }
    version->count = count;
    return write_all(p, version);
}

/* Some fields by other names. */
static uint8_t *write_picks(uint8_t *p, const Version *version, const Names *picks)
{
    const Field *found[PICKS] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < version->count; i++) {
        Py_ssize_t place = place_of(picks, version->fields[i].name, version->fields[i].name_size);
        if (place >= 0 && !found[place]) {
            found[place] = &version->fields[i];
            count++;
        }
    }
    p = write_map(p, count);
    for (Py_ssize_t i = 0; i < picks->count; i++) {
        if (!found[i])
            continue;
        PyObject *name = PyTuple_GET_ITEM(PyTuple_GET_ITEM(picks->items, i), 1);
        memcpy(p, PyBytes_AS_STRING(name), (size_t)PyBytes_GET_SIZE(name));
        p += PyBytes_GET_SIZE(name);
        memcpy(p, found[i]->value, found[i]->value_size);
        p += found[i]->value_size;
    }
    return p;
}

/* Writes the versions one behind the other; answers the end, or NULL with an exception set. */
static uint8_t *write_versions(uint8_t *p, State *state, PyObject *records, PyObject *rows, PyObject *marks,
                               const Names *names)
{
    Version version = {0};
    bool join = !names->are_picks && names->count == 0;
    for (Py_ssize_t i = 0; p && i < PyList_GET_SIZE(records); i++) {
        PyObject *data = PyList_GET_ITEM(records, i), *row = PyList_GET_ITEM(rows, i);
        PyObject *since = PyDict_GET_SIZE(marks) ? PyDict_GetItemWithError(marks, row) : NULL;
        const uint8_t *start = (const uint8_t *)PyBytes_AS_STRING(data);
        Reader r = {state, start, start + PyBytes_GET_SIZE(data), 0};
        if (PyErr_Occurred() || !find_fields(&r, &version, join, row, since))
            p = NULL;
        else
            p = names->are_picks ? write_picks(p, &version, names)
                : join           ? write_all(p, &version)
                                 : write_most(p, &version, names);
    }
    PyMem_Free(version.fields);
    return p;
}

static PyObject *version_publish(PyObject *module, PyObject *args)
{
    PyObject *records, *rows, *marks, *dropped, *picks;
    if (!PyArg_ParseTuple(args, "O!O!O!OO:publish", &PyList_Type, &records, &PyList_Type, &rows, &PyDict_Type, &marks,
                          &dropped, &picks))
        return NULL;
    Names names;
    Py_ssize_t size = 0, more = 0, count = PyList_GET_SIZE(records);
    bool right = take_names(&names, picks == Py_None ? dropped : picks, picks != Py_None, &more);
    right = right && PyList_GET_SIZE(rows) == count;
    for (Py_ssize_t i = 0; right && i < count; i++) {
        PyObject *data = PyList_GET_ITEM(records, i);
        right = PyBytes_CheckExact(data);
        /* Nothing of a version is written twice. */
        size += right ? PyBytes_GET_SIZE(data) + OWN_SIZE + more : 0;
    }
    if (!right) {
        PyErr_Format(PyExc_TypeError,
                     "publish(records, rows, marks, dropped, picks) takes as many records as rows, and at most %d names, each "
                     "another name",
                     PICKS);
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (!bytes)
        return NULL;
    uint8_t *start = (uint8_t *)PyBytes_AS_STRING(bytes);
    uint8_t *end = write_versions(start, get_state(module), records, rows, marks, &names);
    if (!end)
        Py_CLEAR(bytes);
    else
        _PyBytes_Resize(&bytes, end - start);
    return bytes;
}

/* ---------------------------------------------------------------------------------------------------- weight */

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
     "read($module, data, /)\n--\n\nThe map of a stored version; see mix_db.versions.version.read_python."},
    {"publish", version_publish, METH_VARARGS,
     "publish($module, records, rows, marks, dropped, picks, /)\n--\n\nIn public form; see mix_db.versions.public."},
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
    .m_doc = "Stored versions read, and made public, in C.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__version(void) { return PyModuleDef_Init(&definition); }
