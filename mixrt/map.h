/* Maps: persistent B+ trees, in the order of the keys' bytes, which is also the codec's. Up to 16 entries are one leaf.
 *
 * A leaf holds key, value, key, value …; a branch the first key, the child, and the number of entries of each child.
 */
#ifndef MIXRT_MAP_H
#define MIXRT_MAP_H

#include "text.h"

#define WIDTH 16u
#define MAX_HEIGHT 12u

static inline uint32_t map_count(Value map) { return object_of(map)->count; }

Value map_empty(struct vm *vm);
/* The value of a key, which is flat; undefined if it is absent. */
Value map_get(Value map, const struct text *key);
Value map_set(struct vm *vm, Value map, Value key, Value value);
Value map_remove(struct vm *vm, Value map, const struct text *key);
/* Entries of both; of those that both have the right one. */
Value map_join(struct vm *vm, Value left, Value right);

/* Goes through a map in order. It stays valid as long as nothing collects. */
struct map_cursor {
    unsigned depth;
    const struct values *node[MAX_HEIGHT];
    uint32_t at[MAX_HEIGHT];
};

void cursor_open(struct map_cursor *cursor, Value map);
/* At the entry of that index. */
void cursor_seek(struct map_cursor *cursor, Value map, uint32_t index);
bool cursor_next(struct map_cursor *cursor, Value *key, Value *value);

/* Makes a map from entries in ascending order. */
struct map_builder {
    struct vm *vm;
    uint32_t count;
    struct values *node[MAX_HEIGHT];
    uint32_t filled[MAX_HEIGHT];
};

void map_builder_open(struct map_builder *builder, struct vm *vm);
/* The key is flat, and greater than those before. False if it FAILED. */
bool map_builder_push(struct map_builder *builder, Value key, Value value);
Value map_builder_close(struct map_builder *builder);

#endif
