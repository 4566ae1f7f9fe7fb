/* Loading: from the bytes of a container to checked code. */
#ifndef MIXRT_LOAD_H
#define MIXRT_LOAD_H

#include "vm.h"

/* FAILED if it is refused: what is wrong is raised. */
Value load(struct vm *vm, const char *bytes, size_t size);

/* Whether all instructions of a function are what docs/qcode.md says; what is wrong with one is raised. */
bool verify(struct vm *vm, const struct function *function);

/* Has runs of instructions in a function that was verified done at once. */
void fuse(struct vm *vm, const struct function *function);

#endif
