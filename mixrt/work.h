/* Work in parts: what a built-in that takes long keeps when it gives way, and goes on with when it is called again. */
#ifndef MIXRT_WORK_H
#define MIXRT_WORK_H

#include "vm.h"

/* Leaves in the middle with a value, or undefined, and a number. FAILED, with FAULT_AGAIN if there is memory to keep them. */
Value work_leave(struct vm *vm, Value value, size_t at);
/* Whether one goes on; then what was kept, with what was written until then. Else nothing is. */
bool work_goes_on(struct vm *vm, Value *value, size_t *at);

/* Appends to what is being written, a text of up to MAX_TEXT; false if it FAILED. */
bool work_write(struct vm *vm, const char *bytes, size_t size);
/* What a built-in fills in parts with work_leave: what was kept and where it is filled to, else a text of that size, and
 * nothing of it. NULL if it FAILED. */
struct text *work_text(struct vm *vm, enum object_kind kind, size_t size, uint32_t chars, size_t *at);
/* Up to where a text of that size is worked on in one go. Parts are of a multiple of 12 bytes. */
size_t work_until(size_t at, size_t size);

/* What was written as a text of that kind if all is done, else FAILED. Of what is not to be gone on with nothing stays. */
Value work_written(struct vm *vm, enum object_kind kind, bool done);

#endif
