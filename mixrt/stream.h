/* Streams: lazy, read once. aux says what the four values of one are:
 *
 *     EMPTY      nothing
 *     PART       an array, the next index, the index after the last
 *     INTS       the next int, the last
 *     MADE       a function without parameters
 *     PAIR       a stream, then another
 *     GOES_ON    the stream that it has become
 */
#ifndef MIXRT_STREAM_H
#define MIXRT_STREAM_H

#include "vm.h"

enum stream_form { EMPTY, PART, INTS, MADE, PAIR, GOES_ON };

Value stream_of(struct vm *vm, Value v);
Value stream_part(struct vm *vm, Value array, uint32_t from, uint32_t to);
Value stream_ints(struct vm *vm, int64_t first, int64_t last);
Value stream_made(struct vm *vm, Value function);
Value stream_join(struct vm *vm, Value left, Value right);

/* The next element, or END. If a function has to be called for it, FAILED with that as *function, undefined otherwise. */
Value stream_next(struct vm *vm, Value stream, Value *function);
/* The function that is called for the next element has answered END. */
void stream_ended(struct vm *vm, Value stream);

#endif
