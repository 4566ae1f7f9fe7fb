/* memory.c: the memory of a call. It is taken piece by piece and given back all at once.
 *
 * The first 64 KiB belong to the module, so that small calls never grow the memory and the instance can be used
 * again; more comes from the engine and is kept for later calls. */
#include <string.h>

#include "words.h"

#define PAGE 65536u
#define FIRST_SIZE PAGE
#define LEAST_GROWTH (4 * PAGE)
#define MOST_GROWTH (256 * PAGE) /* beyond what is needed at once */
#define LARGEST 0xC0000000u
#define TOO_LARGE "out of memory: more than 3 GiB at once"

typedef struct mix_chunk {
    struct mix_chunk *next;
    char *end;
} chunk; /* its memory follows */

typedef struct {
    chunk *chunk;
    char *at;
} place;

static struct {
    chunk head;
    char bytes[FIRST_SIZE];
} first __attribute__((aligned(8)));

static place here, base;     /* where the next block is taken; what a reset goes back to */
static unsigned scope, scopes; /* the open one, and how many there have been */

static place start_of(chunk *chunk) { return (place){chunk, (char *)(chunk + 1)}; }

static void prepare(void) {
    if (here.chunk) return;
    first.head.end = first.bytes + FIRST_SIZE;
    here = base = start_of(&first.head);
}

static size_t room_in(place place) { return (size_t)(place.chunk->end - place.at); }

static size_t pages_for(size_t bytes) { return bytes / PAGE + (bytes % PAGE != 0); }

/* Add `size` bytes behind the last chunk, and join them to it where they lie behind it. */
static void grow(size_t size) {
    chunk *last = here.chunk;
    while (last->next) last = last->next;
    size_t held = __builtin_wasm_memory_size(0), spare = held * PAGE / 2;
    if (spare < LEAST_GROWTH) spare = LEAST_GROWTH;
    if (spare > MOST_GROWTH) spare = MOST_GROWTH;
    size_t needed = pages_for(size + sizeof(chunk)), pages = pages_for(size + spare);
    size_t old = SIZE_MAX;
    /* The very last page stays out of it: its end is no address. */
    if (held + pages < PAGE) old = __builtin_wasm_memory_grow(0, pages);
    if (old == SIZE_MAX && held + needed < PAGE) {
        pages = needed;
        old = __builtin_wasm_memory_grow(0, pages);
    }
    if (old == SIZE_MAX) mix_panic("out of memory");
    char *start = (char *)(old * PAGE), *end = start + pages * PAGE;
    if (last->end != start) {
        last->next = (chunk *)start;
        last = last->next;
        last->next = NULL;
    }
    last->end = end;
}

void *mix_take(size_t size) {
    prepare();
    if (size > LARGEST) mix_panic(TOO_LARGE);
    size = (size + 7) & ~(size_t)7;
    while (room_in(here) < size) {
        if (here.chunk->next == NULL) grow(size);
        if (room_in(here) < size && here.chunk->next) here = start_of(here.chunk->next);
    }
    char *block = here.at;
    here.at += size;
    return block;
}

void *mix_extend(void *block, size_t old_size, size_t size) {
    if (block && (char *)block + ((old_size + 7) & ~(size_t)7) == here.at) {
        place before = {here.chunk, block};
        if (size > LARGEST) mix_panic(TOO_LARGE);
        if (room_in(before) < size && before.chunk->next == NULL) grow(size);
        if (room_in(before) >= ((size + 7) & ~(size_t)7)) {
            here.at = (char *)block + ((size + 7) & ~(size_t)7);
            return block;
        }
    }
    void *longer = mix_take(size);
    if (block) memcpy(longer, block, old_size);
    return longer;
}

mix_scope mix_enter(void) {
    prepare();
    mix_scope entered = {here.chunk, here.at, ++scopes, scope};
    scope = entered.id;
    return entered;
}

void mix_leave(mix_scope entered) {
    if (entered.id != scope) mix_panic("mix_leave: scopes are left in the reverse order of entering");
    here = (place){entered.chunk, entered.at};
    scope = entered.parent;
}

unsigned mix_scope_id(void) { return scope; }

void mix_memory_reset(void) {
    prepare();
    here = base;
    scope = 0;
}

void mix_memory_keep(void) { base = here; }
