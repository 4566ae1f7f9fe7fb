/* Strings, refs, binaries and tokens. */
#ifndef MIXRT_TEXT_H
#define MIXRT_TEXT_H

#include "vm.h"

#define MAX_TEXT (UINT32_C(1) << 30)

/* Whether the bytes are UTF-8 as Unicode defines it; then `chars` is how many characters they are. */
bool utf8_check(const char *bytes, size_t size, uint32_t *chars);
/* Bytes of the character that starts with this byte. */
static inline unsigned utf8_size(uint8_t first) { return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; }
uint32_t utf8_decode(const char *bytes);
unsigned utf8_encode(uint32_t code, char *to);

/* A new object whose bytes are to be filled. NULL if it FAILED. */
struct text *text_make(struct vm *vm, enum object_kind kind, size_t size, uint32_t chars);
/* From bytes that are known to be UTF-8 if they are a string or ref. */
Value text_new(struct vm *vm, enum object_kind kind, const char *bytes, size_t size);
/* The same for a string that C has as a constant. */
Value text_literal(struct vm *vm, const char *bytes);

/* The bytes of a string, of which a rope is made one if it is none yet. NULL if it FAILED. */
struct text *text_flat(struct vm *vm, Value string);
Value text_join(struct vm *vm, Value left, Value right);
/* Bytes and characters of a string, ropes too. */
static inline size_t text_size(Value string) { return object_of(string)->count; }
static inline uint32_t text_chars(Value string) { return text_of(string)->chars; }
/* -1, 0, 1 by bytes. */
int text_order(const struct text *left, const struct text *right);
static inline bool text_same(const struct text *left, const struct text *right)
{
    return left == right || (left->head.count == right->head.count && memcmp(left->bytes, right->bytes, left->head.count) == 0);
}

/* Where the character of that index starts; the size if there are not so many. */
size_t text_offset(struct vm *vm, const struct text *text, uint32_t index);
/* How many characters the first so many bytes are. */
uint32_t text_index(struct vm *vm, const struct text *text, size_t offset);
/* The part between two offsets at which characters start. */
Value text_part(struct vm *vm, Value string, size_t from, size_t to);

#endif
