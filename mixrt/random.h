/* Random numbers: not for secrets, and the same after the same seed. */
#ifndef MIXRT_RANDOM_H
#define MIXRT_RANDOM_H

#include "vm.h"

void random_seed(struct vm *vm, uint64_t seed);

#endif
