/* Strings that the code has as constants: keys of maps and names of cases that come from outside are taken from there, so that
 * looking them up compares pointers. */
#ifndef MIXRT_INTERN_H
#define MIXRT_INTERN_H

#include "vm.h"

/* Makes the table over all constants; false if it FAILED. */
bool intern_open(struct vm *vm);
/* The constant that is this string, or undefined. */
Value intern(const struct vm *vm, const char *bytes, size_t size);

#endif
