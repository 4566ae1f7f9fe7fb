/* words.h: the u32 codec's layout, shared by the files of this library and by nobody else.
 *
 * A value is a run of little-endian words. The first has a tag in its low 8 bits and `aux` in the high 24; a
 * length or count stands in aux, or in the next word when aux is LONG. */
#ifndef MIX_WORDS_H
#define MIX_WORDS_H

#include "mix.h"

/* A function of the host. */
#define IMPORT(NAME) __attribute__((import_module("mix"), import_name(NAME)))

enum {
    TAG_UNDEF,
    TAG_NULL,
    TAG_BOOL,
    TAG_SMALL,
    TAG_INT64,
    TAG_NUMBER,
    TAG_STRING,
    TAG_REF,
    TAG_BINARY,
    TAG_ARRAY,
    TAG_MAP,
    TAG_CASE,
    TAG_TOKEN,
};

#define LONG 0xFFFFFFu
#define MAX_DEPTH 256 /* a scalar has depth 0 */
#define SMALL_MIN (-(1 << 23))
#define SMALL_MAX ((1 << 23) - 1)
#define CANONICAL_NAN 0x7FF8000000000000u

static inline uint32_t tag_of(const uint32_t *word) { return *word & 0xFF; }
static inline uint32_t aux_of(const uint32_t *word) { return *word >> 8; }
static inline size_t words_of(size_t bytes) { return bytes / 4 + (bytes % 4 != 0); }

/* Where the content of a word with a length or count starts, and that length or count. */
static inline const uint32_t *content_of(const uint32_t *word, uint32_t *length) {
    if (aux_of(word) == LONG) {
        *length = word[1];
        return word + 2;
    }
    *length = aux_of(word);
    return word + 1;
}

/* The bytes of a string, ref, binary or token. */
static inline mix_text text_of(const uint32_t *word) {
    uint32_t length;
    const uint32_t *content = content_of(word, &length);
    return (mix_text){(const char *)content, length};
}

/* The word after such a text. */
static inline const uint32_t *after_text(const uint32_t *word) {
    uint32_t length;
    const uint32_t *content = content_of(word, &length);
    return content + words_of(length);
}

/* The order of map keys: by their bytes, the shorter one first. */
static inline int compare_texts(mix_text a, mix_text b) {
    int order = __builtin_memcmp(a.at, b.at, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* The word after a checked value, and the depth of the value. */
const uint32_t *mix_walk(const uint32_t *word, size_t *depth);

/* Begin and end of a call's memory: everything taken is free again; what was taken until now stays. */
void mix_memory_reset(void);
void mix_memory_keep(void);
unsigned mix_scope_id(void);

/* End the run with the texts joined; the last is NULL. */
_Noreturn void mix_panic_join(const char *first, ...);

#endif
