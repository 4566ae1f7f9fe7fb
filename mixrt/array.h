/* Arrays: persistent vectors. The last elements, up to 32, are the tail; those before it are the leaves, of 32 each, of a tree
 * whose nodes have 32 children. aux of an array is the shift that finds the child of the root: 5 times the tree's height, 0
 * without a tree; and above that its owner's number, if a register owns it. The nodes that the array alone has bear the same number: they
 * are changed in place. A number is not used again until a major collection has taken all of them away.
 *
 * What is free in the tail's node is undefined, which no element is. Appending writes there, and only the new array
 * counts so far; whoever appends to the older one as well finds the place taken, and copies the tail.
 */
#ifndef MIXRT_ARRAY_H
#define MIXRT_ARRAY_H

#include "vm.h"

#define LEAF_SIZE 32u
#define MAX_ARRAY (UINT32_C(1) << 27)

/* From so many values, none undefined. */
Value array_of_values(struct vm *vm, const Value *values, uint32_t count);
Value array_push(struct vm *vm, Value array, Value element);
/* With one element replaced; the index is within the array. */
Value array_set(struct vm *vm, Value array, uint32_t index, Value element);
/* The same, but changed in place as far as nobody else has it; what is answered is owned. Not changed if it FAILED. */
Value array_set_own(struct vm *vm, Value array, uint32_t index, Value element);
/* Gives way in the middle. */
Value array_join(struct vm *vm, Value left, Value right);

#define SHIFT_BITS 5
static inline unsigned array_shift(const struct array *array) { return array->head.aux & ((1u << SHIFT_BITS) - 1); }
static inline unsigned array_owner(const struct array *array) { return array->head.aux >> SHIFT_BITS; }
#define MOST_OWNERS 2047u
/* Whoever has it is no owner any more. */
static inline void array_share(Value array) { object_of(array)->aux &= (1u << SHIFT_BITS) - 1; }

static inline uint32_t array_count(Value array) { return object_of(array)->count; }
/* How many elements stand in the tree. */
static inline uint32_t tree_count(uint32_t count) { return count == 0 ? 0 : (count - 1) & ~(LEAF_SIZE - 1); }

/* The leaf in which an element stands at index % 32. */
static inline const Value *array_leaf(Value array, uint32_t index)
{
    const struct array *a = array_of(array);
    if (index >= tree_count(a->head.count))
        return values_of(a->tail)->at;
    const struct values *node = values_of(a->root);
    for (unsigned shift = array_shift(a); shift > 0; shift -= 5)
        node = values_of(node->at[index >> shift & (LEAF_SIZE - 1)]);
    return node->at;
}

static inline Value array_get(Value array, uint32_t index)
{
    return array_leaf(array, index)[index & (LEAF_SIZE - 1)];
}

/* Makes an array element by element. */
struct array_builder {
    struct vm *vm;
    uint32_t count;
    struct values *tail;     /* the leaf that is being filled, or NULL */
    struct values *spine[6]; /* by height from 1: the nodes that are being filled, or NULL */
    uint32_t filled[6];
};

void builder_open(struct array_builder *builder, struct vm *vm);
/* False if it FAILED. */
bool builder_push(struct array_builder *builder, Value element);
bool builder_push_part(struct array_builder *builder, Value array, uint32_t from, uint32_t to);
Value builder_close(struct array_builder *builder);
/* What an unfinished builder is in an object, for when something is collected; and that again. FAILED, or false. */
Value builder_keep(const struct array_builder *builder);
void builder_go_on(struct array_builder *builder, struct vm *vm, Value kept);

#endif
