/* The u32 codec in C: `encode`, `decode` and `scan` exactly as in mixkit/_codec_py.py, errors included.
 *
 * The format and the rule for error offsets are in docs/values.md. Where a value cannot be encoded, this file only
 * notices; the walk that finds the reason and the path is Python's (`refuse`), and runs when there is an error.
 */
#include "_words.h"

static const char *const TAG_NAMES[] = {"Undef",  "Null", "Bool",   "Int",   "Int64", "Number", "String",
                                        "Ref",    "Binary", "Array", "Map",   "Case",  "Token"};

/* ------------------------------------------------------------------------------------------------ module state */

#define KEYS 1024       /* slots of the key cache, a power of two */
#define KEY_SIZE_MAX 32 /* longer keys are rarely repeated */

typedef struct {
    PyObject *undef;
    PyTypeObject *ref_type;
    PyTypeObject *case_type;
    PyTypeObject *token_type;
    PyObject *codec_error;
    PyObject *refuse;
    PyObject *name_id, *name_name, *name_arg, *name_token;
    PyObject *keys[KEYS]; /* map keys seen last, by hash: records repeat theirs */
} State;

static State *get_state(PyObject *module) { return (State *)PyModule_GetState(module); }

/* ------------------------------------------------------------------------------------------------------- words */

static inline bool is_nan_bits(uint64_t bits)
{
    return (bits & UINT64_C(0x7FFFFFFFFFFFFFFF)) > UINT64_C(0x7FF0000000000000);
}

/* ------------------------------------------------------------------------------------------------------ encode */

typedef struct {
    PyObject *key, *value; /* owned */
    const uint8_t *text;   /* UTF-8 of the key, kept by the key */
    Py_ssize_t size;
    uint64_t prefix; /* first 8 bytes of text, big-endian: decides most comparisons */
} Entry;

typedef struct {
    State *state;
    PyObject *token;  /* the hook, or NULL; the only Python code that runs while encoding */
    PyObject *bytes;  /* what is written so far, `size` of its bytes */
    Py_ssize_t size;
    Entry *entries;   /* stack of the maps under way; by index, because it moves when it grows */
    Py_ssize_t used, capacity;
    unsigned ticks;
} Writer;

/* Encoders answer 0, or -1 with an exception set; -1 without one means: not a Value. */

static int encode_value(Writer *w, PyObject *value, int depth);

static uint8_t *reserve(Writer *w, Py_ssize_t bytes)
{
    Py_ssize_t capacity = PyBytes_GET_SIZE(w->bytes);
    if (bytes > capacity - w->size) {
        if (bytes > PY_SSIZE_T_MAX / 4 - w->size) {
            PyErr_NoMemory();
            return NULL;
        }
        Py_ssize_t wanted = (w->size + bytes) + (w->size + bytes) / 2;
        if (_PyBytes_Resize(&w->bytes, wanted) < 0)
            return NULL;
        take_large_pages(PyBytes_AS_STRING(w->bytes) + w->size, (size_t)bytes);
    }
    uint8_t *p = (uint8_t *)PyBytes_AS_STRING(w->bytes) + w->size;
    w->size += bytes;
    return p;
}

static int encode_header(Writer *w, enum tag tag, uint32_t aux)
{
    uint8_t *p = reserve(w, 4);
    if (p == NULL)
        return -1;
    store32(p, (uint32_t)tag | aux << 8);
    return 0;
}

static int encode_pair(Writer *w, enum tag tag, uint64_t words)
{
    uint8_t *p = reserve(w, 12);
    if (p == NULL)
        return -1;
    store32(p, (uint32_t)tag);
    store64(p + 4, words);
    return 0;
}

/* The header of something with a length or count, and room for `words` words after it. */
static uint8_t *encode_length(Writer *w, enum tag tag, Py_ssize_t length, int64_t words)
{
    if ((uint64_t)length > UINT32_MAX)
        return NULL;
    bool is_long = length >= (Py_ssize_t)LONG_FORM;
    uint8_t *p = reserve(w, (Py_ssize_t)(4 * (1 + is_long + words)));
    if (p == NULL)
        return NULL;
    store32(p, (uint32_t)tag | (is_long ? LONG_FORM : (uint32_t)length) << 8);
    if (!is_long)
        return p + 4;
    store32(p + 4, (uint32_t)length);
    return p + 8;
}

static int encode_octets(Writer *w, enum tag tag, const void *octets, Py_ssize_t size)
{
    int64_t words = words_of(size);
    uint8_t *p = encode_length(w, tag, size, words);
    if (p == NULL)
        return -1;
    if (size > 0) {
        store32(p + 4 * (words - 1), 0);
        memcpy(p, octets, (size_t)size);
    }
    return 0;
}

/* The UTF-8 bytes of a str, which keeps them; NULL for a lone surrogate. */
static const uint8_t *utf8(PyObject *text, Py_ssize_t *size)
{
    const char *octets;
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        *size = PyUnicode_GET_LENGTH(text);
        return (const uint8_t *)PyUnicode_1BYTE_DATA(text);
    }
    octets = PyUnicode_AsUTF8AndSize(text, size);
    if (octets == NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        PyErr_Clear();
    return (const uint8_t *)octets;
}

static int encode_text(Writer *w, enum tag tag, PyObject *text)
{
    Py_ssize_t size;
    const uint8_t *octets = utf8(text, &size);
    return octets == NULL ? -1 : encode_octets(w, tag, octets, size);
}

static int encode_int(Writer *w, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return -1;
    if (number >= INT24_MIN && number <= INT24_MAX)
        return encode_header(w, TAG_INT, (uint32_t)number & 0xFFFFFFu);
    return encode_pair(w, TAG_INT64, (uint64_t)number);
}

static int encode_number(Writer *w, PyObject *value)
{
    double number = PyFloat_AS_DOUBLE(value);
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return encode_pair(w, TAG_NUMBER, is_nan_bits(bits) ? CANONICAL_NAN : bits);
}

/* An item of a container. The hook may drop it from there, so it is held meanwhile. */
static int encode_item(Writer *w, PyObject *item, int depth)
{
    if (item == w->state->undef)
        return -1;
    Py_INCREF(item);
    breathe(&w->ticks);
    int failed = encode_value(w, item, depth);
    Py_DECREF(item);
    return failed;
}

static int encode_array(Writer *w, PyObject *list, int depth)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (encode_length(w, TAG_ARRAY, count, 0) == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (i >= PyList_GET_SIZE(list) || encode_item(w, PyList_GET_ITEM(list, i), depth + 1) < 0)
            return -1;
    }
    return PyList_GET_SIZE(list) == count ? 0 : -1;
}

static int compare_entries(const void *left, const void *right)
{
    const Entry *a = left, *b = right;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    int order = memcmp(a->text, b->text, (size_t)(a->size < b->size ? a->size : b->size));
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static void sort_entries(Entry *entries, Py_ssize_t count)
{
    if (count > 24) {
        qsort(entries, (size_t)count, sizeof *entries, compare_entries);
        return;
    }
    for (Py_ssize_t i = 1; i < count; i++) {
        if (compare_entries(&entries[i - 1], &entries[i]) < 0)
            continue;
        Entry moved = entries[i];
        Py_ssize_t j = i;
        for (; j > 0 && compare_entries(&entries[j - 1], &moved) > 0; j--)
            entries[j] = entries[j - 1];
        entries[j] = moved;
    }
}

static int push_entry(Writer *w, PyObject *key, PyObject *value)
{
    if (!PyUnicode_CheckExact(key))
        return -1;
    if (w->used == w->capacity) {
        Py_ssize_t capacity = w->capacity == 0 ? 32 : w->capacity * 2;
        Entry *entries = PyMem_Resize(w->entries, Entry, (size_t)capacity);
        if (entries == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        w->entries = entries;
        w->capacity = capacity;
    }
    Entry *entry = &w->entries[w->used];
    entry->text = utf8(key, &entry->size);
    if (entry->text == NULL)
        return -1;
    entry->prefix = 0;
    for (Py_ssize_t i = 0; i < 8; i++)
        entry->prefix = entry->prefix << 8 | (i < entry->size ? entry->text[i] : 0);
    entry->key = Py_NewRef(key);
    entry->value = Py_NewRef(value);
    w->used++;
    return 0;
}

static int encode_entries(Writer *w, Py_ssize_t base, Py_ssize_t count, int depth)
{
    for (Py_ssize_t i = base; i < base + count; i++) {
        Entry entry = w->entries[i];
        breathe(&w->ticks);
        if (encode_octets(w, TAG_STRING, entry.text, entry.size) < 0)
            return -1;
        if (entry.value == w->state->undef || encode_value(w, entry.value, depth + 1) < 0)
            return -1;
    }
    return 0;
}

static int encode_map(Writer *w, PyObject *dict, int depth)
{
    Py_ssize_t base = w->used, count = PyDict_GET_SIZE(dict), position = 0;
    PyObject *key, *value;
    int failed = encode_length(w, TAG_MAP, count, 0) == NULL ? -1 : 0;
    while (!failed && PyDict_Next(dict, &position, &key, &value))
        failed = push_entry(w, key, value);
    if (!failed) {
        sort_entries(w->entries + base, count);
        failed = encode_entries(w, base, count, depth);
    }
    while (w->used > base) {
        Entry *entry = &w->entries[--w->used];
        PyObject *old_key = entry->key, *old_value = entry->value;
        Py_DECREF(old_key);
        Py_DECREF(old_value);
    }
    return failed;
}

static int encode_ref(Writer *w, PyObject *ref)
{
    PyObject *id = PyObject_GenericGetAttr(ref, w->state->name_id);
    if (id == NULL)
        return -1;
    int failed = PyUnicode_CheckExact(id) ? encode_text(w, TAG_REF, id) : -1;
    Py_DECREF(id);
    return failed;
}

static int encode_case(Writer *w, PyObject *case_, int depth)
{
    int failed = -1;
    PyObject *name = PyObject_GenericGetAttr(case_, w->state->name_name);
    PyObject *arg = name == NULL ? NULL : PyObject_GenericGetAttr(case_, w->state->name_arg);
    if (arg != NULL && PyUnicode_CheckExact(name)) {
        bool has_arg = arg != w->state->undef;
        failed = encode_header(w, TAG_CASE, has_arg) < 0 || encode_text(w, TAG_STRING, name) < 0 ||
                 (has_arg && encode_value(w, arg, depth + 1) < 0)
                     ? -1
                     : 0;
    }
    Py_XDECREF(name);
    Py_XDECREF(arg);
    return failed;
}

static int encode_token(Writer *w, PyObject *token)
{
    if (w->token == NULL)
        return -1;
    PyObject *handle = PyObject_CallOneArg(w->token, token);
    if (handle == NULL)
        return -1;
    int failed = -1;
    if (PyBytes_CheckExact(handle))
        failed = encode_octets(w, TAG_TOKEN, PyBytes_AS_STRING(handle), PyBytes_GET_SIZE(handle));
    else
        PyErr_Format(PyExc_TypeError, "the token hook of encode answers bytes, not %s", Py_TYPE(handle)->tp_name);
    Py_DECREF(handle);
    return failed;
}

static int encode_value(Writer *w, PyObject *value, int depth)
{
    State *state = w->state;
    PyTypeObject *type = Py_TYPE(value);
    if (depth > MAX_DEPTH)
        return -1;
    if (type == &PyUnicode_Type)
        return encode_text(w, TAG_STRING, value);
    if (type == &PyLong_Type)
        return encode_int(w, value);
    if (type == &PyFloat_Type)
        return encode_number(w, value);
    if (type == &PyDict_Type)
        return encode_map(w, value, depth);
    if (type == &PyList_Type)
        return encode_array(w, value, depth);
    if (type == &PyBool_Type)
        return encode_header(w, TAG_BOOL, value == Py_True);
    if (value == Py_None)
        return encode_header(w, TAG_NULL, 0);
    if (type == &PyBytes_Type)
        return encode_octets(w, TAG_BINARY, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    if (type == state->ref_type)
        return encode_ref(w, value);
    if (type == state->case_type)
        return encode_case(w, value, depth);
    if (type == state->token_type)
        return encode_token(w, value);
    if (value == state->undef)
        return encode_header(w, TAG_UNDEF, 0);
    return -1;
}

/* The one positional and the one keyword argument that encode and decode have. */
static int parse_args(State *state, const char *function, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames, PyObject **token)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    *token = NULL;
    if (nargs != 1 || nkw > 1) {
        PyErr_Format(PyExc_TypeError, "%s(value, /, *, token=None) takes one positional argument", function);
        return -1;
    }
    if (nkw == 1) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, 0);
        int same = PyObject_RichCompareBool(name, state->name_token, Py_EQ);
        if (same <= 0) {
            if (same == 0)
                PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", function, name);
            return -1;
        }
        if (args[1] != Py_None)
            *token = args[1];
    }
    return 0;
}

static PyObject *codec_encode(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Writer w = {.state = get_state(module)};
    if (parse_args(w.state, "encode", args, nargs, kwnames, &w.token) < 0)
        return NULL;
    w.bytes = PyBytes_FromStringAndSize(NULL, 512 - 64);
    if (w.bytes == NULL)
        return NULL;
    int failed = encode_value(&w, args[0], 0);
    PyMem_Free(w.entries);
    if (!failed) {
        if (_PyBytes_Resize(&w.bytes, w.size) < 0)
            return NULL;
        return w.bytes;
    }
    Py_XDECREF(w.bytes);
    if (!PyErr_Occurred())
        Py_XDECREF(PyObject_CallFunctionObjArgs(w.state->refuse, args[0], w.token ? Py_True : Py_False, NULL));
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------ decode */

typedef struct {
    State *state;
    PyObject *token; /* the hook, or NULL */
    const uint8_t *words;
    Py_ssize_t position; /* of the next word */
    Py_ssize_t room;     /* words that nobody has claimed yet; see _Reader in _codec_py.py */
    unsigned ticks;
} Reader;

/* A stretch of the buffer. */
typedef struct {
    const uint8_t *octets;
    Py_ssize_t size;
} Span;

static PyObject *decode_value(Reader *r, int depth);

/* Decoders answer NULL or false with an exception set. */

/* Raise CodecError; answers NULL. */
static PyObject *fault(Reader *r, Py_ssize_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PyObject *message = PyUnicode_FromFormatV(format, args);
    va_end(args);
    if (message != NULL) {
        PyObject *error = PyObject_CallFunction(r->state->codec_error, "On", message, at);
        if (error != NULL) {
            PyErr_SetObject(r->state->codec_error, error);
            Py_DECREF(error);
        }
        Py_DECREF(message);
    }
    return NULL;
}

static inline uint32_t next_word(Reader *r)
{
    uint32_t word = load32(r->words + 4 * r->position);
    r->position++;
    return word;
}

static inline bool claim(Reader *r, int64_t words, enum tag tag, Py_ssize_t at)
{
    if (words > r->room) {
        fault(r, at, "%s needs %lld more words, %zd are left", TAG_NAMES[tag], (long long)words, r->room);
        return false;
    }
    r->room -= (Py_ssize_t)words;
    return true;
}

static inline bool aux_at_most(Reader *r, uint32_t aux, uint32_t largest, enum tag tag, Py_ssize_t at)
{
    if (aux > largest) {
        fault(r, at, "aux of %s is %lu, which is above %lu,", TAG_NAMES[tag], (unsigned long)aux,
              (unsigned long)largest);
        return false;
    }
    return true;
}

static bool read_length(Reader *r, enum tag tag, uint32_t aux, Py_ssize_t at, int64_t *length)
{
    *length = aux;
    if (aux < LONG_FORM)
        return true;
    if (!claim(r, 1, tag, at))
        return false;
    uint32_t word = next_word(r);
    if (word < LONG_FORM) {
        fault(r, at, "the length %lu fits in aux of %s, found it in a word of its own", (unsigned long)word,
              TAG_NAMES[tag]);
        return false;
    }
    *length = word;
    return true;
}

static bool read_count(Reader *r, enum tag tag, uint32_t aux, Py_ssize_t at, int headers, Py_ssize_t *count)
{
    int64_t length;
    if (!read_length(r, tag, aux, at, &length) || !claim(r, headers * length, tag, at))
        return false;
    *count = (Py_ssize_t)length;
    return true;
}

static bool read_octets(Reader *r, enum tag tag, uint32_t aux, Py_ssize_t at, Span *span)
{
    int64_t length;
    if (!read_length(r, tag, aux, at, &length) || !claim(r, words_of(length), tag, at))
        return false;
    Py_ssize_t words = (Py_ssize_t)words_of(length);
    span->octets = r->words + 4 * r->position;
    span->size = (Py_ssize_t)length;
    r->position += words;
    if (span->size & 3) {
        uint32_t last = load32(span->octets + 4 * (words - 1));
        if (last >> (8 * (span->size & 3))) {
            fault(r, at, "expected zero padding after the bytes of %s", TAG_NAMES[tag]);
            return false;
        }
    }
    return true;
}

static PyObject *make_text(Reader *r, enum tag tag, Span span, Py_ssize_t at)
{
    PyObject *text = PyUnicode_DecodeUTF8((const char *)span.octets, span.size, NULL);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        fault(r, at, "the bytes of %s are not UTF-8", TAG_NAMES[tag]);
    }
    return text;
}

static PyObject *decode_text(Reader *r, enum tag tag, uint32_t aux, Py_ssize_t at)
{
    Span span;
    return read_octets(r, tag, aux, at, &span) ? make_text(r, tag, span, at) : NULL;
}

static PyObject *decode_int64(Reader *r, uint32_t aux, Py_ssize_t at)
{
    if (!aux_at_most(r, aux, 0, TAG_INT64, at) || !claim(r, 2, TAG_INT64, at))
        return NULL;
    uint64_t bits = load64(r->words + 4 * r->position);
    int64_t number;
    memcpy(&number, &bits, sizeof number);
    r->position += 2;
    if (number >= INT24_MIN && number <= INT24_MAX)
        return fault(r, at, "%lld fits in an Int, found an Int64", (long long)number);
    return PyLong_FromLongLong(number);
}

static PyObject *decode_number(Reader *r, uint32_t aux, Py_ssize_t at)
{
    if (!aux_at_most(r, aux, 0, TAG_NUMBER, at) || !claim(r, 2, TAG_NUMBER, at))
        return NULL;
    uint64_t bits = load64(r->words + 4 * r->position);
    double number;
    memcpy(&number, &bits, sizeof number);
    r->position += 2;
    if (is_nan_bits(bits) && bits != CANONICAL_NAN)
        return fault(r, at, "expected the canonical NaN, found another");
    return PyFloat_FromDouble(number);
}

static PyObject *decode_binary(Reader *r, uint32_t aux, Py_ssize_t at, enum tag tag)
{
    Span span;
    if (!read_octets(r, tag, aux, at, &span))
        return NULL;
    PyObject *binary = PyBytes_FromStringAndSize(NULL, span.size);
    if (binary == NULL)
        return NULL;
    take_large_pages(PyBytes_AS_STRING(binary), (size_t)span.size);
    memcpy(PyBytes_AS_STRING(binary), span.octets, (size_t)span.size);
    return binary;
}

/* An object of one of our classes. They are immutable, so their attributes are set below `__setattr__`. */
static PyObject *make_object(PyTypeObject *type, PyObject *name, PyObject *value)
{
    PyObject *object = type->tp_alloc(type, 0);
    if (object != NULL && PyObject_GenericSetAttr(object, name, value) < 0)
        Py_CLEAR(object);
    return object;
}

static PyObject *decode_ref(Reader *r, uint32_t aux, Py_ssize_t at)
{
    PyObject *id = decode_text(r, TAG_REF, aux, at);
    if (id == NULL)
        return NULL;
    PyObject *ref = make_object(r->state->ref_type, r->state->name_id, id);
    Py_DECREF(id);
    return ref;
}

static PyObject *decode_item(Reader *r, int depth)
{
    Py_ssize_t at = r->position;
    breathe(&r->ticks);
    PyObject *item = decode_value(r, depth);
    if (item != r->state->undef)
        return item;
    Py_DECREF(item);
    return fault(r, at, "undefined may not be stored in arrays, maps and cases");
}

static PyObject *decode_array(Reader *r, uint32_t aux, Py_ssize_t at, int depth)
{
    Py_ssize_t count;
    if (!read_count(r, TAG_ARRAY, aux, at, 1, &count))
        return NULL;
    PyObject *list = PyList_New(count);
    if (list == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = decode_item(r, depth + 1);
        if (item == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, item);
    }
    return list;
}

/* A String that is no value: a map key or a case name. */
static bool read_name(Reader *r, const char *what, Span *span)
{
    Py_ssize_t at = r->position;
    uint32_t header = next_word(r);
    if ((header & 0xFF) != TAG_STRING) {
        fault(r, at, "expected a String as %s, found tag %lu", what, (unsigned long)(header & 0xFF));
        return false;
    }
    return read_octets(r, TAG_STRING, header >> 8, at, span);
}

/* The str of a name: from the cache, if it was seen lately. */
static PyObject *make_name(Reader *r, Span span, Py_ssize_t at)
{
    if (span.size == 0 || span.size > KEY_SIZE_MAX)
        return make_text(r, TAG_STRING, span, at);
    uint32_t hash = 0;
    for (Py_ssize_t i = 0; i < words_of(span.size); i++) /* padding is zero, so whole words will do */
        hash = (hash ^ load32(span.octets + 4 * i)) * 0x9E3779B1u;
    PyObject **slot = &r->state->keys[(hash ^ hash >> 16) & (KEYS - 1)];
    if (*slot != NULL && PyUnicode_GET_LENGTH(*slot) == span.size &&
        memcmp(PyUnicode_1BYTE_DATA(*slot), span.octets, (size_t)span.size) == 0)
        return Py_NewRef(*slot);
    PyObject *text = make_text(r, TAG_STRING, span, at);
    if (text != NULL && PyUnicode_IS_COMPACT_ASCII(text))
        Py_XSETREF(*slot, Py_NewRef(text));
    return text;
}

static bool ascends(Span last, Span next)
{
    Py_ssize_t shorter = last.size < next.size ? last.size : next.size;
    int order = memcmp(last.octets, next.octets, (size_t)shorter);
    return order < 0 || (order == 0 && last.size < next.size);
}

static bool decode_entry(Reader *r, PyObject *dict, Span *last, int depth)
{
    Py_ssize_t at = r->position;
    Span span;
    if (!read_name(r, "map key", &span))
        return false;
    PyObject *key = make_name(r, span, at);
    if (key == NULL)
        return false;
    PyObject *value = NULL;
    bool done = false;
    if (last->octets != NULL && !ascends(*last, span))
        fault(r, at, "map keys must ascend strictly by their bytes");
    else
        value = decode_item(r, depth);
    if (value != NULL)
        done = PyDict_SetItem(dict, key, value) == 0;
    Py_DECREF(key);
    Py_XDECREF(value);
    *last = span;
    return done;
}

static PyObject *decode_map(Reader *r, uint32_t aux, Py_ssize_t at, int depth)
{
    Py_ssize_t count;
    if (!read_count(r, TAG_MAP, aux, at, 2, &count))
        return NULL;
    PyObject *dict = PyDict_New();
    Span last = {NULL, 0};
    for (Py_ssize_t i = 0; dict != NULL && i < count; i++) {
        if (!decode_entry(r, dict, &last, depth + 1))
            Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *decode_case(Reader *r, uint32_t aux, Py_ssize_t at, int depth)
{
    State *state = r->state;
    Span span;
    if (!aux_at_most(r, aux, 1, TAG_CASE, at) || !claim(r, 1 + (int64_t)aux, TAG_CASE, at))
        return NULL;
    at = r->position;
    PyObject *name = read_name(r, "case name", &span) ? make_name(r, span, at) : NULL;
    if (name == NULL)
        return NULL;
    PyObject *case_ = NULL;
    PyObject *arg = aux ? decode_item(r, depth + 1) : Py_NewRef(state->undef);
    if (arg != NULL) {
        case_ = make_object(state->case_type, state->name_name, name);
        if (case_ != NULL && PyObject_GenericSetAttr(case_, state->name_arg, arg) < 0)
            Py_CLEAR(case_);
        Py_DECREF(arg);
    }
    Py_DECREF(name);
    return case_;
}

static PyObject *decode_token(Reader *r, uint32_t aux, Py_ssize_t at)
{
    if (r->token == NULL)
        return fault(r, at, "a Token may not cross here");
    PyObject *handle = decode_binary(r, aux, at, TAG_TOKEN);
    if (handle == NULL)
        return NULL;
    PyObject *token = PyObject_CallOneArg(r->token, handle);
    Py_DECREF(handle);
    if (token == NULL || Py_TYPE(token) == r->state->token_type)
        return token;
    if (token == Py_None)
        fault(r, at, "a Token of this handle does not exist");
    else
        PyErr_Format(PyExc_TypeError, "the token hook of decode answers a Token or None, not %s",
                     Py_TYPE(token)->tp_name);
    Py_DECREF(token);
    return NULL;
}

static PyObject *decode_constant(Reader *r, PyObject *constant, uint32_t aux, enum tag tag, Py_ssize_t at)
{
    return aux_at_most(r, aux, 0, tag, at) ? Py_NewRef(constant) : NULL;
}

static PyObject *decode_value(Reader *r, int depth)
{
    Py_ssize_t at = r->position;
    if (depth > MAX_DEPTH)
        return fault(r, at, "nesting above %d", MAX_DEPTH);
    uint32_t header = next_word(r), aux = header >> 8;
    switch (header & 0xFF) {
    case TAG_UNDEF: return decode_constant(r, r->state->undef, aux, TAG_UNDEF, at);
    case TAG_NULL: return decode_constant(r, Py_None, aux, TAG_NULL, at);
    case TAG_BOOL: return aux_at_most(r, aux, 1, TAG_BOOL, at) ? PyBool_FromLong((long)aux) : NULL;
    case TAG_INT: return PyLong_FromLong((long)aux - (aux > INT24_MAX ? 1L << 24 : 0));
    case TAG_INT64: return decode_int64(r, aux, at);
    case TAG_NUMBER: return decode_number(r, aux, at);
    case TAG_STRING: return decode_text(r, TAG_STRING, aux, at);
    case TAG_REF: return decode_ref(r, aux, at);
    case TAG_BINARY: return decode_binary(r, aux, at, TAG_BINARY);
    case TAG_ARRAY: return decode_array(r, aux, at, depth);
    case TAG_MAP: return decode_map(r, aux, at, depth);
    case TAG_CASE: return decode_case(r, aux, at, depth);
    case TAG_TOKEN: return decode_token(r, aux, at);
    default: return fault(r, at, "unknown tag %lu", (unsigned long)(header & 0xFF));
    }
}

static PyObject *decode_buffer(Reader *r, const Py_buffer *view)
{
    if (view->len % 4)
        return fault(r, view->len / 4, "expected whole 32-bit words, found %zd bytes", view->len);
    if (view->len == 0)
        return fault(r, 0, "expected a value, found an empty buffer");
    r->words = view->buf;
    r->room = view->len / 4 - 1;
    PyObject *value = decode_value(r, 0);
    if (value == NULL || r->room == 0)
        return value;
    Py_DECREF(value);
    return fault(r, r->position, "expected the end, found %zd more words", r->room);
}

static PyObject *codec_decode(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Reader r = {.state = get_state(module)};
    Py_buffer view;
    if (parse_args(r.state, "decode", args, nargs, kwnames, &r.token) < 0)
        return NULL;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *value = decode_buffer(&r, &view);
    PyBuffer_Release(&view);
    return value;
}

/* ------------------------------------------------------------------------------------------------------- count */

/* Parts stand behind one another, so one walk over the headers sees every value, however deep. */
static PyObject *codec_count(PyObject *module, PyObject *buffer)
{
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    const uint8_t *words = view.buf;
    int64_t end = view.len / 4, at = 0;
    Py_ssize_t count = 0;
    Py_BEGIN_ALLOW_THREADS
    while (at < end) {
        uint32_t header = load32(words + 4 * at), tag = header & 0xFF;
        int64_t length = header >> 8;
        at++;
        count++;
        if (tag == TAG_INT64 || tag == TAG_NUMBER) {
            at += 2;
        } else if (tag >= TAG_STRING && tag <= TAG_TOKEN && tag != TAG_CASE) {
            if (length == LONG_FORM && at < end)
                length = load32(words + 4 * at++);
            if (tag != TAG_ARRAY && tag != TAG_MAP)
                at += words_of(length);
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(count);
}

/* -------------------------------------------------------------------------------------------------------- scan */

enum found { MARKED = 1, LINKED = 2, SPECIAL = 4, GUARDED = 8, INVALID = 16 };

static int scan_value(State *state, PyObject *value, int depth);

static int scan_text(PyObject *text)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    if (PyUnicode_IS_ASCII(text) || PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND)
        return 0;
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t i = 0; i < length; i++) {
        if ((PyUnicode_READ(kind, data, i) & 0xFFFFF800u) == 0xD800)
            return INVALID;
    }
    return 0;
}

static bool is_mark(PyObject *key)
{
    return PyUnicode_GET_LENGTH(key) == 9 && PyUnicode_IS_ASCII(key) &&
           memcmp(PyUnicode_1BYTE_DATA(key), "_rmx_type", 9) == 0;
}

static int scan_map(State *state, PyObject *dict, int depth)
{
    int found = 0;
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (!(found & INVALID) && PyDict_Next(dict, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key) || value == state->undef)
            return INVALID;
        found |= scan_text(key) | (is_mark(key) ? MARKED : 0) | scan_value(state, value, depth + 1);
    }
    return found;
}

static int scan_list(State *state, PyObject *list, int depth)
{
    int found = 0;
    for (Py_ssize_t i = 0; !(found & INVALID) && i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        found |= item == state->undef ? INVALID : scan_value(state, item, depth + 1);
    }
    return found;
}

static int scan_ref(State *state, PyObject *ref)
{
    PyObject *id = PyObject_GenericGetAttr(ref, state->name_id);
    int found = id != NULL && PyUnicode_CheckExact(id) ? LINKED | scan_text(id) : INVALID;
    Py_XDECREF(id);
    return found;
}

static int scan_case(State *state, PyObject *case_, int depth)
{
    int found = INVALID;
    PyObject *name = PyObject_GenericGetAttr(case_, state->name_name);
    PyObject *arg = name == NULL ? NULL : PyObject_GenericGetAttr(case_, state->name_arg);
    if (arg != NULL && PyUnicode_CheckExact(name)) {
        found = scan_text(name);
        found |= PyUnicode_CompareWithASCIIString(name, "db.ref") == 0 ? SPECIAL : LINKED;
        if (arg != state->undef)
            found |= scan_value(state, arg, depth + 1);
    }
    Py_XDECREF(name);
    Py_XDECREF(arg);
    return found;
}

static int scan_int(PyObject *value)
{
    int overflow;
    (void)PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow ? INVALID : 0;
}

static int scan_value(State *state, PyObject *value, int depth)
{
    PyTypeObject *type = Py_TYPE(value);
    if (depth > MAX_DEPTH)
        return INVALID;
    if (type == &PyUnicode_Type)
        return scan_text(value);
    if (type == &PyLong_Type)
        return scan_int(value);
    if (type == &PyFloat_Type)
        return Py_IS_FINITE(PyFloat_AS_DOUBLE(value)) ? 0 : SPECIAL;
    if (type == &PyDict_Type)
        return scan_map(state, value, depth);
    if (type == &PyList_Type)
        return scan_list(state, value, depth);
    if (type == &PyBool_Type || value == Py_None)
        return 0;
    if (type == &PyBytes_Type)
        return (uint64_t)PyBytes_GET_SIZE(value) > UINT32_MAX ? INVALID : SPECIAL;
    if (type == state->ref_type)
        return scan_ref(state, value);
    if (type == state->case_type)
        return scan_case(state, value, depth);
    if (type == state->token_type || value == state->undef)
        return GUARDED;
    return INVALID;
}

static PyObject *codec_scan(PyObject *module, PyObject *value)
{
    int found = scan_value(get_state(module), value, 0);
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromLong(found & INVALID ? INVALID : found);
}

/* ------------------------------------------------------------------------------------------------------ module */

/* Sets *target to module.name, a new reference. */
#define MUCH (4 << 20) /* bytes: to copy less is not worth letting other threads run */

/* As b"".join, for much: its pages come as large ones, and others run meanwhile. */
static PyObject *codec_joined(PyObject *module, PyObject *parts)
{
    (void)module;
    PyObject *items = PySequence_Tuple(parts), *whole = NULL;
    Py_ssize_t size = 0;
    if (items == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (!PyBytes_Check(item)) {
            PyErr_Format(PyExc_TypeError, "expected bytes, found %.100s", Py_TYPE(item)->tp_name);
            goto done;
        }
        if (PyBytes_GET_SIZE(item) > PY_SSIZE_T_MAX / 2 - size) {
            PyErr_NoMemory();
            goto done;
        }
        size += PyBytes_GET_SIZE(item);
    }
    whole = PyBytes_FromStringAndSize(NULL, size);
    if (whole != NULL) {
        char *to = PyBytes_AS_STRING(whole);
        take_large_pages(to, (size_t)size);
        PyThreadState *thread = size > MUCH ? PyEval_SaveThread() : NULL;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
            PyObject *item = PyTuple_GET_ITEM(items, i);
            memcpy(to, PyBytes_AS_STRING(item), (size_t)PyBytes_GET_SIZE(item));
            to += PyBytes_GET_SIZE(item);
        }
        if (thread != NULL)
            PyEval_RestoreThread(thread);
    }
done:
    Py_DECREF(items);
    return whole;
}

static int import_name(const char *module_name, const char *name, void *target)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL)
        return -1;
    *(PyObject **)target = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return *(PyObject **)target == NULL ? -1 : 0;
}

static int module_exec(PyObject *module)
{
    State *state = get_state(module);
    if (same_depth("mixkit._codec") < 0 || import_name("mixkit.value", "UNDEF", &state->undef) < 0 ||
        import_name("mixkit.value", "Ref", &state->ref_type) < 0 ||
        import_name("mixkit.value", "Case", &state->case_type) < 0 ||
        import_name("mixkit.value", "Token", &state->token_type) < 0 ||
        import_name("mixkit.errors", "CodecError", &state->codec_error) < 0 ||
        import_name("mixkit._codec_py", "refuse", &state->refuse) < 0)
        return -1;
    state->name_id = PyUnicode_InternFromString("id");
    state->name_name = PyUnicode_InternFromString("name");
    state->name_arg = PyUnicode_InternFromString("arg");
    state->name_token = PyUnicode_InternFromString("token");
    return state->name_id && state->name_name && state->name_arg && state->name_token ? 0 : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = get_state(module);
    Py_VISIT(state->undef);
    Py_VISIT(state->ref_type);
    Py_VISIT(state->case_type);
    Py_VISIT(state->token_type);
    Py_VISIT(state->codec_error);
    Py_VISIT(state->refuse);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = get_state(module);
    Py_CLEAR(state->undef);
    Py_CLEAR(state->ref_type);
    Py_CLEAR(state->case_type);
    Py_CLEAR(state->token_type);
    Py_CLEAR(state->codec_error);
    Py_CLEAR(state->refuse);
    Py_CLEAR(state->name_id);
    Py_CLEAR(state->name_name);
    Py_CLEAR(state->name_arg);
    Py_CLEAR(state->name_token);
    for (int i = 0; i < KEYS; i++)
        Py_CLEAR(state->keys[i]);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyMethodDef methods[] = {
    {"encode", (PyCFunction)(void (*)(void))codec_encode, METH_FASTCALL | METH_KEYWORDS,
     "encode($module, value, /, *, token=None)\n--\n\nThe canonical words of a value; see mixkit._codec_py.encode."},
    {"decode", (PyCFunction)(void (*)(void))codec_decode, METH_FASTCALL | METH_KEYWORDS,
     "decode($module, buffer, /, *, token=None)\n--\n\nThe value of a buffer; see mixkit._codec_py.decode."},
    {"count", codec_count, METH_O,
     "count($module, buffer, /)\n--\n\nHow many values a buffer holds; see mixkit._codec_py.count."},
    {"joined", codec_joined, METH_O, "joined($module, parts, /)\n--\n\nOne bytes of many; see mixkit.octets.joined."},
    {"scan", codec_scan, METH_O,
     "scan($module, value, /)\n--\n\nWhat a tree contains beyond plain JSON; see mixkit._codec_py.scan."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mixkit._codec",
    .m_doc = "The u32 codec in C.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__codec(void) { return PyModuleDef_Init(&definition); }
