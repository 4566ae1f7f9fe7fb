/* What the machine uses of string.h: there is no library where it runs. */
#ifndef MIXRT_BYTES_H
#define MIXRT_BYTES_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *left, const void *right, size_t size);

#endif
