/* Stored versions as bytes, read step by step. mix_db/versions/version.py says what stands where.
 *
 * The bytes come from files that were checked, and are trusted no more for it: every length is compared with what is
 * there, and what is not MessagePack raises ValueError.
 */
#ifndef MIX_DB_PACKED_H
#define MIX_DB_PACKED_H

#include "_module.h"

/* A case takes two levels, since its content is an array. */
#define MAX_DEPTH 600
#define NAMES 1024
#define NAME_MAX_SIZE 32
#define EXT_REF 1
#define EXT_CASE 2

/* The engine's fields, as mix_db/versions/version.py numbers them. */
enum own { ID, COMMIT, TIME, PREVIOUS, DELETED, OWN };

typedef struct State State;

typedef struct {
    State *state; /* of the module */
    const uint8_t *at, *end;
    int depth;
} Reader;

static inline PyObject *malformed(const char *what)
{
    PyErr_Format(PyExc_ValueError, "expected the MessagePack of a record, found %s", what);
    return NULL;
}

static inline bool has(Reader *r, size_t size)
{
    if ((size_t)(r->end - r->at) >= size)
        return true;
    malformed("bytes that break off");
    return false;
}

/* The next `size` bytes as a big-endian number; there must be so many. */
static inline uint64_t number(Reader *r, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | *r->at++;
    return value;
}

/* A length of `size` bytes, and behind it as many bytes. */
static inline bool read_length(Reader *r, int size, size_t *length)
{
    if (!has(r, (size_t)size))
        return false;
    *length = (size_t)number(r, size);
    return has(r, *length);
}

/* A count of items, each of which takes a byte at least. */
static inline bool read_count(Reader *r, int size, size_t *count) { return read_length(r, size, count); }

static inline bool string_length(Reader *r, size_t *size)
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

static inline PyObject *read_text(Reader *r, size_t size)
{
    const char *start = (const char *)r->at;
    r->at += size;
    return PyUnicode_DecodeUTF8(start, (Py_ssize_t)size, NULL);
}

/* A name. Short ones in ASCII are made once, and stand in `names`, which has NAMES of them. */
static inline PyObject *read_name(Reader *r, PyObject **names)
{
    size_t size;
    if (!string_length(r, &size))
        return NULL;
    if (size == 0 || size > NAME_MAX_SIZE)
        return read_text(r, size);
    uint32_t hash = (uint32_t)size;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ r->at[i]) * 0x01000193u;
    PyObject **slot = &names[(hash ^ hash >> 15) & (NAMES - 1)];
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

/* Moves behind a value. */
static inline bool skip_value(Reader *r)
{
    for (size_t left = 1; left > 0; left--) {
        if (!has(r, 1))
            return false;
        uint8_t tag = *r->at++;
        size_t size = 0, items = 0;
        if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
            continue;
        if (tag <= 0x9f) {
            items = tag <= 0x8f ? 2 * (size_t)(tag & 0x0f) : tag & 0x0f;
        } else if (tag <= 0xbf) {
            size = tag & 0x1f;
        } else if (tag >= 0xc4 && tag <= 0xc6) {
            if (!read_length(r, 1 << (tag - 0xc4), &size))
                return false;
        } else if ((tag >= 0xc7 && tag <= 0xc9) || (tag >= 0xd4 && tag <= 0xd8)) {
            size = (size_t)1 << (tag >= 0xd4 ? tag - 0xd4 : 0);
            if ((tag <= 0xc9 && !read_length(r, 1 << (tag - 0xc7), &size)) || !has(r, size + 1))
                return false;
            if (*r->at != EXT_REF && *r->at != EXT_CASE) {
                malformed("an extension type that no record has");
                return false;
            }
            size++;
        } else if (tag >= 0xd9 && tag <= 0xdb) {
            if (!read_length(r, 1 << (tag - 0xd9), &size))
                return false;
        } else if (tag >= 0xdc) {
            if (!read_count(r, tag & 1 ? 4 : 2, &items))
                return false;
            items *= tag >= 0xde ? 2 : 1;
        } else if (tag == 0xcb || tag >= 0xcc) {
            size = tag == 0xcb ? 8 : (size_t)1 << (tag - (tag >= 0xd0 ? 0xd0 : 0xcc));
        } else {
            malformed("a byte that begins no value of a record");
            return false;
        }
        if (!has(r, size))
            return false;
        r->at += size;
        left += items;
    }
    return true;
}

#endif
