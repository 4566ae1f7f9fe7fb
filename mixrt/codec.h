/* The u32 codec: values as words, see docs/values.md. */
#ifndef MIXRT_CODEC_H
#define MIXRT_CODEC_H

#include "vm.h"

/* Appends the words of a value to a buffer; false if it FAILED: what no word is for is raised. */
bool codec_encode(struct vm *vm, struct buffer *to, Value value);
bool codec_word(struct vm *vm, struct buffer *to, uint32_t word);

/* The value that the words are, all of them; what is wrong with them is raised, with the word. Tokens are those of the host. */
Value codec_decode(struct vm *vm, const char *words, size_t size, bool tokens);

#endif
