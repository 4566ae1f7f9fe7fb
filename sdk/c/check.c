/* check.c: is this buffer the one canonical form of a value? The same answer as mixkit's own codec, fault for
 * fault and word for word; after it the other files read without checking again. */
#include "words.h"

typedef struct {
    const uint32_t *start, *at;
    size_t room; /* words that nobody has claimed yet */
    const char *fault;
    size_t offset;
} reader;

/* A container under way. A map remembers its last key; the others have `keyed` false. */
typedef struct {
    uint32_t left;
    bool keyed;
    const uint32_t *last_key;
} level;

static bool fail(reader *in, const char *message, const uint32_t *at) {
    in->fault = message;
    in->offset = (size_t)(at - in->start);
    return false;
}

/* A container claims a word for the header of each child before any is read, other values what follows their
 * header: so no header is ever missing, and counts cannot promise more than the buffer has, nested or not. */
static bool claim(reader *in, uint64_t words, const uint32_t *at) {
    if (words > in->room) return fail(in, "a value is longer than the words left", at);
    in->room -= (size_t)words;
    return true;
}

static bool check_length(reader *in, const uint32_t *at, uint32_t *length) {
    *length = aux_of(at);
    if (*length < LONG) return true;
    if (!claim(in, 1, at)) return false;
    *length = *in->at++;
    return *length >= LONG || fail(in, "a length below 2^24 - 1 stands in a word of its own", at);
}

__attribute__((noinline)) static bool check_bytes(reader *in, const uint32_t *at, bool text) {
    uint32_t length;
    if (!check_length(in, at, &length)) return false;
    size_t words = words_of(length);
    if (!claim(in, words, at)) return false;
    const char *bytes = (const char *)in->at;
    in->at += words;
    for (const char *padding = bytes + length; padding < (const char *)in->at; padding++)
        if (*padding) return fail(in, "padding is not zero", at);
    if (text && mix_utf8_fault((mix_text){bytes, length}) < length) return fail(in, "a text is not UTF-8", at);
    return true;
}

/* A String that is no value: a map key or a case name. */
static bool check_name(reader *in) {
    const uint32_t *at = in->at++;
    if (tag_of(at) != TAG_STRING) return fail(in, "a map key or case name is not a String", at);
    return check_bytes(in, at, true);
}

static bool check_key(reader *in, level *map) {
    const uint32_t *at = in->at;
    if (!check_name(in)) return false;
    if (map->last_key && compare_texts(text_of(map->last_key), text_of(at)) >= 0)
        return fail(in, "map keys do not ascend strictly by their bytes", at);
    map->last_key = at;
    return true;
}

static bool check_int64(reader *in, const uint32_t *at) {
    int64_t value;
    __builtin_memcpy(&value, in->at, sizeof value);
    in->at += 2;
    if (value >= SMALL_MIN && value <= SMALL_MAX) return fail(in, "an Int64 fits in an Int", at);
    return true;
}

static bool check_number(reader *in, const uint32_t *at) {
    uint64_t bits;
    __builtin_memcpy(&bits, in->at, sizeof bits);
    in->at += 2;
    if ((bits & INT64_MAX) > 0x7FF0000000000000u && bits != CANONICAL_NAN)
        return fail(in, "a NaN is not the canonical one", at);
    return true;
}

/* One value without its children, whose number `inside` gets. */
static bool check_value(reader *in, level *inside) {
    const uint32_t *at = in->at++;
    uint32_t aux = aux_of(at), length;
    *inside = (level){0};
    switch (tag_of(at)) {
    case TAG_UNDEF:
    case TAG_NULL:
        return aux == 0 || fail(in, "aux of Undef and Null is 0", at);
    case TAG_BOOL:
        return aux <= 1 || fail(in, "aux of Bool is 0 or 1", at);
    case TAG_SMALL:
        return true;
    case TAG_INT64:
        if (aux) return fail(in, "aux of Int64 is 0", at);
        return claim(in, 2, at) && check_int64(in, at);
    case TAG_NUMBER:
        if (aux) return fail(in, "aux of Number is 0", at);
        return claim(in, 2, at) && check_number(in, at);
    case TAG_STRING:
    case TAG_REF:
        return check_bytes(in, at, true);
    case TAG_BINARY:
    case TAG_TOKEN:
        return check_bytes(in, at, false);
    case TAG_ARRAY:
        if (!check_length(in, at, &length) || !claim(in, length, at)) return false;
        *inside = (level){.left = length};
        return true;
    case TAG_MAP:
        if (!check_length(in, at, &length) || !claim(in, 2 * (uint64_t)length, at)) return false;
        *inside = (level){.left = length, .keyed = true};
        return true;
    case TAG_CASE:
        if (aux > 1) return fail(in, "aux of Case is 0 or 1", at);
        *inside = (level){.left = aux};
        return claim(in, 1 + aux, at) && check_name(in);
    default:
        return fail(in, "unknown tag", at);
    }
}

static bool check(reader *in) {
    level levels[MAX_DEPTH + 1], inside;
    size_t depth = 0;
    if (!check_value(in, &levels[0])) return false;
    for (;;) {
        while (levels[depth].left == 0) {
            if (depth-- == 0) return in->room == 0 || fail(in, "words follow the value", in->at);
        }
        level *container = &levels[depth];
        container->left--;
        if (container->keyed && !check_key(in, container)) return false;
        const uint32_t *at = in->at;
        if (depth + 1 > MAX_DEPTH) return fail(in, "values are nested more than 256 deep", at);
        if (!check_value(in, &inside)) return false;
        if (tag_of(at) == TAG_UNDEF) return fail(in, "undefined stands in an array, map or case", at);
        if (inside.left) levels[++depth] = inside;
    }
}

bool mix_decode(const void *bytes, size_t size, mix_value *value, mix_fault *fault) {
    reader in = {.start = bytes, .at = bytes, .room = size / 4 - 1};
    bool fine;
    if ((uintptr_t)bytes % 4) {
        fine = fail(&in, "the buffer is not on a word boundary", in.start);
    } else if (size % 4) {
        fine = fail(&in, "the buffer does not end on a word boundary", in.start + size / 4);
    } else if (size == 0) {
        fine = fail(&in, "the buffer is empty", in.start);
    } else {
        fine = check(&in);
    }
    if (fine) {
        *value = (mix_value){bytes};
    } else if (fault) {
        *fault = (mix_fault){in.fault, in.offset};
    }
    return fine;
}
