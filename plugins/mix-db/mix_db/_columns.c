/* Stored versions as columns: `scan` and `fill` exactly as scan_python and fill_python in mix_db/columns/walk.py.
 *
 * Both walk the MessagePack of the rows once, without the GIL and without making an object of any value. The bytes come
 * from files that were checked, and are trusted no more for it: every length is compared with what is there, nesting
 * is bounded, text is looked at before it becomes a column of text.
 */
#include "_module.h"

#define OWN 5
#define EXT_REF 1
#define EXT_CASE 2

/* As mix_db/columns/walk.py has them. */
enum seen {
    S_NULL = 1,
    S_BOOL = 2,
    S_INT = 4,
    S_BIG = 8,
    S_FLOAT = 16,
    S_STRING = 32,
    S_BINARY = 64,
    S_REF = 128,
    S_CASE = 256,
    S_ARRAY = 512,
    S_MAP = 1024,
    S_WIDE = 2048
};
enum code { C_BOOL, C_INT, C_FLOAT, C_TEXT, C_BINARY, C_RAW, C_LIST, C_STRUCT, C_REST, C_ID, C_REV, C_TIME, CODES };

typedef struct {
    uint8_t *data;
    size_t size, room;
} Buffer;

typedef struct Column Column;
struct Column {
    int code;
    uint32_t kinds;
    const uint8_t *name; /* of the row that it was first seen in, or of the plan */
    size_t name_size;
    uint32_t hash;
    /* Fields of maps, found by their names; the one behind the last is tried first. */
    Column **fields;
    uint32_t count, room, next;
    uint32_t *slots; /* index + 1 */
    uint32_t slot_count;
    Column *item;
    int64_t length, nulls;
    Buffer valid, offsets, data;
    Column *own[OWN], *rest; /* of a plan's root */
};

typedef struct {
    const uint8_t *at, *end;
    const char *fault;
    bool no_memory;
    uint32_t left;   /* columns that may still be made */
    uint32_t fields; /* that one map may have */
    int depth;
} Walk;

static bool fail(Walk *w, const char *what)
{
    if (!w->fault)
        w->fault = what;
    return false;
}

static bool out_of_memory(Walk *w)
{
    w->no_memory = true;
    return fail(w, "no memory");
}

typedef struct {
    const uint8_t *bytes;
    size_t size;
} Row;

/* ------------------------------------------------------------------------------------------------------- buffers */

static bool reserve(Walk *w, Buffer *b, size_t more)
{
    if (b->data && b->room - b->size >= more)
        return true;
    size_t room = b->room ? b->room * 2 : 64;
    while (room - b->size < more)
        room *= 2;
    uint8_t *data = PyMem_RawRealloc(b->data, room);
    if (!data)
        return out_of_memory(w);
    b->data = data;
    b->room = room;
    return true;
}

static bool put(Walk *w, Buffer *b, const void *bytes, size_t size)
{
    if (!reserve(w, b, size))
        return false;
    memcpy(b->data + b->size, bytes, size);
    b->size += size;
    return true;
}

static bool put_zeros(Walk *w, Buffer *b, size_t size)
{
    if (!reserve(w, b, size))
        return false;
    memset(b->data + b->size, 0, size);
    b->size += size;
    return true;
}

/* ------------------------------------------------------------------------------------------------------- columns */

static void column_free(Column *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->count; i++)
        column_free(c->fields[i]);
    for (int i = 0; i < OWN; i++)
        column_free(c->own[i]);
    column_free(c->rest);
    column_free(c->item);
    PyMem_RawFree(c->fields);
    PyMem_RawFree(c->slots);
    PyMem_RawFree(c->valid.data);
    PyMem_RawFree(c->offsets.data);
    PyMem_RawFree(c->data.data);
    PyMem_RawFree(c);
}

static uint32_t hash_of(const uint8_t *name, size_t size)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ name[i]) * 16777619u;
    return hash ^ hash >> 15;
}

static void slot_in(Column *c, uint32_t index)
{
    uint32_t mask = c->slot_count - 1, at = c->fields[index]->hash & mask;
    while (c->slots[at])
        at = (at + 1) & mask;
    c->slots[at] = index + 1;
}

/* Takes the field over. */
static bool add_field(Walk *w, Column *c, Column *field)
{
    if (c->count == c->room) {
        uint32_t room = c->room ? c->room * 2 : 16;
        Column **fields = PyMem_RawRealloc(c->fields, room * sizeof *fields);
        if (fields)
            c->fields = fields;
        uint32_t *slots = fields ? PyMem_RawCalloc(2 * (size_t)room, sizeof *slots) : NULL;
        if (!slots) {
            column_free(field);
            return out_of_memory(w);
        }
        PyMem_RawFree(c->slots);
        c->room = room;
        c->slots = slots;
        c->slot_count = 2 * room;
        for (uint32_t i = 0; i < c->count; i++)
            slot_in(c, i);
    }
    c->fields[c->count] = field;
    slot_in(c, c->count++);
    return true;
}

static Column *find_field(Column *c, const uint8_t *name, size_t size)
{
    if (c->next < c->count) {
        Column *f = c->fields[c->next];
        if (f->name_size == size && memcmp(f->name, name, size) == 0) {
            c->next++;
            return f;
        }
    }
    if (!c->count)
        return NULL;
    uint32_t hash = hash_of(name, size), mask = c->slot_count - 1;
    for (uint32_t at = hash & mask; c->slots[at]; at = (at + 1) & mask) {
        Column *f = c->fields[c->slots[at] - 1];
        if (f->hash == hash && f->name_size == size && memcmp(f->name, name, size) == 0) {
            c->next = c->slots[at];
            return f;
        }
    }
    return NULL;
}

/* -------------------------------------------------------------------------------------------------------- reading */

enum kind { K_NULL, K_BOOL, K_INT, K_FLOAT, K_STRING, K_BINARY, K_REF, K_CASE, K_ARRAY, K_MAP };

typedef struct {
    enum kind kind;
    int64_t number; /* of bool and int; how many items or fields */
    double real;
    const uint8_t *bytes; /* of string, binary, ref */
    size_t size;
} Value;

static bool has(Walk *w, size_t size)
{
    return (size_t)(w->end - w->at) >= size || fail(w, "bytes that break off");
}

static uint64_t big_endian(Walk *w, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | *w->at++;
    return value;
}

static bool sized(Walk *w, Value *v, enum kind kind, size_t size)
{
    if (!has(w, size))
        return false;
    v->kind = kind;
    v->bytes = w->at;
    v->size = size;
    w->at += size;
    return true;
}

static bool counted(Walk *w, Value *v, enum kind kind, uint64_t count)
{
    /* Each item takes a byte at least, each field two. */
    if (!has(w, (size_t)count))
        return false;
    v->kind = kind;
    v->number = (int64_t)count;
    return true;
}

static bool extension(Walk *w, Value *v, size_t size)
{
    if (!has(w, 1))
        return false;
    uint8_t type = *w->at++;
    if (type != EXT_REF && type != EXT_CASE)
        return fail(w, "an extension type that no record has");
    return sized(w, v, type == EXT_REF ? K_REF : K_CASE, size);
}

/* The next value; of an array or a map only its head. */
static bool head(Walk *w, Value *v)
{
    if (!has(w, 1))
        return false;
    uint8_t tag = *w->at++;
    v->kind = K_INT;
    if (tag <= 0x7f || tag >= 0xe0) {
        v->number = (int8_t)tag;
        return true;
    }
    if (tag < 0xc0) {
        if (tag >= 0xa0)
            return sized(w, v, K_STRING, tag & 0x1f);
        return counted(w, v, tag >= 0x90 ? K_ARRAY : K_MAP, tag & 0x0f);
    }
    static const uint8_t WIDTHS[32] = {0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 8, 1, 2, 4, 8,
                                       1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    int width = WIDTHS[tag - 0xc0];
    if (!has(w, (size_t)width))
        return false;
    uint64_t bits = big_endian(w, width);
    switch (tag) {
    case 0xc0:
        v->kind = K_NULL;
        return true;
    case 0xc2:
    case 0xc3:
        v->kind = K_BOOL;
        v->number = tag == 0xc3;
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return sized(w, v, K_BINARY, (size_t)bits);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return extension(w, v, (size_t)bits);
    case 0xcb:
        v->kind = K_FLOAT;
        memcpy(&v->real, &bits, 8);
        return true;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        v->number = (int64_t)bits;
        return bits <= INT64_MAX || fail(w, "an integer that no record has");
    case 0xd0:
        v->number = (int8_t)bits;
        return true;
    case 0xd1:
        v->number = (int16_t)bits;
        return true;
    case 0xd2:
        v->number = (int32_t)bits;
        return true;
    case 0xd3:
        v->number = (int64_t)bits;
        return true;
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return extension(w, v, (size_t)1 << (tag - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return sized(w, v, K_STRING, (size_t)bits);
    case 0xdc:
    case 0xdd:
        return counted(w, v, K_ARRAY, bits);
    case 0xde:
    case 0xdf:
        return counted(w, v, K_MAP, bits);
    default:
        return fail(w, "a byte that begins no value of a record");
    }
}

/* What is inside of a value whose head was read. */
static bool skip(Walk *w, const Value *first)
{
    Value v = *first;
    uint64_t pending = 1;
    for (;;) {
        pending--;
        if (v.kind == K_ARRAY || v.kind == K_MAP)
            pending += (uint64_t)v.number << (v.kind == K_MAP);
        if (!pending)
            return true;
        if (!head(w, &v))
            return false;
    }
}

static bool read_name(Walk *w, Value *name)
{
    if (!head(w, name))
        return false;
    return name->kind == K_STRING || fail(w, "a name that is no string");
}

static bool read_row(Walk *w, const Row *row, Value *v)
{
    w->at = row->bytes;
    w->end = w->at + row->size;
    if (!head(w, v))
        return false;
    return v->kind == K_MAP || fail(w, "a row that is no map");
}

static bool utf8(const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    while (at < end) {
        if (end - at >= 8) {
            uint64_t word;
            memcpy(&word, at, 8);
            if (!(word & 0x8080808080808080u)) {
                at += 8;
                continue;
            }
        }
        uint8_t first = *at++;
        if (first < 0x80)
            continue;
        int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || end - at < more)
            return false;
        uint8_t second = *at;
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
            (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
            return false;
        for (; more; more--)
            if ((*at++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* ----------------------------------------------------------------------------------------------------------- scan */

static const uint32_t SEEN[] = {S_NULL, S_BOOL, S_INT, S_FLOAT, S_STRING, S_BINARY, S_REF, S_CASE, S_ARRAY, S_MAP};

static Column *column_new(Walk *w, const uint8_t *name, size_t size)
{
    Column *c = PyMem_RawCalloc(1, sizeof *c);
    if (!c) {
        out_of_memory(w);
        return NULL;
    }
    c->name = name;
    c->name_size = size;
    c->hash = hash_of(name, size);
    return c;
}

static bool note(Walk *w, Column *c, int depth);

static bool note_fields(Walk *w, Column *c, int64_t count, int depth, bool top)
{
    c->next = 0;
    for (int64_t i = 0; i < count; i++) {
        if (top && has(w, 1) && *w->at < OWN) {
            Value own;
            w->at++;
            if (!head(w, &own) || !skip(w, &own))
                return false;
            continue;
        }
        Value name;
        if (!read_name(w, &name))
            return false;
        Column *field = find_field(c, name.bytes, name.size);
        if (!field) {
            if (c->count >= w->fields || !w->left) {
                Value v;
                c->kinds |= S_WIDE;
                if (!head(w, &v) || !skip(w, &v))
                    return false;
                continue;
            }
            field = column_new(w, name.bytes, name.size);
            if (!field || !add_field(w, c, field))
                return false;
            w->left--;
            c->next = c->count;
        }
        if (!note(w, field, depth + 1))
            return false;
    }
    return true;
}

static bool note(Walk *w, Column *c, int depth)
{
    Value v;
    if (!head(w, &v))
        return false;
    c->kinds |= SEEN[v.kind];
    if (v.kind == K_INT && (v.number > (1LL << 53) || v.number < -(1LL << 53)))
        c->kinds |= S_BIG;
    if (v.kind != K_ARRAY && v.kind != K_MAP)
        return true;
    if (depth >= w->depth) {
        c->kinds |= S_WIDE;
        return skip(w, &v);
    }
    if (v.kind == K_MAP)
        return note_fields(w, c, v.number, depth, false);
    if (!c->item) {
        if (!w->left) {
            c->kinds |= S_WIDE;
            return skip(w, &v);
        }
        c->item = column_new(w, (const uint8_t *)"", 0);
        if (!c->item)
            return false;
        w->left--;
    }
    for (int64_t i = 0; i < v.number; i++)
        if (!note(w, c->item, depth + 1))
            return false;
    return true;
}

static bool scan_rows(Walk *w, Column *root, const Row *rows, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        Value v;
        if (!read_row(w, &rows[i], &v) || !note_fields(w, root, v.number, 0, true))
            return false;
        if (w->at != w->end)
            return fail(w, "bytes behind a row");
    }
    return true;
}

/* ----------------------------------------------------------------------------------------------------------- fill */

static bool has_data(int code) { return code != C_LIST && code != C_STRUCT; }

static bool has_offsets(int code)
{
    return code == C_TEXT || code == C_BINARY || code == C_RAW || code == C_LIST || code == C_REST || code == C_ID ||
           code == C_REV;
}

static bool put_offset(Walk *w, Column *c)
{
    size_t end = c->code == C_LIST ? (size_t)c->item->length : c->data.size;
    if (end > INT32_MAX)
        return fail(w, "more than 2 GiB in one column");
    int32_t offset = (int32_t)end;
    return put(w, &c->offsets, &offset, sizeof offset);
}

/* Count one more item, and note whether it is there. */
static bool put_valid(Walk *w, Column *c, bool valid)
{
    if (!(c->length & 7) && !put_zeros(w, &c->valid, 1))
        return false;
    if (valid)
        c->valid.data[c->length >> 3] |= (uint8_t)(1 << (c->length & 7));
    else
        c->nulls++;
    c->length++;
    return true;
}

static bool put_null(Walk *w, Column *c)
{
    if (c->code == C_BOOL && !(c->length & 7) && !put_zeros(w, &c->data, 1))
        return false;
    if ((c->code == C_INT || c->code == C_FLOAT || c->code == C_TIME) && !put_zeros(w, &c->data, 8))
        return false;
    return put_valid(w, c, false) && (!has_offsets(c->code) || put_offset(w, c));
}

static bool pad(Walk *w, Column *c, int64_t length)
{
    while (c->length < length)
        if (!put_null(w, c))
            return false;
    return true;
}

static bool put_bytes(Walk *w, Column *c, const void *bytes, size_t size)
{
    return put(w, &c->data, bytes, size) && put_valid(w, c, true) && put_offset(w, c);
}

static bool put_value(Walk *w, Column *c);

static bool put_fields(Walk *w, Column *c, int64_t count)
{
    int64_t place = c->length;
    c->next = 0;
    for (int64_t i = 0; i < count; i++) {
        Value name, v;
        if (!read_name(w, &name))
            return false;
        Column *field = find_field(c, name.bytes, name.size);
        if (!field) {
            if (!head(w, &v) || !skip(w, &v))
                return false;
            continue;
        }
        if (!pad(w, field, place))
            return false;
        if (field->length > place)
            return fail(w, "a name that is there twice");
        if (!put_value(w, field))
            return false;
    }
    return put_valid(w, c, true);
}

static bool put_value(Walk *w, Column *c)
{
    const uint8_t *start = w->at;
    Value v;
    if (!head(w, &v))
        return false;
    if (v.kind == K_NULL)
        return put_null(w, c);
    switch (c->code) {
    case C_BOOL:
        if (v.kind != K_BOOL)
            break;
        if (!(c->length & 7) && !put_zeros(w, &c->data, 1))
            return false;
        if (v.number)
            c->data.data[c->length >> 3] |= (uint8_t)(1 << (c->length & 7));
        return put_valid(w, c, true);
    case C_INT:
        if (v.kind != K_INT)
            break;
        return put(w, &c->data, &v.number, 8) && put_valid(w, c, true);
    case C_FLOAT: {
        if (v.kind != K_INT && v.kind != K_FLOAT)
            break;
        double real = v.kind == K_INT ? (double)v.number : v.real;
        return put(w, &c->data, &real, 8) && put_valid(w, c, true);
    }
    case C_TEXT:
        if (v.kind != K_STRING && v.kind != K_REF)
            break;
        if (!utf8(v.bytes, v.size))
            return fail(w, "a text that is not UTF-8");
        return put_bytes(w, c, v.bytes, v.size);
    case C_BINARY:
        if (v.kind != K_BINARY)
            break;
        return put_bytes(w, c, v.bytes, v.size);
    case C_RAW:
        return skip(w, &v) && put_bytes(w, c, start, (size_t)(w->at - start));
    case C_LIST:
        if (v.kind != K_ARRAY)
            break;
        for (int64_t i = 0; i < v.number; i++)
            if (!put_value(w, c->item))
                return false;
        return put_valid(w, c, true) && put_offset(w, c);
    case C_STRUCT:
        if (v.kind != K_MAP)
            break;
        return put_fields(w, c, v.number);
    }
    return fail(w, "a value that the plan has no place for");
}

static bool put_own(Walk *w, Column *root, int own)
{
    Value v;
    Column *c = root->own[own];
    if (!c) {
        return head(w, &v) && skip(w, &v);
    }
    if (!head(w, &v))
        return false;
    if (c->length > root->length)
        return fail(w, "a name that is there twice");
    if (c->code == C_ID && v.kind == K_REF && utf8(v.bytes, v.size))
        return put_bytes(w, c, v.bytes, v.size);
    if (c->code == C_TIME && v.kind == K_INT)
        return put(w, &c->data, &v.number, 8) && put_valid(w, c, true);
    if (c->code == C_REV && v.kind == K_INT && v.number >= 0) {
        char digits[20];
        int size = 0;
        for (int64_t rest = v.number; rest || size < 16; rest /= 10)
            digits[sizeof digits - 1 - size++] = (char)('0' + rest % 10);
        return put_bytes(w, c, digits + sizeof digits - size, (size_t)size);
    }
    return fail(w, "a field of the engine's of another kind");
}

/* Fields that have no column, as a map of MessagePack. */
static bool put_rest(Walk *w, Column *root, const Buffer *scratch, uint32_t count)
{
    if (!root->rest || !count)
        return true;
    uint8_t header[5] = {0xdf, (uint8_t)(count >> 24), (uint8_t)(count >> 16), (uint8_t)(count >> 8), (uint8_t)count};
    return pad(w, root->rest, root->length) && put(w, &root->rest->data, header, 5) &&
           put_bytes(w, root->rest, scratch->data, scratch->size);
}

static bool fill_row(Walk *w, Column *root, Buffer *scratch, int64_t count)
{
    uint32_t others = 0;
    scratch->size = 0;
    root->next = 0;
    for (int64_t i = 0; i < count; i++) {
        if (has(w, 1) && *w->at < OWN) {
            if (!put_own(w, root, *w->at++))
                return false;
            continue;
        }
        Value name, v;
        const uint8_t *start = w->at;
        if (!read_name(w, &name))
            return false;
        Column *field = find_field(root, name.bytes, name.size);
        if (!field) {
            if (!head(w, &v) || !skip(w, &v) ||
                (root->rest && !put(w, scratch, start, (size_t)(w->at - start))))
                return false;
            others++;
            continue;
        }
        if (!pad(w, field, root->length))
            return false;
        if (field->length > root->length)
            return fail(w, "a name that is there twice");
        if (!put_value(w, field))
            return false;
    }
    return put_rest(w, root, scratch, others) && put_valid(w, root, true);
}

/* Make all columns as long as they must be. */
static bool finish(Walk *w, Column *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (!pad(w, c->fields[i], c->length) || !finish(w, c->fields[i]))
            return false;
    for (int i = 0; i < OWN; i++)
        if (c->own[i] && !pad(w, c->own[i], c->length))
            return false;
    if (c->rest && !pad(w, c->rest, c->length))
        return false;
    return !c->item || finish(w, c->item);
}

static bool fill_rows(Walk *w, Column *root, const Row *rows, Py_ssize_t count)
{
    Buffer scratch = {0};
    bool done = true;
    for (Py_ssize_t i = 0; done && i < count; i++) {
        Value v;
        done = read_row(w, &rows[i], &v) && fill_row(w, root, &scratch, v.number) &&
               (w->at == w->end || fail(w, "bytes behind a row"));
    }
    PyMem_RawFree(scratch.data);
    return done && finish(w, root);
}

/* ---------------------------------------------------------------------------------------------------- from Python */

/* The bytes of a list's items, which a tuple keeps. */
typedef struct {
    PyObject *kept;
    Row *at;
    Py_ssize_t count;
} Rows;

static void rows_close(Rows *rows)
{
    Py_XDECREF(rows->kept);
    PyMem_Free(rows->at);
}

static bool rows_open(PyObject *list, Rows *rows)
{
    rows->kept = PyList_AsTuple(list);
    rows->count = rows->kept ? PyTuple_GET_SIZE(rows->kept) : 0;
    rows->at = PyMem_New(Row, rows->count ? rows->count : 1);
    if (!rows->kept || !rows->at) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < rows->count; i++) {
        PyObject *row = PyTuple_GET_ITEM(rows->kept, i);
        if (!PyBytes_CheckExact(row)) {
            PyErr_SetString(PyExc_TypeError, "rows are bytes");
            return false;
        }
        rows->at[i] = (Row){(const uint8_t *)PyBytes_AS_STRING(row), (size_t)PyBytes_GET_SIZE(row)};
    }
    return true;
}

static PyObject *failed(const Walk *w)
{
    if (w->no_memory)
        return PyErr_NoMemory();
    PyErr_Format(PyExc_ValueError, "expected the MessagePack of records, found %s", w->fault);
    return NULL;
}

static PyObject *seen(const Column *c)
{
    PyObject *fields = PyDict_New(), *item = c->item ? seen(c->item) : Py_NewRef(Py_None);
    bool done = fields && item;
    for (uint32_t i = 0; done && i < c->count; i++) {
        const Column *f = c->fields[i];
        PyObject *name = PyUnicode_DecodeUTF8((const char *)f->name, (Py_ssize_t)f->name_size, NULL);
        PyObject *child = name ? seen(f) : NULL;
        done = child && PyDict_SetItem(fields, name, child) == 0;
        Py_XDECREF(name);
        Py_XDECREF(child);
    }
    PyObject *made = done ? Py_BuildValue("(IOO)", (unsigned)c->kinds, fields, item) : NULL;
    Py_XDECREF(fields);
    Py_XDECREF(item);
    return made;
}

static PyObject *columns_scan(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *list;
    unsigned fields, most, depth;
    if (!PyArg_ParseTuple(args, "O!III:scan", &PyList_Type, &list, &fields, &most, &depth))
        return NULL;
    Rows rows;
    Walk w = {.left = most, .fields = fields, .depth = (int)(depth < 64 ? depth : 64)};
    PyObject *made = NULL;
    Column *root = NULL;
    if (rows_open(list, &rows)) {
        bool done;
        Py_BEGIN_ALLOW_THREADS
        root = column_new(&w, (const uint8_t *)"", 0);
        done = root && scan_rows(&w, root, rows.at, rows.count);
        Py_END_ALLOW_THREADS
        made = done ? seen(root) : failed(&w);
    }
    column_free(root);
    rows_close(&rows);
    return made;
}

/* A column of a plan: (code, name, children). The plan is a tuple, and outlives the column. */
static Column *planned(Walk *w, PyObject *plan, int depth)
{
    int code;
    const char *name;
    Py_ssize_t size;
    PyObject *children;
    if (!PyTuple_Check(plan) || depth > 64 ||
        !PyArg_ParseTuple(plan, "iy#O!", &code, &name, &size, &PyTuple_Type, &children)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a plan is a tuple");
        return NULL;
    }
    Column *c = column_new(w, (const uint8_t *)name, (size_t)size);
    if (!c) {
        PyErr_NoMemory();
        return NULL;
    }
    c->code = code;
    bool done = code >= 0 && code < CODES && (code != C_LIST || PyTuple_GET_SIZE(children) == 1) &&
                (has_data(code) ? PyTuple_GET_SIZE(children) == 0 : true);
    if (!done)
        PyErr_SetString(PyExc_ValueError, "a plan with a code or children that there are not");
    for (Py_ssize_t i = 0; done && i < PyTuple_GET_SIZE(children); i++) {
        Column *child = planned(w, PyTuple_GET_ITEM(children, i), depth + 1), **place = NULL;
        if (!child) {
            done = false;
            break;
        }
        if (code == C_LIST)
            place = &c->item;
        else if (child->code == C_REST)
            place = &c->rest;
        else if (child->code >= C_ID)
            place = &c->own[child->code - C_ID];
        if (place && *place) {
            column_free(child);
            PyErr_SetString(PyExc_ValueError, "a plan that has a column twice");
            done = false;
        } else if (place) {
            *place = child;
        } else if (!add_field(w, c, child)) {
            PyErr_NoMemory();
            done = false;
        }
    }
    if (done && has_offsets(code) && !put_offset(w, c)) {
        PyErr_NoMemory();
        done = false;
    }
    if (!done) {
        column_free(c);
        return NULL;
    }
    return c;
}

static PyObject *bytes_of(const Buffer *b)
{
    return PyBytes_FromStringAndSize((const char *)b->data, (Py_ssize_t)b->size);
}

/* (length, nulls, valid, offsets, data, children) */
static PyObject *filled(const Column *c)
{
    PyObject *children = PyList_New(0);
    const Column *more[OWN + 2] = {c->item, c->rest};
    memcpy(more + 2, c->own, sizeof c->own);
    bool done = children;
    for (uint32_t i = 0; done && i < c->count + OWN + 2; i++) {
        const Column *f = i < c->count ? c->fields[i] : more[i - c->count];
        PyObject *child = f ? filled(f) : NULL;
        done = !f || (child && PyList_Append(children, child) == 0);
        Py_XDECREF(child);
    }
    PyObject *parts[3] = {bytes_of(&c->valid), bytes_of(&c->offsets), bytes_of(&c->data)};
    done = done && parts[0] && parts[1] && parts[2];
    PyObject *made = done ? Py_BuildValue("(LLOOOO)", (long long)c->length, (long long)c->nulls, parts[0], parts[1],
                                          parts[2], children)
                          : NULL;
    for (int i = 0; i < 3; i++)
        Py_XDECREF(parts[i]);
    Py_XDECREF(children);
    return made;
}

static PyObject *columns_fill(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *list, *plan;
    if (!PyArg_ParseTuple(args, "O!O!:fill", &PyList_Type, &list, &PyTuple_Type, &plan))
        return NULL;
    Rows rows;
    Walk w = {0};
    PyObject *made = NULL;
    Column *root = planned(&w, plan, 0);
    if (!root)
        return NULL;
    if (root->code != C_STRUCT)
        PyErr_SetString(PyExc_ValueError, "a plan whose root is no struct");
    if (PyErr_Occurred()) {
        column_free(root);
        return NULL;
    }
    if (rows_open(list, &rows)) {
        bool done;
        Py_BEGIN_ALLOW_THREADS
        done = fill_rows(&w, root, rows.at, rows.count);
        Py_END_ALLOW_THREADS
        made = done ? filled(root) : failed(&w);
    }
    column_free(root);
    rows_close(&rows);
    return made;
}

static PyMethodDef methods[] = {
    {"scan", columns_scan, METH_VARARGS,
     "scan(rows, fields, most, depth): which kinds are where; see mix_db.columns.walk.scan_python."},
    {"fill", columns_fill, METH_VARARGS, "fill(rows, plan): the columns; see mix_db.columns.walk.fill_python."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mix_db._columns",
    .m_doc = "Stored versions as columns, in C.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__columns(void) { return PyModuleDef_Init(&definition); }
