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
/* What was written as a string if all is done, else FAILED. Of what is not to be gone on with nothing stays. */
Value work_written(struct vm *vm, bool done);

#endif
