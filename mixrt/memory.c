/* Memory from the host: free runs of units in a list by address, and the end of linear memory that grows.
 *
 * In the native build each run is of malloc, so that a sanitizer sees whoever leaves it.
 */
#include "memory.h"

#ifdef __wasm__

#define PAGE ((size_t)64 * 1024)

extern unsigned char __heap_base;

struct run {
    struct run *next;
    size_t units;
};

static struct run *free_runs; /* ascending, never adjacent */
static uintptr_t end;         /* of what was handed out so far */

void *memory_take(size_t units)
{
    for (struct run **at = &free_runs; *at != NULL; at = &(*at)->next) {
        struct run *found = *at;
        if (found->units < units)
            continue;
        if (found->units == units) {
            *at = found->next;
        } else {
            struct run *rest = (struct run *)((char *)found + units * UNIT);
            rest->next = found->next;
            rest->units = found->units - units;
            *at = rest;
        }
        return found;
    }
    if (end == 0)
        end = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    size_t room = __builtin_wasm_memory_size(0) * PAGE - end;
    size_t wanted = units * UNIT;
    if (units > SIZE_MAX / UNIT / 2)
        return NULL;
    if (room < wanted && __builtin_wasm_memory_grow(0, (wanted - room + PAGE - 1) / PAGE) == SIZE_MAX)
        return NULL;
    void *taken = (void *)end;
    end += wanted;
    return taken;
}

void memory_give(void *start, size_t units)
{
    struct run *given = start, *before = NULL, *after = free_runs;
    while (after != NULL && after < given) {
        before = after;
        after = after->next;
    }
    given->units = units;
    given->next = after;
    if (after != NULL && (char *)given + units * UNIT == (char *)after) {
        given->units += after->units;
        given->next = after->next;
    }
    if (before == NULL) {
        free_runs = given;
    } else if ((char *)before + before->units * UNIT == (char *)given) {
        before->units += given->units;
        before->next = given->next;
    } else {
        before->next = given;
    }
}

#else

#include <stdlib.h>

void *memory_take(size_t units) { return units > SIZE_MAX / UNIT / 2 ? NULL : malloc(units * UNIT); }

void memory_give(void *start, size_t units)
{
    (void)units;
    free(start);
}

#endif
