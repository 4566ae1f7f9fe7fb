/* The loops of the segments that cost most: `pack` and `unite` exactly as pack_python and unite_python in
 * mix_db/index/pack.py, which say what they do; `seek`, and `find`.
 *
 * Objects of any kind may come in, and code of theirs may run at any call into Python: so references are owned while
 * they are used, lengths are read again, and results stand in memory of our own until no such call follows.
 */
#include "_module.h"

#include <limits.h>

#define SHORT 32
#define STRIDE 16
#define SHORTS UINT32_C(0x80000000)
#define LARGE UINT32_C(0xC0000000)
#define VARIOUS 0xFFFF

#define NAMES(X)                                                                                             \
    X(keys)                                                                                                  \
    X(postings)                                                                                              \
    X(text)                                                                                                  \
    X(lengths)                                                                                               \
    X(tails)                                                                                                 \
    X(sums)                                                                                                  \
    X(shorts)                                                                                                \
    X(larges)                                                                                                \
    X(ends)                                                                                                  \
    X(state)                                                                                                 \
    X(width)

typedef struct {
#define FIELD(name) PyObject *s_##name;
    NAMES(FIELD)
#undef FIELD
} State;

/* An attribute that must be a dict or a list; a new reference. */
static PyObject *attribute(PyObject *object, PyObject *name, PyTypeObject *type)
{
    PyObject *found = PyObject_GetAttr(object, name);
    if (found && !Py_IS_TYPE(found, type)) {
        PyErr_Format(PyExc_TypeError, "expected a %s as %U, found %s", type->tp_name, name, Py_TYPE(found)->tp_name);
        Py_CLEAR(found);
    }
    return found;
}

/* -------------------------------------------------------------------------------------------------------- buffers */

typedef struct {
    uint8_t *data;
    size_t size, space;
} Buffer;

/* Without the GIL too; false if there is no memory. */
static bool grow(Buffer *buffer, size_t more)
{
    if (buffer->space - buffer->size >= more)
        return true;
    size_t space = buffer->size + more + buffer->space;
    uint8_t *data = PyMem_RawRealloc(buffer->data, space);
    if (!data)
        return false;
    buffer->data = data;
    buffer->space = space;
    return true;
}

static inline bool put(Buffer *buffer, const void *data, size_t size)
{
    if (!grow(buffer, size))
        return false;
    if (size)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return true;
}

/* Numbers are little-endian whatever the machine. */
static inline bool put_number(Buffer *buffer, uint64_t number, int size)
{
    uint8_t bytes[8];
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    return put(buffer, bytes, (size_t)size);
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

enum section { S_KEYS, S_LENGTHS, S_TAILS, S_POSTINGS, S_SUMS, S_SHORTS, SECTIONS };

/* What is to be appended to a Packed. */
typedef struct {
    Buffer out[SECTIONS];
    Buffer pieces; /* of `unite`: for each large key u32 number of pieces, then u32 source and u32 posting of each */
    uint64_t keys, total, shorts, larges; /* as they will be: `shorts` in words */
    uint64_t shortest, longest;
    bool text;
} Output;

static int out_of_range(const char *what)
{
    PyErr_Format(PyExc_ValueError, "%s does not fit in an index segment", what);
    return -1;
}

static PyObject *section_name(State *st, int section)
{
    PyObject *names[] = {st->s_keys, st->s_lengths, st->s_tails, st->s_postings, st->s_sums, st->s_shorts};
    return names[section];
}

static int output_open(State *st, PyObject *packed, Output *output)
{
    memset(output, 0, sizeof *output);
    PyObject *text = PyObject_GetAttr(packed, st->s_text);
    int truth = text ? PyObject_IsTrue(text) : -1;
    Py_XDECREF(text);
    PyObject *state = truth < 0 ? NULL : attribute(packed, st->s_state, &PyList_Type);
    if (!state)
        return -1;
    output->text = truth;
    uint64_t *numbers[] = {&output->keys, &output->total, &output->shortest, &output->longest};
    int status = PyList_GET_SIZE(state) == 4 ? 0 : out_of_range("the state");
    for (int i = 0; !status && i < 4; i++) {
        *numbers[i] = PyLong_AsUnsignedLongLong(PyList_GET_ITEM(state, i));
        status = PyErr_Occurred() ? -1 : 0;
    }
    Py_DECREF(state);
    PyObject *shorts = status ? NULL : attribute(packed, st->s_shorts, &PyByteArray_Type);
    PyObject *larges = shorts ? attribute(packed, st->s_larges, &PyList_Type) : NULL;
    if (larges) {
        output->shorts = (uint64_t)PyByteArray_GET_SIZE(shorts) / 4;
        output->larges = (uint64_t)PyList_GET_SIZE(larges);
    } else {
        status = -1;
    }
    Py_XDECREF(shorts);
    Py_XDECREF(larges);
    return status;
}

static void output_close(Output *output)
{
    for (int i = 0; i < SECTIONS; i++)
        PyMem_RawFree(output->out[i].data);
    PyMem_RawFree(output->pieces.data);
}

/* Packed.add without what stands in `postings`; without the GIL too. */
static inline bool put_key(Output *output, uint64_t prefix, const uint8_t *tail, size_t size, uint64_t rows)
{
    bool good = true;
    if (output->keys % STRIDE == 0)
        good = put_number(&output->out[S_SUMS], output->total, 8);
    good = good && put_number(&output->out[S_KEYS], prefix, 8);
    if (output->text)
        good = good && put_number(&output->out[S_LENGTHS], size, 2) && put(&output->out[S_TAILS], tail, size);
    output->keys++;
    output->total += rows;
    if (size < output->shortest)
        output->shortest = size;
    if (size > output->longest)
        output->longest = size;
    return good;
}

/* Append what was gathered, and `added` to `larges`. */
static int output_store(State *st, PyObject *packed, Output *output, PyObject *added)
{
    for (int i = 0; i < SECTIONS; i++) {
        Buffer *buffer = &output->out[i];
        PyObject *target = attribute(packed, section_name(st, i), &PyByteArray_Type);
        if (!target)
            return -1;
        Py_ssize_t before = PyByteArray_GET_SIZE(target);
        int failed = buffer->size ? PyByteArray_Resize(target, before + (Py_ssize_t)buffer->size) : 0;
        if (!failed && buffer->size)
            memcpy(PyByteArray_AS_STRING(target) + before, buffer->data, buffer->size);
        Py_DECREF(target);
        if (failed)
            return -1;
    }
    PyObject *larges = attribute(packed, st->s_larges, &PyList_Type);
    if (!larges)
        return -1;
    Py_ssize_t end = PyList_GET_SIZE(larges);
    int status = PyList_SetSlice(larges, end, end, added);
    Py_DECREF(larges);
    if (status)
        return -1;
    PyObject *state = Py_BuildValue("[KKKK]", (unsigned long long)output->keys, (unsigned long long)output->total,
                                    (unsigned long long)output->shortest, (unsigned long long)output->longest);
    status = state ? PyObject_SetAttr(packed, st->s_state, state) : -1;
    Py_XDECREF(state);
    return status;
}

/* ----------------------------------------------------------------------------------------------------------- pack */

/* Write an escaped key to `text`, which has room for two bytes for each of its own; its size. */
static size_t escape(const uint8_t *key, size_t size, uint8_t *text)
{
    size_t end = 0;
    for (size_t i = 0; i < size; i++) {
        if (key[i] > 1) {
            text[end++] = key[i];
        } else {
            text[end++] = 1;
            text[end++] = key[i] + 1;
        }
    }
    return end;
}

static int pack_key(Output *output, Buffer *scratch, PyObject *key, uint64_t rows)
{
    uint64_t prefix = 0;
    const uint8_t *tail = NULL;
    size_t size = 0;
    if (PyLong_Check(key)) {
        prefix = PyLong_AsUnsignedLongLong(key);
        if (prefix == (uint64_t)-1 && PyErr_Occurred())
            return -1;
    } else if (PyBytes_Check(key)) {
        size_t length = (size_t)PyBytes_GET_SIZE(key);
        scratch->size = 0;
        if (length > VARIOUS || !grow(scratch, 2 * length + 8))
            return out_of_range("a text");
        size = escape((const uint8_t *)PyBytes_AS_STRING(key), length, scratch->data);
        memset(scratch->data + size, 0, 8);
        for (int i = 0; i < 8; i++)
            prefix = prefix << 8 | scratch->data[i];
        tail = scratch->data + 8;
        size = size > 8 ? size - 8 : 0;
        if (size >= VARIOUS)
            return out_of_range("a text");
    } else {
        PyErr_Format(PyExc_TypeError, "expected a key, found %s", Py_TYPE(key)->tp_name);
        return -1;
    }
    if (!put_key(output, prefix, tail, size, rows)) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int put_row(Buffer *buffer, PyObject *row)
{
    unsigned long number = PyLong_AsUnsignedLong(row);
    if (number == (unsigned long)-1 && PyErr_Occurred())
        return -1;
    if (number >= SHORTS)
        return out_of_range("a row");
    if (!put_number(buffer, number, 4)) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int pack_rows(Output *output, PyObject *posting, PyObject *added)
{
    Buffer *words = &output->out[S_POSTINGS], *shorts = &output->out[S_SHORTS];
    if (PyLong_Check(posting))
        return put_row(words, posting);
    if (PyList_CheckExact(posting) && PyList_GET_SIZE(posting) <= SHORT) {
        Py_ssize_t size = PyList_GET_SIZE(posting);
        if (output->shorts >= LARGE - SHORTS || size < 2)
            return out_of_range("a list of rows");
        if (!put_number(words, SHORTS + output->shorts, 4) || !put_number(shorts, SHORTS + (uint64_t)size, 4)) {
            PyErr_NoMemory();
            return -1;
        }
        output->shorts += 1 + (uint64_t)size;
        for (Py_ssize_t i = 0; i < size; i++) {
            PyObject *row = i < PyList_GET_SIZE(posting) ? Py_NewRef(PyList_GET_ITEM(posting, i)) : NULL;
            int status = row ? put_row(shorts, row) : out_of_range("a list that changes");
            Py_XDECREF(row);
            if (status)
                return -1;
        }
        return 0;
    }
    if (!put_number(words, LARGE + output->larges++, 4)) {
        PyErr_NoMemory();
        return -1;
    }
    return PyList_Append(added, posting);
}

static PyObject *native_pack(PyObject *module, PyObject *args)
{
    State *st = get_state(module);
    PyObject *packed, *keys, *postings;
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(args, "OO!O!nn", &packed, &PyList_Type, &keys, &PyDict_Type, &postings, &start, &stop))
        return NULL;
    Output output;
    Buffer scratch = {0};
    PyObject *added = PyList_New(0);
    int status = output_open(st, packed, &output);
    if (!added)
        status = -1;
    if (start < 0)
        start = 0;
    for (Py_ssize_t i = start; !status && i < stop && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = Py_NewRef(PyList_GET_ITEM(keys, i));
        PyObject *posting = Py_XNewRef(PyDict_GetItemWithError(postings, key));
        if (!posting) {
            if (!PyErr_Occurred())
                PyErr_SetObject(PyExc_KeyError, key);
            status = -1;
        } else {
            Py_ssize_t size = PyLong_Check(posting) ? 1 : PyObject_Size(posting);
            if (size < 0 || pack_key(&output, &scratch, key, (uint64_t)size) || pack_rows(&output, posting, added))
                status = -1;
            Py_DECREF(posting);
        }
        Py_DECREF(key);
    }
    if (!status)
        status = output_store(st, packed, &output, added);
    output_close(&output);
    PyMem_RawFree(scratch.data);
    Py_XDECREF(added);
    if (status)
        return NULL;
    Py_RETURN_NONE;
}

/* ---------------------------------------------------------------------------------------------------------- unite */

enum view { V_KEYS, V_LENGTHS, V_TAILS, V_POSTINGS, V_SHORTS, V_ENDS, VIEWS };

typedef struct {
    Py_buffer views[VIEWS];
    const uint8_t *keys, *lengths, *tails, *postings, *shorts, *ends;
    uint64_t count, shorts_count, larges, tails_size, place, at;
    uint64_t prefix; /* of the key at `place` */
    size_t size;     /* of its tail */
    uint64_t width;
} Cursor;

/* Read the key at the cursor's place; false if the sections do not fit together. */
static inline bool cursor_load(Cursor *cursor)
{
    if (cursor->place >= cursor->count)
        return true;
    cursor->prefix = get64(cursor->keys + 8 * cursor->place);
    cursor->size = cursor->width;
    if (cursor->width == VARIOUS) {
        const uint8_t *length = cursor->lengths + 2 * cursor->place;
        cursor->size = (size_t)length[0] | (size_t)length[1] << 8;
    }
    return cursor->size <= cursor->tails_size - cursor->at;
}

static inline int cursor_compare(const Cursor *a, const Cursor *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    size_t size = a->size < b->size ? a->size : b->size;
    int order = size ? memcmp(a->tails + a->at, b->tails + b->at, size) : 0;
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static void cursor_close(Cursor *cursor)
{
    for (int i = 0; i < VIEWS; i++)
        if (cursor->views[i].obj)
            PyBuffer_Release(&cursor->views[i]);
}

static int cursor_open(State *st, PyObject *source, Cursor *cursor)
{
    PyObject *names[] = {st->s_keys, st->s_lengths, st->s_tails, st->s_postings, st->s_shorts, st->s_ends};
    for (int i = 0; i < VIEWS; i++) {
        PyObject *object = PyObject_GetAttr(source, names[i]);
        int failed = object ? PyObject_GetBuffer(object, &cursor->views[i], PyBUF_SIMPLE) : -1;
        Py_XDECREF(object);
        if (failed)
            return -1;
    }
    PyObject *width = PyObject_GetAttr(source, st->s_width);
    cursor->width = width ? PyLong_AsUnsignedLong(width) : 0;
    Py_XDECREF(width);
    if (PyErr_Occurred())
        return -1;
    PyObject *state = attribute(source, st->s_state, &PyList_Type);
    if (!state)
        return -1;
    if (PyList_GET_SIZE(state) == 2) {
        cursor->place = PyLong_AsUnsignedLongLong(PyList_GET_ITEM(state, 0));
        if (!PyErr_Occurred())
            cursor->at = PyLong_AsUnsignedLongLong(PyList_GET_ITEM(state, 1));
    } else {
        out_of_range("the state");
    }
    Py_DECREF(state);
    if (PyErr_Occurred())
        return -1;
    const uint8_t **starts[] = {&cursor->keys,     &cursor->lengths, &cursor->tails,
                                &cursor->postings, &cursor->shorts,  &cursor->ends};
    for (int i = 0; i < VIEWS; i++)
        *starts[i] = cursor->views[i].buf;
    cursor->count = (uint64_t)cursor->views[V_KEYS].len / 8;
    cursor->tails_size = (uint64_t)cursor->views[V_TAILS].len;
    cursor->shorts_count = (uint64_t)cursor->views[V_SHORTS].len / 4;
    cursor->larges = (uint64_t)cursor->views[V_ENDS].len / 8;
    if (cursor->width > VARIOUS || (uint64_t)cursor->views[V_POSTINGS].len / 4 < cursor->count ||
        (cursor->width == VARIOUS && (uint64_t)cursor->views[V_LENGTHS].len / 2 < cursor->count) ||
        cursor->at > cursor->tails_size || !cursor_load(cursor))
        return out_of_range("a column");
    return 0;
}

/* Number of rows of the key at the cursor; 0 if the posting leads nowhere. */
static inline uint64_t cursor_rows(const Cursor *cursor)
{
    uint32_t word = get32(cursor->postings + 4 * cursor->place);
    if (word < SHORTS)
        return 1;
    if (word < LARGE) {
        uint64_t index = word - SHORTS;
        if (index >= cursor->shorts_count)
            return 0;
        uint32_t size = get32(cursor->shorts + 4 * index);
        return size > SHORTS && size - SHORTS < cursor->shorts_count - index ? size - SHORTS : 0;
    }
    return word - LARGE < cursor->larges ? get32(cursor->ends + 8 * (uint64_t)(word - LARGE) + 4) : 0;
}

enum outcome { ALL_DONE, MORE, NO_MEMORY, NO_FIT };

/* Append the key at the cursors `same`, which are in order, with its rows; and move them on. */
static enum outcome unite_key(Output *output, Cursor *cursors, const int *same, int count)
{
    uint64_t rows = 0;
    bool larges = false;
    for (int i = 0; i < count; i++) {
        uint64_t found = cursor_rows(&cursors[same[i]]);
        if (!found)
            return NO_FIT;
        rows += found;
        larges |= get32(cursors[same[i]].postings + 4 * cursors[same[i]].place) >= LARGE;
    }
    if (larges && rows <= SHORT)
        return NO_FIT;
    const Cursor *first = &cursors[same[0]];
    if (!put_key(output, first->prefix, first->tails + first->at, first->size, rows))
        return NO_MEMORY;
    Buffer *words = &output->out[S_POSTINGS], *shorts = &output->out[S_SHORTS];
    bool good;
    if (rows == 1) {
        good = put(words, first->postings + 4 * first->place, 4);
        if (get32(first->postings + 4 * first->place) >= SHORTS)
            return NO_FIT;
    } else if (rows <= SHORT) {
        if (output->shorts >= LARGE - SHORTS)
            return NO_FIT;
        good = put_number(words, SHORTS + output->shorts, 4) && put_number(shorts, SHORTS + rows, 4);
        output->shorts += 1 + rows;
    } else {
        good = put_number(words, LARGE + output->larges++, 4) && put_number(&output->pieces, (uint64_t)count, 4);
    }
    for (int i = 0; good && i < count; i++) {
        Cursor *cursor = &cursors[same[i]];
        const uint8_t *posting = cursor->postings + 4 * cursor->place;
        uint32_t word = get32(posting);
        if (rows > SHORT)
            good = put_number(&output->pieces, (uint64_t)same[i], 4) && put(&output->pieces, posting, 4);
        else if (rows > 1 && word < SHORTS)
            good = put(shorts, posting, 4);
        else if (rows > 1)
            good = put(shorts, cursor->shorts + 4 * (uint64_t)(word - SHORTS + 1), 4 * cursor_rows(cursor));
        cursor->place++;
        cursor->at += cursor->size;
        if (!cursor_load(cursor))
            return NO_FIT;
    }
    return good ? MORE : NO_MEMORY;
}

/* Without the GIL. */
static enum outcome unite_keys(Output *output, Cursor *cursors, int *same, int count, Py_ssize_t limit)
{
    for (; limit > 0; limit--) {
        int found = 0;
        for (int i = 0; i < count; i++) {
            if (cursors[i].place >= cursors[i].count)
                continue;
            int order = found ? cursor_compare(&cursors[i], &cursors[same[0]]) : -1;
            if (order < 0)
                found = 0;
            if (order <= 0)
                same[found++] = i;
        }
        if (!found)
            return ALL_DONE;
        enum outcome outcome = unite_key(output, cursors, same, found);
        if (outcome != MORE)
            return outcome;
    }
    return MORE;
}

/* Lists of (source, posting), one for each large key. */
static PyObject *pieces_list(const Buffer *pieces)
{
    PyObject *all = PyList_New(0);
    for (size_t place = 0; all && place < pieces->size;) {
        uint32_t count = get32(pieces->data + place);
        place += 4;
        PyObject *key = PyList_New(0);
        for (uint32_t i = 0; key && i < count; i++, place += 8) {
            PyObject *piece = Py_BuildValue("(kk)", (unsigned long)get32(pieces->data + place),
                                            (unsigned long)get32(pieces->data + place + 4));
            if (!piece || PyList_Append(key, piece))
                Py_CLEAR(key);
            Py_XDECREF(piece);
        }
        if (!key || PyList_Append(all, key))
            Py_CLEAR(all);
        Py_XDECREF(key);
    }
    return all;
}

static PyObject *native_unite(PyObject *module, PyObject *args)
{
    State *st = get_state(module);
    PyObject *packed, *sources;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "OO!n", &packed, &PyList_Type, &sources, &limit))
        return NULL;
    /* A copy, which nobody changes. */
    sources = PyList_AsTuple(sources);
    if (!sources)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(sources);
    Output output = {0};
    PyObject *added = NULL;
    enum outcome outcome = ALL_DONE;
    Cursor *cursors = count < INT_MAX ? PyMem_Calloc((size_t)count + 1, sizeof *cursors) : NULL;
    int *same = PyMem_Calloc((size_t)count + 1, sizeof *same);
    int status = cursors && same ? 0 : -1;
    if (status)
        PyErr_NoMemory();
    else
        status = output_open(st, packed, &output);
    for (Py_ssize_t i = 0; !status && i < count; i++)
        status = cursor_open(st, PyTuple_GET_ITEM(sources, i), &cursors[i]);
    if (status)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    outcome = unite_keys(&output, cursors, same, (int)count, limit);
    Py_END_ALLOW_THREADS
    if (outcome == NO_MEMORY)
        PyErr_NoMemory();
    else if (outcome == NO_FIT)
        out_of_range("a column");
    added = PyErr_Occurred() ? NULL : pieces_list(&output.pieces);
    status = added ? output_store(st, packed, &output, added) : -1;
    for (Py_ssize_t i = 0; !status && i < count; i++) {
        PyObject *state = Py_BuildValue("[KK]", (unsigned long long)cursors[i].place, (unsigned long long)cursors[i].at);
        status = state ? PyObject_SetAttr(PyTuple_GET_ITEM(sources, i), st->s_state, state) : -1;
        Py_XDECREF(state);
    }
done:
    for (Py_ssize_t i = 0; cursors && i < count; i++)
        cursor_close(&cursors[i]);
    output_close(&output);
    PyMem_Free(cursors);
    PyMem_Free(same);
    Py_XDECREF(added);
    Py_DECREF(sources);
    return status ? NULL : PyBool_FromLong(outcome == MORE);
}

/* ----------------------------------------------------------------------------------------------------------- seek */

/* The first of the u64 that is not below the key. */
static Py_ssize_t seek_in(const Py_buffer *keys, uint64_t key)
{
    const uint8_t *all = keys->buf;
    Py_ssize_t low = 0, high = keys->len / 8;
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (get64(all + 8 * middle) < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* seek(keys, key): `bisect.bisect_left` for the u64 of a segment's column, which makes no object of those it passes. */
static PyObject *native_seek(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Py_buffer keys;
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "seek takes keys and a key, found %zd arguments", count);
        return NULL;
    }
    unsigned long long key = PyLong_AsUnsignedLongLong(args[1]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &keys, PyBUF_SIMPLE))
        return NULL;
    Py_ssize_t place = seek_in(&keys, key);
    PyBuffer_Release(&keys);
    return PyLong_FromSsize_t(place);
}

/* ----------------------------------------------------------------------------------------------------------- find */

#define BLOCK_SHIFT 14 /* of mix_db/index/blocks.py */
#define ABSENT (-1)
#define UNSURE (-2)

/* Whether these bytes are in blocks that have been verified. */
static bool is_verified(const Py_buffer *flags, Py_ssize_t content, Py_ssize_t start, Py_ssize_t size)
{
    if (start < 0 || size < 0 || size > content || start > content - size)
        return false;
    Py_ssize_t last = size ? (start + size - 1) >> BLOCK_SHIFT : -1;
    for (Py_ssize_t block = start >> BLOCK_SHIFT; block <= last; block++)
        if (block >= flags->len || !((const uint8_t *)flags->buf)[block])
            return false;
    return true;
}

static long long find_row(const Py_buffer *keys, const Py_buffer *data, const Py_buffer *flags, Py_ssize_t tails,
                          Py_ssize_t width, Py_ssize_t postings, const uint8_t *text, Py_ssize_t size)
{
    uint64_t prefix = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        if (text[i] <= 1) /* escaped */
            return UNSURE;
    for (Py_ssize_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < size ? text[i] : 0);
    Py_ssize_t count = keys->len / 8, place = seek_in(keys, prefix);
    const uint8_t *all = keys->buf;
    if (place == count || get64(all + 8 * place) != prefix)
        return ABSENT;
    if (place + 1 < count && get64(all + 8 * (place + 1)) == prefix)
        return UNSURE;
    Py_ssize_t rest = size > 8 ? size - 8 : 0;
    if (rest != width)
        return ABSENT;
    /* `place` is below 2^32, and the width below 2^16. */
    if (!is_verified(flags, data->len, tails + place * width, width) ||
        !is_verified(flags, data->len, postings + 4 * place, 4))
        return UNSURE;
    if (width && memcmp((const uint8_t *)data->buf + tails + place * width, text + 8, (size_t)width))
        return ABSENT;
    uint32_t word = get32((const uint8_t *)data->buf + postings + 4 * place);
    return word < SHORTS ? (long long)word : UNSURE;
}

/* find(keys, data, flags, tails, width, postings, text): the row of a text in a column whose tails have one width, as
 * SegmentColumn.lookup in mix_db/index/segment.py finds it; ABSENT, or UNSURE where that has to look itself: what was not
 * verified yet, several rows, several texts that begin alike. */
static PyObject *native_find(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Py_buffer buffers[3];
    Py_ssize_t numbers[3];
    if (count != 7 || !PyBytes_Check(args[6])) {
        PyErr_Format(PyExc_TypeError, "find takes keys, data, flags, three numbers and a text as bytes");
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        numbers[i] = PyLong_AsSsize_t(args[3 + i]);
        if (numbers[i] == -1 && PyErr_Occurred())
            return NULL;
    }
    int opened = 0;
    while (opened < 3 && !PyObject_GetBuffer(args[opened], &buffers[opened], PyBUF_SIMPLE))
        opened++;
    long long row = UNSURE;
    if (opened == 3 && numbers[1] >= 0 && numbers[1] < VARIOUS && numbers[0] >= 0 && numbers[2] >= 0 &&
        numbers[0] <= buffers[1].len && numbers[2] <= buffers[1].len)
        row = find_row(&buffers[0], &buffers[1], &buffers[2], numbers[0], numbers[1], numbers[2],
                       (const uint8_t *)PyBytes_AS_STRING(args[6]), PyBytes_GET_SIZE(args[6]));
    for (int i = 0; i < opened; i++)
        PyBuffer_Release(&buffers[i]);
    return opened == 3 ? PyLong_FromLongLong(row) : NULL;
}

/* --------------------------------------------------------------------------------------------------------- module */

static int native_exec(PyObject *module)
{
    State *st = get_state(module);
#define INTERN(name)                                                                                         \
    if (!(st->s_##name = PyUnicode_InternFromString(#name)))                                                 \
        return -1;
    NAMES(INTERN)
#undef INTERN
    return 0;
}

static int native_clear(PyObject *module)
{
    State *st = get_state(module);
#define CLEAR(name) Py_CLEAR(st->s_##name);
    NAMES(CLEAR)
#undef CLEAR
    return 0;
}

static void native_free(void *module) { native_clear((PyObject *)module); }

static PyMethodDef METHODS[] = {
    {"pack", native_pack, METH_VARARGS, "pack(packed, keys, postings, start, stop); see mix_db.index.pack."},
    {"unite", native_unite, METH_VARARGS, "unite(packed, sources, limit); see mix_db.index.pack."},
    {"seek", (PyCFunction)(void (*)(void))native_seek, METH_FASTCALL, "seek(keys, key): bisect_left for u64."},
    {"find", (PyCFunction)(void (*)(void))native_find, METH_FASTCALL,
     "find(keys, data, flags, tails, width, postings, text); see mix_db.index.segment."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, native_exec}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mix_db._native",
    .m_doc = "The loops of the segments that cost most; mix_db.index has their twins in Python.",
    .m_size = sizeof(State),
    .m_methods = METHODS,
    .m_slots = SLOTS,
    .m_clear = native_clear,
    .m_free = native_free,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&MODULE); }
