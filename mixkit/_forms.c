/* The three forms of a value, and the walks that turn one into another without making Python objects.
 *
 * JSON text (tagged or plain), MessagePack, and codec words; all three are described in docs/values.md. A walk reads one
 * form and tells a `Sink` what it finds, which writes another (MessagePack only from words, which say first how many
 * items follow). Whatever is not both valid and common is not judged here:
 * the walk gives up, `translate` and `rows` answer None, and mixkit/forms.py goes by way of Python values, which finds the
 * same result, or the error and its path.
 */
#include "_words.h"

#define SORTED_BY_HAND 24 /* keys of a map at most whose order is remembered for the next map of as many */

#define STEP 32

/* Types of extensions of MessagePack. */
#define EXT_REF 1
#define EXT_CASE 2

enum form { JSON_TAGGED, JSON_PLAIN, WORDS, PACKED };

typedef struct {
    const uint8_t *at;
    Py_ssize_t size;
} Span;

static const char MARK[] = "_rmx_type", VALUE[] = "_rmx_value", TAG[] = "{tag}", ESCAPE[] = "{str}", CASE_TAG[] = "{tag}case:",
                  REF_NAME[] = "db.ref";

#define IS(span, text) ((span).size == sizeof(text) - 1 && memcmp((span).at, text, sizeof(text) - 1) == 0)
#define STARTS(span, text) ((span).size >= (Py_ssize_t)sizeof(text) - 1 && memcmp((span).at, text, sizeof(text) - 1) == 0)

/* A mark that would be read as one of ours. */
static bool is_special(Span text) { return STARTS(text, TAG) || STARTS(text, ESCAPE); }

/* ------------------------------------------------------------------------------------------------------- bytes */

static inline uint64_t load_big(const uint8_t *p, int bytes)
{
    uint64_t number = 0;
    if (bytes == 8) /* compilers make one load of it */
        return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
               (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | p[7];
    for (int i = 0; i < bytes; i++)
        number = number << 8 | p[i];
    return number;
}

static inline double double_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* Whether it is UTF-8 without surrogates, overlong forms, and what lies beyond U+10FFFF (RFC 3629, 4). */
static bool is_utf8(const uint8_t *p, Py_ssize_t size)
{
    const uint8_t *end = p + size;
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8 && (memcpy(&eight, p, 8), (eight & UINT64_C(0x8080808080808080)) == 0)) {
            p += 8;
            continue;
        }
        uint8_t first = *p++;
        if (first < 0x80)
            continue;
        int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || end - p < more)
            return false;
        uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (p[0] < least || p[0] > most)
            return false;
        for (int i = 1; i < more; i++) {
            if ((p[i] & 0xC0) != 0x80)
                return false;
        }
        p += more;
    }
    return true;
}

/* The first eight bytes as a number, zeros behind a text that is shorter. */
static inline uint64_t head_of(Span text)
{
    if (text.size >= 8)
        return load_big(text.at, 8);
    return text.size == 0 ? 0 : load_big(text.at, (int)text.size) << (64 - 8 * text.size);
}

static int compare_spans(const void *left, const void *right)
{
    const Span *a = left, *b = right;
    int order = memcmp(a->at, b->at, (size_t)(a->size < b->size ? a->size : b->size));
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* -------------------------------------------------------------------------------------------------------- sink */

/* A map entry of words: where its key and all of it stand in what is written. */
typedef struct {
    Py_ssize_t key, key_size, start, end;
    uint64_t head; /* the first bytes of the key as a number: keys are in the order of these, where they differ */
} Entry;

/* The order of the keys of a map, by their places in it. */
typedef uint8_t Order[SORTED_BY_HAND];

typedef struct {
    enum form form;
    PyObject *bytes;
    Py_ssize_t size;
    Entry *entries; /* stack of the maps under way */
    Py_ssize_t used, capacity;
    bool marked; /* JSON: the next value is that of the key `_rmx_type` */
    bool in_case; /* PACKED: what is written is the content of a case */
    unsigned ticks;
    uint8_t *scratch;
    Py_ssize_t scratch_size;
    Order orders[SORTED_BY_HAND + 1]; /* by the number of keys, that of the last map: records of a kind have one */
} Sink;

/* Everything below answers 0, or -1: with an exception set it is raised, without one the walk gives up. */

static inline uint8_t *reserve(Sink *sink, Py_ssize_t bytes)
{
    if (bytes > PyBytes_GET_SIZE(sink->bytes) - sink->size) {
        if (bytes > PY_SSIZE_T_MAX / 4 - sink->size) {
            PyErr_NoMemory();
            return NULL;
        }
        Py_ssize_t wanted = (sink->size + bytes) + (sink->size + bytes) / 2;
        if (_PyBytes_Resize(&sink->bytes, wanted) < 0)
            return NULL;
    }
    uint8_t *p = (uint8_t *)PyBytes_AS_STRING(sink->bytes) + sink->size;
    sink->size += bytes;
    return p;
}

static inline int put(Sink *sink, const void *octets, Py_ssize_t size)
{
    uint8_t *p = reserve(sink, size);
    if (p == NULL)
        return -1;
    memcpy(p, octets, (size_t)size);
    return 0;
}

#define PUT(sink, text) put(sink, text, (Py_ssize_t)sizeof(text) - 1)

static int put_word(Sink *sink, enum tag tag, uint32_t aux)
{
    uint8_t *p = reserve(sink, 4);
    if (p == NULL)
        return -1;
    store32(p, (uint32_t)tag | aux << 8);
    return 0;
}

static int put_pair(Sink *sink, enum tag tag, uint64_t bits)
{
    uint8_t *p = reserve(sink, 12);
    if (p == NULL)
        return -1;
    store32(p, (uint32_t)tag);
    store32(p + 4, (uint32_t)bits);
    store32(p + 8, (uint32_t)(bits >> 32));
    return 0;
}

static int put_octets(Sink *sink, enum tag tag, Span octets)
{
    if (octets.size >= (Py_ssize_t)LONG_FORM)
        return -1;
    Py_ssize_t words = (Py_ssize_t)words_of(octets.size);
    uint8_t *p = reserve(sink, 4 + 4 * words);
    if (p == NULL)
        return -1;
    store32(p, (uint32_t)tag | (uint32_t)octets.size << 8);
    if (words > 0) {
        store32(p + 4 * words, 0);
        memcpy(p + 4, octets.at, (size_t)octets.size);
    }
    return 0;
}

/* Copies text; whether it is ASCII. */
static inline bool copy_text(uint8_t *out, Span text)
{
    uint64_t all = 0, eight;
    if (text.size < 8) {
        for (Py_ssize_t i = 0; i < text.size; i++)
            all |= out[i] = text.at[i];
        return all < 0x80;
    }
    for (Py_ssize_t i = 0; i < text.size - 8; i += 8) {
        memcpy(&eight, text.at + i, 8);
        memcpy(out + i, &eight, 8);
        all |= eight;
    }
    memcpy(&eight, text.at + text.size - 8, 8);
    memcpy(out + text.size - 8, &eight, 8);
    return ((all | eight) & UINT64_C(0x8080808080808080)) == 0;
}

/* Text of a walk may be no UTF-8; then the walk gives up. */
static inline int put_text(Sink *sink, enum tag tag, Span text)
{
    if (text.size >= (Py_ssize_t)LONG_FORM)
        return -1;
    Py_ssize_t words = (Py_ssize_t)words_of(text.size);
    uint8_t *p = reserve(sink, 4 + 4 * words);
    if (p == NULL)
        return -1;
    store32(p, (uint32_t)tag | (uint32_t)text.size << 8);
    if (words > 0)
        store32(p + 4 * words, 0);
    return copy_text(p + 4, text) || is_utf8(text.at, text.size) ? 0 : -1;
}

/* What a byte needs in a JSON string: 0 as it is, a letter after a backslash, 1 as \u00xx. */
static uint8_t ESCAPES[256];

/* The digits of the numbers below a hundred. */
static char PAIRS[100][2];

static void fill_tables(void)
{
    for (int i = 0; i < 100; i++)
        PAIRS[i][0] = (char)('0' + i / 10), PAIRS[i][1] = (char)('0' + i % 10);
    memset(ESCAPES, 1, 32);
    ESCAPES['\b'] = 'b', ESCAPES['\f'] = 'f', ESCAPES['\n'] = 'n', ESCAPES['\r'] = 'r', ESCAPES['\t'] = 't';
    ESCAPES['"'] = '"', ESCAPES['\\'] = '\\';
}

/* How many bytes from the start need no escape. */
static Py_ssize_t plain_bytes(Span text)
{
    Py_ssize_t i = 0;
    for (uint64_t eight; i + 8 <= text.size; i += 8) {
        const uint64_t ONES = UINT64_C(0x0101010101010101), TOPS = UINT64_C(0x8080808080808080);
        memcpy(&eight, text.at + i, 8);
        uint64_t quote = eight ^ ('"' * ONES), slash = eight ^ ('\\' * ONES);
        /* The top bit of each byte that is a control character, a quote, or a backslash (and of none below such a one). */
        if ((((eight - 0x20 * ONES) | (quote - ONES) | (slash - ONES)) & ~eight & TOPS) != 0)
            break;
    }
    while (i < text.size && ESCAPES[text.at[i]] == 0)
        i++;
    return i;
}

static int put_escaped(Sink *sink, Span text)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (;;) {
        Py_ssize_t plain = plain_bytes(text);
        if (put(sink, text.at, plain) < 0)
            return -1;
        if (plain == text.size)
            return 0;
        uint8_t byte = text.at[plain], escape = ESCAPES[byte];
        text = (Span){text.at + plain + 1, text.size - plain - 1};
        char long_one[] = {'\\', 'u', '0', '0', DIGITS[byte >> 4], DIGITS[byte & 15]};
        char short_one[] = {'\\', (char)escape};
        if (escape == 1 ? put(sink, long_one, 6) : put(sink, short_one, 2))
            return -1;
    }
}

/* Copies text if it is ASCII that needs no escape; where it is not, part of it may be copied. */
static inline bool copy_plain(uint8_t *out, Span text)
{
    const uint64_t ONES = UINT64_C(0x0101010101010101), TOPS = UINT64_C(0x8080808080808080);
    uint64_t odd = 0;
    for (Py_ssize_t i = 0; i < text.size && odd == 0; i += 8) {
        uint64_t eight;
        if (i + 8 > text.size) {
            if (text.size < 8) {
                for (; i < text.size && text.at[i] < 0x80 && ESCAPES[text.at[i]] == 0; i++)
                    out[i] = text.at[i];
                return i == text.size;
            }
            i = text.size - 8;
        }
        memcpy(&eight, text.at + i, 8);
        memcpy(out + i, &eight, 8);
        uint64_t quote = eight ^ ('"' * ONES), slash = eight ^ ('\\' * ONES);
        odd = (eight | (eight - 0x20 * ONES) | (quote - ONES) | (slash - ONES)) & TOPS;
    }
    return odd == 0;
}

/* Text of a walk may be no UTF-8; then the walk gives up. */
static int put_quoted(Sink *sink, Span text)
{
    uint8_t *p = reserve(sink, text.size + 2);
    if (p == NULL)
        return -1;
    p[0] = '"';
    if (copy_plain(p + 1, text)) {
        p[text.size + 1] = '"';
        return 0;
    }
    sink->size -= text.size + 1;
    return !is_utf8(text.at, text.size) || put_escaped(sink, text) < 0 || PUT(sink, "\"") < 0 ? -1 : 0;
}

/* A number with at most six decimals, as prices and measures have: no other number of 15 digits or less is read as the same
 * double, so these are its shortest digits. Answers their end, or NULL for all other numbers. */
static char *write_decimal(char *out, double number)
{
    double size = number < 0 ? -number : number;
    if (!(size >= 1e-3 && size < 1e9))
        return NULL;
    int64_t millionths = (int64_t)(size * 1e6 + 0.5);
    if ((double)millionths / 1e6 != size)
        return NULL;
    int64_t whole = millionths / 1000000;
    uint32_t rest = (uint32_t)(millionths % 1000000);
    char digits[6], before[16], *p = before + sizeof before;
    if (number < 0)
        *out++ = '-';
    do {
        *--p = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole > 0);
    memcpy(out, p, (size_t)(before + sizeof before - p));
    out += before + sizeof before - p;
    *out++ = '.';
    memcpy(digits, PAIRS[rest / 10000], 2);
    memcpy(digits + 2, PAIRS[rest / 100 % 100], 2);
    memcpy(digits + 4, PAIRS[rest % 100], 2);
    int places = 6;
    while (places > 1 && digits[places - 1] == '0')
        places--;
    memcpy(out, digits, 6);
    return out + places;
}

/* As msgspec writes it: the shortest digits, with an exponent below 1e-5 and from 1e16 on. */
static int put_double(Sink *sink, double number)
{
    char quick[32], *quick_end = write_decimal(quick, number);
    if (quick_end != NULL)
        return put(sink, quick, quick_end - quick);
    char *text = PyOS_double_to_string(number, 'r', 0, 0, NULL);
    if (text == NULL)
        return -1;
    char digits[32], out[64];
    int count = 0, point = -1, exponent = 0;
    char *p = text, *o = out;
    if (*p == '-')
        *o++ = *p++;
    for (; *p != '\0' && *p != 'e'; p++) {
        if (*p == '.')
            point = count;
        else if (count < 31)
            digits[count++] = *p;
    }
    if (*p == 'e')
        exponent = atoi(p + 1);
    PyMem_Free(text);
    int scale = (point < 0 ? count : point) + exponent; /* digits before the point */
    int zeros = 0;
    while (zeros < count - 1 && digits[zeros] == '0')
        zeros++;
    scale -= zeros;
    count -= zeros;
    char *significant = digits + zeros;
    while (count > 1 && significant[count - 1] == '0')
        count--;
    if (count == 1 && significant[0] == '0') {
        o += sprintf(o, "0.0");
    } else if (0 < scale && scale <= 16) {
        for (int i = 0; i < scale || i < count; i++) {
            if (i == scale)
                *o++ = '.';
            *o++ = i < count ? significant[i] : '0';
        }
        if (count <= scale)
            o += sprintf(o, ".0");
    } else if (-5 < scale && scale <= 0) {
        o += sprintf(o, "0.");
        for (int i = scale; i < 0; i++)
            *o++ = '0';
        memcpy(o, significant, (size_t)count);
        o += count;
    } else {
        *o++ = significant[0];
        if (count > 1) {
            *o++ = '.';
            memcpy(o, significant + 1, (size_t)count - 1);
            o += count - 1;
        }
        o += sprintf(o, "e%d", scale - 1);
    }
    return put(sink, out, o - out);
}

static int put_int(Sink *sink, int64_t number)
{
    char text[24], *p = text + sizeof text;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    for (; left >= 100; left /= 100) {
        p -= 2;
        memcpy(p, PAIRS[left % 100], 2);
    }
    if (left >= 10) {
        p -= 2;
        memcpy(p, PAIRS[left], 2);
    } else {
        *--p = (char)('0' + left);
    }
    if (number < 0)
        *--p = '-';
    return put(sink, p, text + sizeof text - p);
}

static int put_base64(Sink *sink, Span octets)
{
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (octets.size >= (Py_ssize_t)LONG_FORM)
        return -1;
    uint8_t *p = reserve(sink, (octets.size + 2) / 3 * 4);
    if (p == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < octets.size; i += 3) {
        Py_ssize_t left = octets.size - i;
        uint32_t three = (uint32_t)octets.at[i] << 16 | (left > 1 ? (uint32_t)octets.at[i + 1] << 8 : 0) |
                         (left > 2 ? octets.at[i + 2] : 0);
        *p++ = (uint8_t)LETTERS[three >> 18];
        *p++ = (uint8_t)LETTERS[three >> 12 & 63];
        *p++ = left > 1 ? (uint8_t)LETTERS[three >> 6 & 63] : '=';
        *p++ = left > 2 ? (uint8_t)LETTERS[three & 63] : '=';
    }
    return 0;
}

/* -- MessagePack, as msgpack of Python writes it: each number and length in the fewest bytes. */

static int put_packed(Sink *sink, uint8_t head, uint64_t number, int bytes)
{
    uint8_t *p = reserve(sink, 1 + bytes);
    if (p == NULL)
        return -1;
    *p++ = head;
    while (bytes > 0)
        *p++ = (uint8_t)(number >> 8 * --bytes);
    return 0;
}

static int put_packed_int(Sink *sink, int64_t number)
{
    uint64_t bits = (uint64_t)number;
    if (number >= -32 && number < 128)
        return put_packed(sink, (uint8_t)bits, 0, 0);
    if (number >= 0)
        return bits <= UINT8_MAX    ? put_packed(sink, 0xCC, bits, 1)
               : bits <= UINT16_MAX ? put_packed(sink, 0xCD, bits, 2)
               : bits <= UINT32_MAX ? put_packed(sink, 0xCE, bits, 4)
                                    : put_packed(sink, 0xCF, bits, 8);
    return number >= INT8_MIN    ? put_packed(sink, 0xD0, bits, 1)
           : number >= INT16_MIN ? put_packed(sink, 0xD1, bits, 2)
           : number >= INT32_MIN ? put_packed(sink, 0xD2, bits, 4)
                                 : put_packed(sink, 0xD3, bits, 8);
}

/* A length in one byte, two or four behind `head`, or the next ones; lengths are below 2^24. */
static int put_packed_length(Sink *sink, uint8_t head, Py_ssize_t length)
{
    int power = length <= UINT8_MAX ? 0 : length <= UINT16_MAX ? 1 : 2;
    return put_packed(sink, (uint8_t)(head + power), (uint64_t)length, 1 << power);
}

static int put_packed_text(Sink *sink, Span text)
{
    int failed = text.size < 32 ? put_packed(sink, (uint8_t)(0xA0 | text.size), 0, 0)
                                : put_packed_length(sink, 0xD9, text.size);
    uint8_t *p = failed ? NULL : reserve(sink, text.size);
    return p != NULL && (copy_text(p, text) || is_utf8(text.at, text.size)) ? 0 : -1;
}

/* What stands before the content of an extension. */
static int put_packed_ext(Sink *sink, uint8_t type, Py_ssize_t size)
{
    for (int power = 0; power <= 4; power++)
        if (size == 1 << power)
            return put_packed(sink, (uint8_t)(0xD4 + power), type, 1);
    return put_packed_length(sink, 0xC7, size) < 0 ? -1 : put(sink, &type, 1);
}

static int put_packed_ref(Sink *sink, Span id)
{
    uint8_t *p = put_packed_ext(sink, EXT_REF, id.size) < 0 ? NULL : reserve(sink, id.size);
    return p != NULL && (copy_text(p, id) || is_utf8(id.at, id.size)) ? 0 : -1;
}

/* The size of a case stands before it and is known behind it: what was written from `at` on is moved. A case in a case,
 * which would be moved again and again, is for others. */
static int put_packed_case(Sink *sink, Py_ssize_t at)
{
    Py_ssize_t size = sink->size - at;
    sink->in_case = false;
    if (size >= (Py_ssize_t)LONG_FORM || put_packed_ext(sink, EXT_CASE, size) < 0)
        return -1;
    uint8_t head[8], *all = (uint8_t *)PyBytes_AS_STRING(sink->bytes) + at;
    Py_ssize_t head_size = sink->size - at - size;
    memcpy(head, all + size, (size_t)head_size);
    memmove(all + head_size, all, (size_t)size);
    memcpy(all, head, (size_t)head_size);
    return 0;
}

static int put_packed_container(Sink *sink, enum tag tag, Py_ssize_t count)
{
    if (count < 16)
        return put_packed(sink, (uint8_t)((tag == TAG_MAP ? 0x80 : 0x90) | count), 0, 0);
    int power = count <= UINT16_MAX ? 0 : 1;
    return put_packed(sink, (uint8_t)((tag == TAG_MAP ? 0xDE : 0xDC) + power), (uint64_t)count, 2 << power);
}

/* -- what a walk tells a sink. Whether text is UTF-8 the sink finds out, which has to look at it anyway. */

static int sink_constant(Sink *sink, enum tag tag, bool truth)
{
    sink->marked = false;
    if (sink->form == WORDS)
        return put_word(sink, tag, tag == TAG_BOOL && truth);
    if (sink->form == PACKED)
        return put_packed(sink, tag == TAG_NULL ? 0xC0 : truth ? 0xC3 : 0xC2, 0, 0);
    if (tag == TAG_NULL)
        return PUT(sink, "null");
    return truth ? PUT(sink, "true") : PUT(sink, "false");
}

static int sink_int(Sink *sink, int64_t number)
{
    sink->marked = false;
    if (sink->form == PACKED)
        return put_packed_int(sink, number);
    if (sink->form != WORDS)
        return put_int(sink, number);
    if (number >= INT24_MIN && number <= INT24_MAX)
        return put_word(sink, TAG_INT, (uint32_t)number & 0xFFFFFFu);
    return put_pair(sink, TAG_INT64, (uint64_t)number);
}

static int sink_number(Sink *sink, double number)
{
    sink->marked = false;
    if (sink->form == WORDS)
        return put_pair(sink, TAG_NUMBER, number != number ? CANONICAL_NAN : bits_of(number));
    if (sink->form == PACKED)
        return put_packed(sink, 0xCB, bits_of(number), 8);
    if (number - number == 0)
        return put_double(sink, number);
    if (sink->form == JSON_PLAIN)
        return -1;
    if (number != number)
        return PUT(sink, "{\"_rmx_type\":\"{tag}nan\"}");
    return number > 0 ? PUT(sink, "{\"_rmx_type\":\"{tag}posinf\"}") : PUT(sink, "{\"_rmx_type\":\"{tag}neginf\"}");
}

static int sink_string(Sink *sink, Span text)
{
    bool marked = sink->marked;
    sink->marked = false;
    if (sink->form == WORDS)
        return put_text(sink, TAG_STRING, text);
    if (sink->form == PACKED)
        return put_packed_text(sink, text);
    if (!marked || !is_special(text))
        return put_quoted(sink, text);
    if (!is_utf8(text.at, text.size))
        return -1;
    return PUT(sink, "\"{str}") < 0 || put_escaped(sink, text) < 0 || PUT(sink, "\"") < 0 ? -1 : 0;
}

static int sink_ref(Sink *sink, Span id)
{
    sink->marked = false;
    if (sink->form == WORDS)
        return put_text(sink, TAG_REF, id);
    if (sink->form == PACKED)
        return put_packed_ref(sink, id);
    if (sink->form == JSON_PLAIN)
        return -1;
    return PUT(sink, "{\"_rmx_type\":\"{tag}case:db.ref\",\"_rmx_value\":") < 0 || put_quoted(sink, id) < 0 ||
                   PUT(sink, "}") < 0
               ? -1
               : 0;
}

static int sink_binary(Sink *sink, Span octets)
{
    sink->marked = false;
    if (sink->form == WORDS)
        return put_octets(sink, TAG_BINARY, octets);
    if (sink->form == PACKED)
        return put_packed_length(sink, 0xC4, octets.size) < 0 ? -1 : put(sink, octets.at, octets.size);
    if (sink->form == JSON_PLAIN)
        return -1;
    return PUT(sink, "{\"_rmx_type\":\"{tag}bin\",\"_rmx_value\":\"") < 0 || put_base64(sink, octets) < 0 ||
                   PUT(sink, "\"}") < 0
               ? -1
               : 0;
}

/* The argument, if there is one, is told next, then `sink_case_end`. */
static int sink_case(Sink *sink, Span name, bool has_arg)
{
    sink->marked = false;
    if (sink->form == WORDS)
        return put_word(sink, TAG_CASE, has_arg) < 0 ? -1 : put_text(sink, TAG_STRING, name);
    if (sink->form == PACKED) {
        if (sink->in_case)
            return -1;
        sink->in_case = true;
        return put_packed(sink, has_arg ? 0x92 : 0x91, 0, 0) < 0 ? -1 : put_packed_text(sink, name);
    }
    if (sink->form == JSON_PLAIN || IS(name, REF_NAME) || !is_utf8(name.at, name.size))
        return -1;
    if (PUT(sink, "{\"_rmx_type\":\"{tag}case:") < 0 || put_escaped(sink, name) < 0 || PUT(sink, "\"") < 0)
        return -1;
    return has_arg ? PUT(sink, ",\"_rmx_value\":") : 0;
}

/* The end of a case that began at `at`. */
static int sink_case_end(Sink *sink, Py_ssize_t at)
{
    if (sink->form == PACKED)
        return put_packed_case(sink, at);
    return sink->form == WORDS ? 0 : PUT(sink, "}");
}

/* Answers where the container begins, for its end; -1 on failure. `count` need not be known but for MessagePack. */
static Py_ssize_t sink_begin(Sink *sink, enum tag tag, Py_ssize_t count)
{
    Py_ssize_t at = sink->size;
    sink->marked = false;
    if (sink->form == PACKED)
        return put_packed_container(sink, tag, count) < 0 ? -1 : at;
    if (sink->form == WORDS)
        return put_word(sink, tag, 0) < 0 ? -1 : at;
    return (tag == TAG_MAP ? PUT(sink, "{") : PUT(sink, "[")) < 0 ? -1 : at;
}

/* Before each item of an array. */
static int sink_item(Sink *sink, Py_ssize_t index)
{
    breathe(&sink->ticks);
    return sink->form < WORDS && index > 0 ? PUT(sink, ",") : 0;
}

static int sink_array_end(Sink *sink, Py_ssize_t at, Py_ssize_t count)
{
    if (sink->form == PACKED)
        return 0;
    if (sink->form != WORDS)
        return PUT(sink, "]");
    if (count >= (Py_ssize_t)LONG_FORM)
        return -1;
    store32((uint8_t *)PyBytes_AS_STRING(sink->bytes) + at, TAG_ARRAY | (uint32_t)count << 8);
    return 0;
}

static Span key_of(const Sink *sink, const Entry *entry)
{
    return (Span){(const uint8_t *)PyBytes_AS_STRING(sink->bytes) + entry->key, entry->key_size};
}

/* A key of JSON and the colon behind it. The escaped key stands for the key: two are the same if these are. */
static int put_key(Sink *sink, Entry *entry, bool comma, Span key)
{
    uint8_t *p = reserve(sink, key.size + 3 + comma);
    if (p == NULL)
        return -1;
    if (comma)
        *p++ = ',';
    *p++ = '"';
    entry->key = sink->size - key.size - 2;
    sink->marked = sink->form == JSON_TAGGED && IS(key, MARK);
    if (copy_plain(p, key)) {
        p[key.size] = '"';
        p[key.size + 1] = ':';
        entry->key_size = key.size;
        entry->head = head_of(key);
        return 0;
    }
    sink->size = entry->key;
    if (!is_utf8(key.at, key.size) || put_escaped(sink, key) < 0)
        return -1;
    entry->key_size = sink->size - entry->key;
    entry->head = head_of(key_of(sink, entry));
    return PUT(sink, "\":");
}

static int sink_key(Sink *sink, Py_ssize_t index, Span key)
{
    breathe(&sink->ticks);
    if (sink->used == sink->capacity) {
        Py_ssize_t capacity = sink->capacity == 0 ? 32 : sink->capacity * 2;
        Entry *entries = PyMem_Resize(sink->entries, Entry, (size_t)capacity);
        if (entries == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        sink->entries = entries;
        sink->capacity = capacity;
    }
    Entry *entry = &sink->entries[sink->used++];
    if (sink->form == WORDS) {
        entry->start = sink->size;
        entry->key = sink->size + 4;
        entry->key_size = key.size;
        entry->head = head_of(key);
        return put_text(sink, TAG_STRING, key);
    }
    if (sink->form == PACKED)
        return put_packed_text(sink, key);
    return put_key(sink, entry, index > 0, key);
}

static int compare_entries(const Sink *sink, const Entry *left, const Entry *right)
{
    if (left->head != right->head)
        return left->head < right->head ? -1 : 1;
    Span a = key_of(sink, left), b = key_of(sink, right);
    return compare_spans(&a, &b);
}

/* Whether the keys ascend strictly, as they are, or in an order. */
static bool ascending(const Sink *sink, const Entry *entries, Py_ssize_t count, const uint8_t *order)
{
    for (Py_ssize_t i = 1; i < count; i++) {
        if (compare_entries(sink, &entries[order ? order[i - 1] : i - 1], &entries[order ? order[i] : i]) >= 0)
            return false;
    }
    return true;
}

/* The order of few keys. */
static void sort_few(const Sink *sink, const Entry *entries, Py_ssize_t count, Order order)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t j = i;
        for (; j > 0 && compare_entries(sink, &entries[order[j - 1]], &entries[i]) > 0; j--)
            order[j] = order[j - 1];
        order[j] = (uint8_t)i;
    }
}

/* Bottom-up merge sort: no worst case, and the comparison needs the sink. */
static int sort_many(const Sink *sink, Entry *entries, Py_ssize_t count)
{
    Entry *other = PyMem_New(Entry, (size_t)count), *from = entries, *to = other;
    if (other == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t width = 1; width < count; width *= 2) {
        for (Py_ssize_t low = 0; low < count; low += 2 * width) {
            Py_ssize_t middle = low + width < count ? low + width : count;
            Py_ssize_t high = low + 2 * width < count ? low + 2 * width : count;
            Py_ssize_t i = low, j = middle;
            for (Py_ssize_t k = low; k < high; k++) {
                bool left = i < middle && (j >= high || compare_entries(sink, &from[i], &from[j]) <= 0);
                to[k] = left ? from[i++] : from[j++];
            }
        }
        Entry *swap = from;
        from = to;
        to = swap;
    }
    if (from != entries)
        memcpy(entries, from, (size_t)count * sizeof *entries);
    PyMem_Free(other);
    return 0;
}

/* Room of so many bytes that stays until it is asked for again; NULL with an exception if there is none. */
static uint8_t *scratch_of(Sink *sink, Py_ssize_t size)
{
    if (size > sink->scratch_size) {
        uint8_t *scratch = PyMem_Realloc(sink->scratch, (size_t)size * 2);
        if (scratch == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        sink->scratch = scratch;
        sink->scratch_size = size * 2;
    }
    return sink->scratch;
}

/* Put the entries of a map of words, from `begin` to the end of what is written, into an order. */
static int reorder(Sink *sink, Py_ssize_t begin, const Entry *entries, Py_ssize_t count, const uint8_t *order)
{
    Py_ssize_t size = sink->size - begin;
    /* PERF: entries are short, and copied by steps that are longer than some: room for these is on both sides. */
    uint8_t *copy = scratch_of(sink, size + STEP), *p = copy;
    if (copy == NULL || reserve(sink, STEP) == NULL)
        return -1;
    sink->size -= STEP;
    uint8_t *all = (uint8_t *)PyBytes_AS_STRING(sink->bytes);
    for (Py_ssize_t i = 0; i < count; i++) {
        const Entry *entry = &entries[order ? order[i] : i];
        Py_ssize_t length = entry->end - entry->start;
        for (Py_ssize_t at = 0; at < length; at += STEP)
            memcpy(p + at, all + entry->start + at, STEP);
        p += length;
    }
    memcpy(all + begin, copy, (size_t)size);
    return 0;
}

static void sink_value_end(Sink *sink) { sink->entries[sink->used - 1].end = sink->size; }

/* The end of a map that began at `at` with `count` keys, which are forgotten. Gives up if one stands twice. */
static int sink_map_end(Sink *sink, Py_ssize_t at, Py_ssize_t count)
{
    Entry *entries = sink->entries + (sink->used - count);
    sink->used -= count;
    if (count >= (Py_ssize_t)LONG_FORM)
        return -1;
    const uint8_t *order = NULL;
    bool moved = !ascending(sink, entries, count, NULL);
    if (moved && count <= SORTED_BY_HAND) {
        order = sink->orders[count];
        if (!ascending(sink, entries, count, order)) {
            sort_few(sink, entries, count, sink->orders[count]);
            if (!ascending(sink, entries, count, order))
                return -1;
        }
    } else if (moved && (sort_many(sink, entries, count) < 0 || !ascending(sink, entries, count, NULL))) {
        return -1;
    }
    if (sink->form != WORDS)
        return PUT(sink, "}");
    store32((uint8_t *)PyBytes_AS_STRING(sink->bytes) + at, TAG_MAP | (uint32_t)count << 8);
    return moved ? reorder(sink, at + 4, entries, count, order) : 0;
}

/* -------------------------------------------------------------------------------------------------------- JSON */

typedef struct {
    const uint8_t *p, *end;
    uint8_t *scratch; /* room for one unescaped text; no text is longer than the input */
    Sink *sink;
    bool tagged;
} JSONReader;

static int read_json(JSONReader *r, int depth);

static inline void skip_space(JSONReader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
        r->p++;
}

static inline bool next_is(JSONReader *r, uint8_t byte)
{
    skip_space(r);
    if (r->p == r->end || *r->p != byte)
        return false;
    r->p++;
    return true;
}

/* The value of four hexadecimal digits, or -1. */
static int read_hex(const uint8_t *p)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* One character after a backslash, into `out`; answers its end there, or NULL. */
static uint8_t *read_escape(JSONReader *r, uint8_t *out)
{
    static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end)
        return NULL;
    uint8_t letter = *r->p++;
    const char *found = letter == 0 ? NULL : strchr(FROM, letter);
    if (found != NULL) {
        *out++ = (uint8_t)TO[found - FROM];
        return out;
    }
    if (letter != 'u' || r->end - r->p < 4)
        return NULL;
    int code = read_hex(r->p);
    r->p += 4;
    if (code < 0 || (code & 0xFC00) == 0xDC00)
        return NULL;
    if ((code & 0xFC00) == 0xD800) {
        int low = r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u' ? read_hex(r->p + 2) : -1;
        if (low < 0 || (low & 0xFC00) != 0xDC00)
            return NULL;
        r->p += 6;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
        *out++ = (uint8_t)code;
    } else if (code < 0x800) {
        *out++ = (uint8_t)(0xC0 | code >> 6);
        *out++ = (uint8_t)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (uint8_t)(0xE0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 63));
        *out++ = (uint8_t)(0x80 | (code & 63));
    } else {
        *out++ = (uint8_t)(0xF0 | code >> 18);
        *out++ = (uint8_t)(0x80 | (code >> 12 & 63));
        *out++ = (uint8_t)(0x80 | (code >> 6 & 63));
        *out++ = (uint8_t)(0x80 | (code & 63));
    }
    return out;
}

/* The text behind a quote: in the input, or unescaped in `scratch`, where it stands until the next one. */
static bool read_text(JSONReader *r, Span *text)
{
    const uint8_t *start = r->p;
    r->p += plain_bytes((Span){start, r->end - start});
    if (r->p < r->end && *r->p == '"') {
        *text = (Span){start, r->p - start};
        r->p++;
        return true;
    }
    uint8_t *out = r->scratch;
    memcpy(out, start, (size_t)(r->p - start));
    out += r->p - start;
    while (r->p < r->end && *r->p >= 0x20) {
        uint8_t byte = *r->p++;
        if (byte == '"') {
            *text = (Span){r->scratch, out - r->scratch};
            return true;
        }
        if (byte != '\\')
            *out++ = byte;
        else if ((out = read_escape(r, out)) == NULL)
            return false;
    }
    return false;
}

static bool read_word(JSONReader *r, const char *word, Py_ssize_t size)
{
    if (r->end - r->p < size || memcmp(r->p, word, (size_t)size) != 0)
        return false;
    r->p += size;
    return true;
}

static const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* A number of at most 15 digits without exponent: both it and the power of ten are exact, so one division rounds once. */
static bool quick_decimal(const uint8_t *start, const uint8_t *end, double *number)
{
    static const double POWERS[] = {1,   10,  100, 1e3, 1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    int64_t digits = 0;
    int places = -1;
    if (end - start > 16)
        return false;
    for (const uint8_t *p = start + (*start == '-'); p < end; p++) {
        if (*p == '.')
            places = 0;
        else if (*p < '0' || *p > '9')
            return false;
        else {
            digits = digits * 10 + (*p - '0');
            places += places >= 0;
        }
    }
    *number = (double)digits / POWERS[places < 0 ? 0 : places];
    if (*start == '-')
        *number = -*number;
    return true;
}

static int read_json_number(JSONReader *r)
{
    const uint8_t *start = r->p, *p = start + (*start == '-'), *digits = p;
    p = skip_digits(p, r->end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return -1;
    bool whole = p == r->end || (*p != '.' && *p != 'e' && *p != 'E');
    if (whole) {
        if (p - digits > 18)
            return -1; /* perhaps beyond int64: for those who can say so */
        int64_t number = 0;
        for (const uint8_t *d = digits; d < p; d++)
            number = number * 10 + (*d - '0');
        r->p = p;
        return sink_int(r->sink, *start == '-' ? -number : number);
    }
    if (*p == '.') {
        const uint8_t *fraction = ++p;
        p = skip_digits(p, r->end);
        if (p == fraction)
            return -1;
    }
    if (p < r->end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < r->end && (*p == '+' || *p == '-');
        const uint8_t *exponent = p;
        p = skip_digits(p, r->end);
        if (p == exponent)
            return -1;
    }
    double decimal;
    if (quick_decimal(start, p, &decimal)) {
        r->p = p;
        return sink_number(r->sink, decimal);
    }
    char text[64];
    if (p - start >= (Py_ssize_t)sizeof text)
        return -1;
    memcpy(text, start, (size_t)(p - start));
    text[p - start] = '\0';
    double number = PyOS_string_to_double(text, NULL, NULL);
    if (number == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    r->p = p;
    return number - number == 0 ? sink_number(r->sink, number) : -1;
}

static int read_json_array(JSONReader *r, int depth)
{
    Py_ssize_t at = sink_begin(r->sink, TAG_ARRAY, 0), count = 0;
    if (at < 0)
        return -1;
    if (next_is(r, ']'))
        return sink_array_end(r->sink, at, 0);
    do {
        if (sink_item(r->sink, count) < 0 || read_json(r, depth + 1) < 0)
            return -1;
        count++;
    } while (next_is(r, ','));
    return next_is(r, ']') ? sink_array_end(r->sink, at, count) : -1;
}

/* A String of the words that are written. */
static Span string_at(const Sink *sink, Py_ssize_t at)
{
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(sink->bytes) + at;
    return (Span){p + 4, (Py_ssize_t)(load32(p) >> 8)};
}

/* The object that was just read into a map of words at `at`: a Ref or Case if it is marked as one. Gives up if it is marked
 * otherwise. */
static int read_tag(JSONReader *r, Py_ssize_t at, Py_ssize_t count)
{
    Sink *sink = r->sink;
    Entry *entries = sink->entries + (sink->used - count), *mark = NULL, *value = NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        Span key = key_of(sink, &entries[i]);
        if (IS(key, MARK))
            mark = &entries[i];
        else if (IS(key, VALUE))
            value = &entries[i];
    }
    if (mark == NULL)
        return sink_map_end(sink, at, count);
    const uint8_t *all = (const uint8_t *)PyBytes_AS_STRING(sink->bytes);
    Py_ssize_t mark_value = mark->key + 4 * (Py_ssize_t)words_of(mark->key_size);
    if ((load32(all + mark_value) & 0xFF) != TAG_STRING || !is_special(string_at(sink, mark_value)))
        return sink_map_end(sink, at, count);
    Span tag = string_at(sink, mark_value);
    if (!STARTS(tag, CASE_TAG) || count != 1 + (value != NULL))
        return -1;
    Span name = {tag.at + sizeof CASE_TAG - 1, tag.size - (Py_ssize_t)(sizeof CASE_TAG - 1)};
    Py_ssize_t arg = value == NULL ? 0 : value->key + 4 * (Py_ssize_t)words_of(value->key_size);
    Py_ssize_t arg_size = value == NULL ? 0 : value->end - arg;
    if (IS(name, REF_NAME) && (value == NULL || (load32(all + arg) & 0xFF) != TAG_STRING))
        return -1;
    uint8_t *copy = PyMem_Malloc((size_t)(name.size + arg_size + 1));
    if (copy == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    bool is_ref = IS(name, REF_NAME);
    memcpy(copy, name.at, (size_t)name.size);
    memcpy(copy + name.size, all + arg, (size_t)arg_size);
    sink->used -= count;
    sink->size = at;
    int failed = 0;
    if (!is_ref)
        failed = sink_case(sink, (Span){copy, name.size}, value != NULL);
    if (!failed && value != NULL)
        failed = put(sink, copy + name.size, arg_size);
    if (!failed && is_ref) /* a Ref is laid out as the String it is written with */
        ((uint8_t *)PyBytes_AS_STRING(sink->bytes))[at] = TAG_REF;
    PyMem_Free(copy);
    return failed;
}

static int read_json_object(JSONReader *r, int depth)
{
    Py_ssize_t at = sink_begin(r->sink, TAG_MAP, 0), count = 0;
    if (at < 0)
        return -1;
    if (next_is(r, '}'))
        return sink_map_end(r->sink, at, 0);
    do {
        Span key;
        if (!next_is(r, '"') || !read_text(r, &key) || sink_key(r->sink, count, key) < 0 || !next_is(r, ':') ||
            read_json(r, depth + 1) < 0)
            return -1;
        sink_value_end(r->sink);
        count++;
    } while (next_is(r, ','));
    if (!next_is(r, '}'))
        return -1;
    return r->tagged ? read_tag(r, at, count) : sink_map_end(r->sink, at, count);
}

static int read_json(JSONReader *r, int depth)
{
    Span text;
    skip_space(r);
    if (depth > MAX_DEPTH || r->p == r->end)
        return -1;
    switch (*r->p) {
    case '"':
        r->p++;
        return read_text(r, &text) ? sink_string(r->sink, text) : -1;
    case '{':
        r->p++;
        return read_json_object(r, depth);
    case '[':
        r->p++;
        return read_json_array(r, depth);
    case 't': return read_word(r, "true", 4) ? sink_constant(r->sink, TAG_BOOL, true) : -1;
    case 'f': return read_word(r, "false", 5) ? sink_constant(r->sink, TAG_BOOL, false) : -1;
    case 'n': return read_word(r, "null", 4) ? sink_constant(r->sink, TAG_NULL, false) : -1;
    case '-':
        if (r->end - r->p < 2)
            return -1;
        /* fall through */
    default: return *r->p == '-' || (*r->p >= '0' && *r->p <= '9') ? read_json_number(r) : -1;
    }
}

static int walk_json(Sink *sink, Span data, bool tagged)
{
    JSONReader r = {data.at, data.at + data.size, PyMem_Malloc((size_t)data.size + 1), sink, tagged};
    if (r.scratch == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int failed = read_json(&r, 0);
    skip_space(&r);
    PyMem_Free(r.scratch);
    return failed || r.p != r.end ? -1 : 0;
}

/* ------------------------------------------------------------------------------------------------------- words */

typedef struct {
    const uint8_t *words;
    int64_t position, end, room; /* in words; `room` is what nobody has claimed yet, as in _codec_py.py */
    Sink *sink;
} WordReader;

static int read_words(WordReader *r, int depth, bool inside);

static bool claim(WordReader *r, int64_t words)
{
    if (words > r->room)
        return false;
    r->room -= words;
    return true;
}

static bool read_octets(WordReader *r, uint32_t aux, Span *octets)
{
    int64_t words = words_of(aux);
    if (aux >= LONG_FORM || !claim(r, words))
        return false;
    octets->at = r->words + 4 * r->position;
    octets->size = aux;
    r->position += words;
    return (aux & 3) == 0 || load32(octets->at + 4 * (words - 1)) >> (8 * (aux & 3)) == 0;
}

static bool read_name(WordReader *r, Span *name)
{
    uint32_t header = load32(r->words + 4 * r->position++);
    return (header & 0xFF) == TAG_STRING && read_octets(r, header >> 8, name);
}

static int read_word_array(WordReader *r, uint32_t count, int depth)
{
    Py_ssize_t at = sink_begin(r->sink, TAG_ARRAY, count);
    if (at < 0 || count >= LONG_FORM || !claim(r, count))
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        if (sink_item(r->sink, i) < 0 || read_words(r, depth + 1, true) < 0)
            return -1;
    }
    return sink_array_end(r->sink, at, count);
}

static int read_word_map(WordReader *r, uint32_t count, int depth)
{
    Py_ssize_t at = sink_begin(r->sink, TAG_MAP, count);
    Span last = {NULL, 0}, key;
    if (at < 0 || count >= LONG_FORM || !claim(r, 2 * (int64_t)count))
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_name(r, &key) || (last.at != NULL && compare_spans(&last, &key) >= 0) ||
            sink_key(r->sink, i, key) < 0 || read_words(r, depth + 1, true) < 0)
            return -1;
        sink_value_end(r->sink);
        last = key;
    }
    /* Their order was seen; what is escaped has another. */
    r->sink->used -= count;
    return r->sink->form == PACKED ? 0 : PUT(r->sink, "}");
}

static int read_word_case(WordReader *r, uint32_t aux, int depth)
{
    Py_ssize_t at = r->sink->size;
    Span name;
    if (aux > 1 || !claim(r, 1 + (int64_t)aux) || !read_name(r, &name) || sink_case(r->sink, name, aux) < 0 ||
        (aux && read_words(r, depth + 1, true) < 0))
        return -1;
    return sink_case_end(r->sink, at);
}

static int read_word_pair(WordReader *r, enum tag tag, uint32_t aux)
{
    if (aux != 0 || !claim(r, 2))
        return -1;
    uint64_t bits = load64(r->words + 4 * r->position);
    r->position += 2;
    if (tag == TAG_NUMBER) {
        double number = double_of(bits);
        return number != number && bits != CANONICAL_NAN ? -1 : sink_number(r->sink, number);
    }
    int64_t number = (int64_t)bits;
    return number >= INT24_MIN && number <= INT24_MAX ? -1 : sink_int(r->sink, number);
}

static int read_words(WordReader *r, int depth, bool inside)
{
    Span octets;
    if (depth > MAX_DEPTH)
        return -1;
    uint32_t header = load32(r->words + 4 * r->position++), aux = header >> 8;
    switch (header & 0xFF) {
    case TAG_UNDEF:
        if (inside || aux != 0 || r->sink->form != JSON_TAGGED)
            return -1;
        return PUT(r->sink, "{\"_rmx_type\":\"{tag}undefined\"}");
    case TAG_NULL: return aux != 0 ? -1 : sink_constant(r->sink, TAG_NULL, false);
    case TAG_BOOL: return aux > 1 ? -1 : sink_constant(r->sink, TAG_BOOL, aux);
    case TAG_INT: return sink_int(r->sink, (int64_t)aux - (aux > INT24_MAX ? 1 << 24 : 0));
    case TAG_INT64: return read_word_pair(r, TAG_INT64, aux);
    case TAG_NUMBER: return read_word_pair(r, TAG_NUMBER, aux);
    case TAG_STRING: return read_octets(r, aux, &octets) ? sink_string(r->sink, octets) : -1;
    case TAG_REF: return read_octets(r, aux, &octets) ? sink_ref(r->sink, octets) : -1;
    case TAG_BINARY: return read_octets(r, aux, &octets) ? sink_binary(r->sink, octets) : -1;
    case TAG_ARRAY: return read_word_array(r, aux, depth);
    case TAG_MAP: return read_word_map(r, aux, depth);
    case TAG_CASE: return read_word_case(r, aux, depth);
    default: return -1; /* a Token, or no tag */
    }
}

static int walk_words(Sink *sink, Span data)
{
    if (data.size % 4 || data.size == 0)
        return -1;
    WordReader r = {data.at, 0, data.size / 4, data.size / 4 - 1, sink};
    return read_words(&r, 0, false) < 0 || r.room != 0 ? -1 : 0;
}

/* ------------------------------------------------------------------------------------------------- MessagePack */

typedef struct {
    const uint8_t *p, *end;
    Sink *sink;
} PackReader;

static int read_pack(PackReader *r, int depth);

/* The big-endian number of so many bytes that comes next. */
static bool take_number(PackReader *r, int bytes, uint64_t *number)
{
    if (r->end - r->p < bytes)
        return false;
    *number = load_big(r->p, bytes);
    r->p += bytes;
    return true;
}

static bool take_span(PackReader *r, uint64_t size, Span *span)
{
    if (size > (uint64_t)(r->end - r->p))
        return false;
    *span = (Span){r->p, (Py_ssize_t)size};
    r->p += size;
    return true;
}

/* A str whose first byte is `head`. */
static bool take_text(PackReader *r, uint8_t head, Span *text)
{
    uint64_t size = head & 31;
    if ((head & 0xE0) != 0xA0 && (head < 0xD9 || head > 0xDB || !take_number(r, 1 << (head - 0xD9), &size)))
        return false;
    return take_span(r, size, text);
}

static int read_pack_array(PackReader *r, uint64_t count, int depth)
{
    Py_ssize_t at = sink_begin(r->sink, TAG_ARRAY, 0);
    if (at < 0 || count > (uint64_t)(r->end - r->p))
        return -1;
    for (uint64_t i = 0; i < count; i++) {
        if (sink_item(r->sink, (Py_ssize_t)i) < 0 || read_pack(r, depth + 1) < 0)
            return -1;
    }
    return sink_array_end(r->sink, at, (Py_ssize_t)count);
}

static int read_pack_map(PackReader *r, uint64_t count, int depth)
{
    Py_ssize_t at = sink_begin(r->sink, TAG_MAP, 0);
    if (at < 0 || count > (uint64_t)(r->end - r->p))
        return -1;
    for (uint64_t i = 0; i < count; i++) {
        Span key;
        if (r->p == r->end)
            return -1;
        uint8_t head = *r->p++;
        if (!take_text(r, head, &key) || sink_key(r->sink, (Py_ssize_t)i, key) < 0 || read_pack(r, depth + 1) < 0)
            return -1;
        sink_value_end(r->sink);
    }
    return sink_map_end(r->sink, at, (Py_ssize_t)count);
}

/* Ext type 1 is a Ref, 2 a Case: MessagePack of `[name]` or `[name, arg]`. */
static int read_pack_ext(PackReader *r, uint64_t size, int depth)
{
    Py_ssize_t at = r->sink->size;
    Span content, name;
    if (r->p == r->end)
        return -1;
    uint8_t type = *r->p++;
    if (!take_span(r, size, &content))
        return -1;
    if (type == EXT_REF)
        return sink_ref(r->sink, content);
    if (type != EXT_CASE || content.size < 2)
        return -1;
    PackReader inner = {content.at + 2, content.at + content.size, r->sink};
    uint8_t parts = content.at[0];
    if ((parts != 0x91 && parts != 0x92) || !take_text(&inner, content.at[1], &name) ||
        sink_case(r->sink, name, parts == 0x92) < 0 || (parts == 0x92 && read_pack(&inner, depth + 1) < 0) ||
        inner.p != inner.end)
        return -1;
    return sink_case_end(r->sink, at);
}

static int read_pack_float(PackReader *r, int bytes)
{
    uint64_t bits;
    if (!take_number(r, bytes, &bits))
        return -1;
    if (bytes == 8)
        return sink_number(r->sink, double_of(bits));
    float number;
    uint32_t half = (uint32_t)bits;
    memcpy(&number, &half, sizeof number);
    return sink_number(r->sink, (double)number);
}

static int read_pack(PackReader *r, int depth)
{
    uint64_t number;
    Span octets;
    if (depth > MAX_DEPTH || r->p == r->end)
        return -1;
    uint8_t head = *r->p++;
    if (head < 0x80)
        return sink_int(r->sink, head);
    if (head >= 0xE0)
        return sink_int(r->sink, (int8_t)head);
    if (head < 0x90)
        return read_pack_map(r, head & 15, depth);
    if (head < 0xA0)
        return read_pack_array(r, head & 15, depth);
    if (head < 0xC0 || (head >= 0xD9 && head <= 0xDB))
        return take_text(r, head, &octets) ? sink_string(r->sink, octets) : -1;
    switch (head) {
    case 0xC0: return sink_constant(r->sink, TAG_NULL, false);
    case 0xC2: return sink_constant(r->sink, TAG_BOOL, false);
    case 0xC3: return sink_constant(r->sink, TAG_BOOL, true);
    case 0xC4: case 0xC5: case 0xC6:
        return take_number(r, 1 << (head - 0xC4), &number) && take_span(r, number, &octets) ? sink_binary(r->sink, octets)
                                                                                         : -1;
    case 0xC7: case 0xC8: case 0xC9: return take_number(r, 1 << (head - 0xC7), &number) ? read_pack_ext(r, number, depth) : -1;
    case 0xCA: return read_pack_float(r, 4);
    case 0xCB: return read_pack_float(r, 8);
    case 0xCC: case 0xCD: case 0xCE: case 0xCF:
        return take_number(r, 1 << (head - 0xCC), &number) && number <= INT64_MAX ? sink_int(r->sink, (int64_t)number) : -1;
    case 0xD0: return take_number(r, 1, &number) ? sink_int(r->sink, (int8_t)number) : -1;
    case 0xD1: return take_number(r, 2, &number) ? sink_int(r->sink, (int16_t)number) : -1;
    case 0xD2: return take_number(r, 4, &number) ? sink_int(r->sink, (int32_t)number) : -1;
    case 0xD3: return take_number(r, 8, &number) ? sink_int(r->sink, (int64_t)number) : -1;
    case 0xD4: case 0xD5: case 0xD6: case 0xD7: case 0xD8: return read_pack_ext(r, UINT64_C(1) << (head - 0xD4), depth);
    case 0xDC: case 0xDD: return take_number(r, 2 << (head - 0xDC), &number) ? read_pack_array(r, number, depth) : -1;
    case 0xDE: case 0xDF: return take_number(r, 2 << (head - 0xDE), &number) ? read_pack_map(r, number, depth) : -1;
    default: return -1;
    }
}

/* So many values one behind the other: JSON with `between` between them, or the words of an array of them. */
static int walk_pack(Sink *sink, Span data, Py_ssize_t count, Span between)
{
    PackReader r = {data.at, data.at + data.size, sink};
    bool to_words = sink->form == WORDS;
    Py_ssize_t at = to_words ? sink_begin(sink, TAG_ARRAY, count) : 0;
    if (at < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        breathe(&sink->ticks);
        if ((i > 0 && !to_words && put(sink, between.at, between.size) < 0) || read_pack(&r, to_words) < 0)
            return -1;
    }
    if (r.p != r.end)
        return -1;
    return to_words ? sink_array_end(sink, at, count) : 0;
}

/* ------------------------------------------------------------------------------------------------------- shape */

/* Whether words are of a type as they are: a shape is the type as mixkit/shape.py writes it, one node behind the other.
 *
 *     'k' mask                                   one of these tags; the mask is two bytes, little-endian
 *     'a' node     'm' node                      an array, a map, of these
 *     'r' open count {optional key-size size key node}   a record; fields in the order of their keys, sizes of two and four
 *     'l' count {size words}                     one of these constants, whose words are these
 *
 * The words are canonical. Words that are shorter than they say fit nothing.
 */
typedef struct {
    const uint8_t *words;
    int64_t position, end; /* in words */
} Cursor;

static bool is_at_end(const Cursor *c) { return c->position >= c->end; }

static uint32_t word_at(const Cursor *c) { return load32(c->words + 4 * c->position); }

/* Moves behind the head of what has a length. */
static bool take_length(Cursor *c, int64_t *length)
{
    if (is_at_end(c))
        return false;
    *length = word_at(c) >> 8;
    c->position++;
    if (*length != LONG_FORM)
        return true;
    if (is_at_end(c))
        return false;
    *length = word_at(c);
    c->position++;
    return true;
}

/* Moves behind a value. */
static bool skip_words(Cursor *c)
{
    for (int64_t left = 1; left > 0; left--) {
        int64_t length;
        if (is_at_end(c))
            return false;
        uint32_t tag = word_at(c) & 0xFF;
        if (tag < TAG_STRING) {
            c->position += tag == TAG_INT64 || tag == TAG_NUMBER ? 3 : 1;
        } else if (tag == TAG_CASE) {
            left += 1 + (word_at(c) >> 8);
            c->position++;
        } else if (!take_length(c, &length)) {
            return false;
        } else if (tag == TAG_ARRAY || tag == TAG_MAP) {
            left += tag == TAG_MAP ? 2 * length : length;
        } else {
            c->position += words_of(length);
        }
    }
    return c->position <= c->end;
}

static bool take_key(Cursor *c, Span *key)
{
    int64_t length;
    if (!take_length(c, &length))
        return false;
    *key = (Span){c->words + 4 * c->position, (Py_ssize_t)length};
    c->position += words_of(length);
    return c->position <= c->end;
}

static bool fits(Cursor *c, const uint8_t *shape);

static bool fits_items(Cursor *c, const uint8_t *shape, bool are_entries)
{
    int64_t count;
    Span key;
    if (!take_length(c, &count))
        return false;
    for (; count > 0; count--) {
        if ((are_entries && !take_key(c, &key)) || !fits(c, shape))
            return false;
    }
    return true;
}

/* Both the map's keys and the record's fields ascend, so they are gone through together. */
static bool fits_record(Cursor *c, const uint8_t *p)
{
    int64_t count;
    bool open = p[0];
    uint32_t fields = p[1] | (uint32_t)p[2] << 8;
    p += 3;
    if (!take_length(c, &count))
        return false;
    for (; count > 0; count--) {
        Span key;
        int order = 1;
        if (!take_key(c, &key))
            return false;
        for (; fields > 0; fields--) {
            Span name = {p + 7, p[1] | p[2] << 8};
            order = compare_spans(&name, &key);
            if (order >= 0)
                break;
            if (!p[0])
                return false;
            p += 7 + name.size + load32(p + 3);
        }
        if (fields > 0 && order == 0) {
            Py_ssize_t size = p[1] | p[2] << 8;
            if (!fits(c, p + 7 + size))
                return false;
            p += 7 + size + load32(p + 3);
            fields--;
        } else if (!open || !skip_words(c)) {
            return false;
        }
    }
    for (; fields > 0; fields--) {
        if (!p[0])
            return false;
        p += 7 + (p[1] | p[2] << 8) + load32(p + 3);
    }
    return true;
}

static bool fits_constant(Cursor *c, const uint8_t *p)
{
    Cursor end = *c;
    if (!skip_words(&end))
        return false;
    int64_t size = 4 * (end.position - c->position);
    for (int count = *p++; count > 0; count--) {
        uint32_t length = load32(p);
        if (length == size && memcmp(p + 4, c->words + 4 * c->position, length) == 0) {
            *c = end;
            return true;
        }
        p += 4 + length;
    }
    return false;
}

static bool fits(Cursor *c, const uint8_t *shape)
{
    if (is_at_end(c))
        return false;
    uint32_t tag = word_at(c) & 0xFF;
    switch (shape[0]) {
    case 'k':
        if (((shape[1] | (uint32_t)shape[2] << 8) >> tag & 1) == 0)
            return false;
        return skip_words(c);
    case 'a': return tag == TAG_ARRAY && fits_items(c, shape + 1, false);
    case 'm': return tag == TAG_MAP && fits_items(c, shape + 1, true);
    case 'r': return tag == TAG_MAP && fits_record(c, shape + 1);
    default: return fits_constant(c, shape + 1);
    }
}

static PyObject *forms_fits(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyBytes_CheckExact(args[0]) || !PyBytes_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "fits(words, shape) takes two bytes objects");
        return NULL;
    }
    Cursor cursor = {(const uint8_t *)PyBytes_AS_STRING(args[0]), 0, PyBytes_GET_SIZE(args[0]) / 4};
    bool found = fits(&cursor, (const uint8_t *)PyBytes_AS_STRING(args[1])) && is_at_end(&cursor);
    return PyBool_FromLong(found);
}

/* ------------------------------------------------------------------------------------------------------ module */

/* What a walk has written, or None if it gave up; the sink is done with. */
static PyObject *finished(Sink *sink, int failed)
{
    PyMem_Free(sink->entries);
    PyMem_Free(sink->scratch);
    if (!failed) {
        if (_PyBytes_Resize(&sink->bytes, sink->size) < 0)
            return NULL;
        return sink->bytes;
    }
    Py_XDECREF(sink->bytes);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *translate(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "translate(data, source, target) takes three arguments");
        return NULL;
    }
    long source = PyLong_AsLong(args[1]), target = PyLong_AsLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    bool from_words = target == JSON_TAGGED || target == JSON_PLAIN || target == PACKED, from_json = source == JSON_TAGGED || source == JSON_PLAIN;
    if (!(from_json && target == WORDS) && !(source == WORDS && from_words)) {
        PyErr_Format(PyExc_ValueError, "there is no walk from form %ld to form %ld", source, target);
        return NULL;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    Span data = {view.buf, view.len};
    Sink sink = {.form = (enum form)target};
    int failed = -1;
    sink.bytes = PyBytes_FromStringAndSize(NULL, data.size + data.size / 2 + 64);
    if (sink.bytes != NULL)
        failed = from_json ? walk_json(&sink, data, source == JSON_TAGGED) : walk_words(&sink, data);
    PyBuffer_Release(&view);
    return finished(&sink, failed);
}

static PyObject *forms_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4 || !PyBytes_CheckExact(args[0]) || !PyBytes_CheckExact(args[3])) {
        PyErr_SetString(PyExc_TypeError, "rows(packed, count, target, between) takes bytes, two ints, and bytes");
        return NULL;
    }
    Py_ssize_t count = PyLong_AsSsize_t(args[1]);
    long target = PyLong_AsLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (target != JSON_TAGGED && target != WORDS) {
        PyErr_Format(PyExc_ValueError, "there is no walk from rows to form %ld", target);
        return NULL;
    }
    Span data = {(const uint8_t *)PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0])};
    Span between = {(const uint8_t *)PyBytes_AS_STRING(args[3]), PyBytes_GET_SIZE(args[3])};
    Sink sink = {.form = (enum form)target};
    int failed = -1;
    sink.bytes = PyBytes_FromStringAndSize(NULL, data.size + data.size / 2 + 64);
    if (sink.bytes != NULL)
        failed = walk_pack(&sink, data, count, between);
    return finished(&sink, failed);
}

/* The words of the map of those entries of a map whose names begin so: they follow each other. None if words are no map. */
static PyObject *forms_entries(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyBytes_CheckExact(args[0]) || !PyBytes_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "entries(words, beginning) takes two bytes objects");
        return NULL;
    }
    Cursor cursor = {(const uint8_t *)PyBytes_AS_STRING(args[0]), 0, PyBytes_GET_SIZE(args[0]) / 4};
    Span wanted = {(const uint8_t *)PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1])}, key;
    int64_t left, first = 0, last = 0;
    uint32_t found = 0;
    if (is_at_end(&cursor) || (word_at(&cursor) & 0xFF) != TAG_MAP || !take_length(&cursor, &left))
        Py_RETURN_NONE;
    for (; left > 0; left--) {
        int64_t start = cursor.position;
        if (!take_key(&cursor, &key))
            break;
        Span begin = {key.at, key.size < wanted.size ? key.size : wanted.size};
        int order = compare_spans(&begin, &wanted);
        if (order > 0 || !skip_words(&cursor) || found + 1 == LONG_FORM)
            break;
        if (order == 0) {
            first = found++ == 0 ? start : first;
            last = cursor.position;
        }
    }
    PyObject *entries = PyBytes_FromStringAndSize(NULL, 4 + 4 * (last - first));
    if (entries == NULL)
        return NULL;
    uint8_t *p = (uint8_t *)PyBytes_AS_STRING(entries);
    store32(p, TAG_MAP | found << 8);
    memcpy(p + 4, cursor.words + 4 * first, (size_t)(4 * (last - first)));
    return entries;
}

static int module_exec(PyObject *module)
{
    fill_tables();
    if (same_depth("mixkit._forms") < 0 || PyModule_AddIntConstant(module, "JSON_TAGGED", JSON_TAGGED) < 0 ||
        PyModule_AddIntConstant(module, "JSON_PLAIN", JSON_PLAIN) < 0 || PyModule_AddIntConstant(module, "WORDS", WORDS) < 0 ||
        PyModule_AddIntConstant(module, "PACKED", PACKED) < 0)
        return -1;
    return 0;
}

static PyMethodDef methods[] = {
    {"translate", (PyCFunction)(void (*)(void))translate, METH_FASTCALL,
     "translate($module, data, source, target, /)\n--\n\nThe same value in another form; None if it is for others to judge."},
    {"rows", (PyCFunction)(void (*)(void))forms_rows, METH_FASTCALL,
     "rows($module, packed, count, target, between, /)\n--\n\nMessagePack of values in another form; None as `translate`."},
    {"entries", (PyCFunction)(void (*)(void))forms_entries, METH_FASTCALL,
     "entries($module, words, beginning, /)\n--\n\nThe entries of a map whose names begin so, as one; None for no map."},
    {"fits", (PyCFunction)(void (*)(void))forms_fits, METH_FASTCALL,
     "fits($module, words, shape, /)\n--\n\nWhether words are of the type of a shape; see mixkit.shape."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mixkit._forms",
    .m_doc = "Values from one form into another, in C.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__forms(void) { return PyModuleDef_Init(&definition); }
