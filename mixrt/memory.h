/* Memory from the host, in units of 32 KiB: one can always stand in for another, so that nothing fragments below that. */
#ifndef MIXRT_MEMORY_H
#define MIXRT_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define UNIT ((size_t)32 * 1024)

static inline size_t units_for(size_t bytes) { return bytes / UNIT + (bytes % UNIT != 0); }

/* So many adjacent units, or NULL. Their content is whatever it was. */
void *memory_take(size_t units);
/* Gives back what `memory_take` gave, all of it. */
void memory_give(void *start, size_t units);

#endif
