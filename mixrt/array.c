/* Arrays: persistent vectors. */
#include "array.h"

#include "made.h"
#include "work.h"

#define MASK (LEAF_SIZE - 1)

/* A node of so many values: those of another, then undefined ones. */
static struct values *copy_node(struct vm *vm, const Value *from, uint32_t copied, uint32_t count)
{
    struct values *node = heap_new(vm, NODE, sizeof(struct values) + count * sizeof(Value));
    if (node == NULL)
        return NULL;
    node->head.count = count;
    if (copied > 0)
        memcpy(node->at, from, copied * sizeof(Value));
    for (uint32_t index = copied; index < count; index++)
        node->at[index] = UNDEF;
    return node;
}

static struct values *new_node(struct vm *vm, uint32_t count) { return copy_node(vm, NULL, 0, count); }

static Value new_array(struct vm *vm, uint32_t count, unsigned shift, Value root, Value tail)
{
    struct array *array = heap_new(vm, ARRAY, sizeof(struct array));
    if (array == NULL)
        return FAILED;
    array->head.count = count;
    array->head.aux = (uint16_t)shift;
    array->root = root;
    array->tail = tail;
    return of_object(array);
}

void builder_open(struct array_builder *builder, struct vm *vm) { *builder = (struct array_builder){.vm = vm}; }

/* A full node becomes a child of the one above. */
static bool push_up(struct array_builder *builder, unsigned height, struct values *node)
{
    struct values **above = &builder->spine[height];
    if (*above != NULL && builder->filled[height] == LEAF_SIZE) {
        /* Its turn comes first; what is pushed then starts a new one. */
        if (!push_up(builder, height + 1, *above))
            return false;
        *above = NULL;
    }
    if (*above == NULL) {
        *above = new_node(builder->vm, LEAF_SIZE);
        if (*above == NULL)
            return false;
        builder->filled[height] = 0;
    }
    (*above)->at[builder->filled[height]++] = of_object(node);
    return true;
}

bool builder_push(struct array_builder *builder, Value element)
{
    uint32_t in_tail = builder->count & MASK;
    if (in_tail == 0) {
        if (builder->tail != NULL && !push_up(builder, 0, builder->tail))
            return false;
        if (builder->count >= MAX_ARRAY) {
            builder->vm->fault = FAULT_MEMORY;
            return false;
        }
        builder->tail = new_node(builder->vm, LEAF_SIZE);
        if (builder->tail == NULL)
            return false;
        charge(builder->vm, LEAF_SIZE / 4);
    }
    builder->tail->at[in_tail] = element;
    builder->count++;
    return true;
}

bool builder_push_part(struct array_builder *builder, Value array, uint32_t from, uint32_t to)
{
    const Value *leaf = NULL;
    for (uint32_t index = from; index < to; index++) {
        if (leaf == NULL || (index & MASK) == 0)
            leaf = array_leaf(array, index);
        if (!builder_push(builder, leaf[index & MASK]))
            return false;
    }
    return true;
}

enum { KEPT_COUNT, KEPT_TAIL, KEPT_SPINE, KEPT_FILLED = KEPT_SPINE + 6, KEPT_SIZE = KEPT_FILLED + 6 };

static Value kept_node(const struct values *node) { return node == NULL ? UNDEF : of_object(node); }

/* What an old node gets from now on is young. */
static struct values *node_kept(struct vm *vm, Value kept)
{
    if (kept == UNDEF)
        return NULL;
    heap_wrote(vm, values_of(kept));
    return values_of(kept);
}

Value builder_keep(const struct array_builder *builder)
{
    struct vm *vm = builder->vm;
    Value kept[KEPT_SIZE] = {of_small(builder->count), kept_node(builder->tail)};
    for (unsigned height = 0; height < 6; height++) {
        kept[KEPT_SPINE + height] = kept_node(builder->spine[height]);
        kept[KEPT_FILLED + height] = of_small(builder->filled[height]);
    }
    return made_values(vm, SLOTS, KEPT_SIZE, kept);
}

void builder_go_on(struct array_builder *builder, struct vm *vm, Value kept)
{
    const Value *at = values_of(kept)->at;
    builder_open(builder, vm);
    builder->count = (uint32_t)small_of(at[KEPT_COUNT]);
    builder->tail = node_kept(vm, at[KEPT_TAIL]);
    for (unsigned height = 0; height < 6; height++) {
        builder->spine[height] = node_kept(vm, at[KEPT_SPINE + height]);
        builder->filled[height] = (uint32_t)small_of(at[KEPT_FILLED + height]);
    }
}

static bool has_above(const struct array_builder *builder, unsigned height)
{
    while (++height < 6)
        if (builder->spine[height] != NULL)
            return true;
    return false;
}

Value builder_close(struct array_builder *builder)
{
    struct vm *vm = builder->vm;
    struct values *tail = builder->tail;
    uint32_t in_tail = builder->count == 0 ? 0 : ((builder->count - 1) & MASK) + 1;
    if (tail == NULL || (in_tail < LEAF_SIZE && builder->count < LEAF_SIZE)) {
        /* A short array takes no more than it needs. */
        tail = copy_node(vm, tail == NULL ? NULL : tail->at, in_tail, in_tail);
        if (tail == NULL)
            return FAILED;
    }
    if (builder->spine[0] == NULL)
        return new_array(vm, builder->count, 0, UNDEF, of_object(tail));
    /* The unfinished nodes become the last children of those above. */
    unsigned height = 0;
    while (has_above(builder, height)) {
        if (!push_up(builder, height + 1, builder->spine[height]))
            return FAILED;
        height++;
    }
    return new_array(vm, builder->count, (height + 1) * 5, of_object(builder->spine[height]), of_object(tail));
}

Value array_of_values(struct vm *vm, const Value *values, uint32_t count)
{
    if (count <= LEAF_SIZE) {
        struct values *tail = copy_node(vm, values, count, count);
        if (tail == NULL)
            return FAILED;
        return new_array(vm, count, 0, UNDEF, of_object(tail));
    }
    struct array_builder builder;
    builder_open(&builder, vm);
    for (uint32_t index = 0; index < count; index++)
        if (!builder_push(&builder, values[index]))
            return FAILED;
    return builder_close(&builder);
}

/* A node of the given shift with the leaf put after those that it has; `node` may be undefined. */
static Value with_leaf(struct vm *vm, Value node, unsigned shift, uint32_t index, Value leaf)
{
    if (shift == 0)
        return leaf;
    struct values *copy = node == UNDEF ? new_node(vm, LEAF_SIZE) : copy_node(vm, values_of(node)->at, LEAF_SIZE, LEAF_SIZE);
    if (copy == NULL)
        return FAILED;
    Value *child = &copy->at[index >> shift & MASK];
    Value made = with_leaf(vm, *child, shift - 5, index, leaf);
    if (made == FAILED)
        return FAILED;
    *child = made;
    return of_object(copy);
}

Value array_push(struct vm *vm, Value array, Value element)
{
    const struct array *old = array_of(array);
    uint32_t count = old->head.count, in_tail = count - tree_count(count);
    if (count >= MAX_ARRAY)
        return failed(vm, FAULT_MEMORY);
    unsigned shift = array_shift(old);
    Value root = old->root;
    struct values *tail = values_of(old->tail);
    if (in_tail == LEAF_SIZE) {
        /* The tail is full: it becomes a leaf of the tree, which grows in height if that is full too. */
        uint32_t index = count - LEAF_SIZE;
        if (shift == 0) {
            root = with_leaf(vm, UNDEF, 5, index, old->tail);
            shift = 5;
        } else if (index >> (shift + 5) != 0) {
            struct values *above = new_node(vm, LEAF_SIZE);
            if (above == NULL)
                return FAILED;
            above->at[0] = root;
            shift += 5;
            root = with_leaf(vm, of_object(above), shift, index, old->tail);
        } else {
            root = with_leaf(vm, root, shift, index, old->tail);
        }
        if (root == FAILED)
            return FAILED;
        tail = new_node(vm, LEAF_SIZE);
        if (tail == NULL)
            return FAILED;
        tail->at[0] = element;
        return new_array(vm, count + 1, shift, root, of_object(tail));
    }
    if (in_tail == tail->head.count || tail->at[in_tail] != UNDEF) {
        uint32_t room = in_tail < 2 ? 4 : in_tail * 2 > LEAF_SIZE ? LEAF_SIZE : in_tail * 2;
        tail = copy_node(vm, tail->at, in_tail, room);
        if (tail == NULL)
            return FAILED;
    }
    Value made = new_array(vm, count + 1, shift, root, of_object(tail));
    if (made == FAILED)
        return FAILED;
    tail->at[in_tail] = element;
    heap_wrote(vm, tail);
    return made;
}

static Value with_element(struct vm *vm, Value node, unsigned shift, uint32_t index, Value element)
{
    struct values *copy = copy_node(vm, values_of(node)->at, LEAF_SIZE, LEAF_SIZE);
    if (copy == NULL)
        return FAILED;
    if (shift == 0) {
        copy->at[index & MASK] = element;
    } else {
        Value *child = &copy->at[index >> shift & MASK];
        Value made = with_element(vm, *child, shift - 5, index, element);
        if (made == FAILED)
            return FAILED;
        *child = made;
    }
    return of_object(copy);
}

Value array_set(struct vm *vm, Value array, uint32_t index, Value element)
{
    const struct array *old = array_of(array);
    uint32_t count = old->head.count;
    charge(vm, 4);
    if (index >= tree_count(count)) {
        /* What a longer array has in the same node is not copied: it would look taken. */
        uint32_t in_tail = count - tree_count(count);
        struct values *tail = copy_node(vm, values_of(old->tail)->at, in_tail, in_tail);
        if (tail == NULL)
            return FAILED;
        tail->at[index & MASK] = element;
        return new_array(vm, count, array_shift(old), old->root, of_object(tail));
    }
    Value root = with_element(vm, old->root, array_shift(old), index, element);
    if (root == FAILED)
        return FAILED;
    return new_array(vm, count, array_shift(old), root, old->tail);
}

Value array_set_own(struct vm *vm, Value array, uint32_t index, Value element)
{
    struct array *own = array_of(array);
    uint32_t count = own->head.count;
    unsigned owner = array_owner(own), shift = array_shift(own);
    if (owner == 0) {
        if (vm->heap.owners == MOST_OWNERS)
            return array_set(vm, array, index, element);
        array = new_array(vm, count, shift, own->root, own->tail);
        if (array == FAILED)
            return FAILED;
        own = array_of(array);
        owner = ++vm->heap.owners;
        own->head.aux |= (uint16_t)(owner << SHIFT_BITS);
    }
    Value *place = &own->root;
    void *holder = own;
    uint32_t size = LEAF_SIZE;
    if (index >= tree_count(count)) {
        place = &own->tail;
        size = count - tree_count(count);
        shift = 0;
    }
    for (;;) {
        struct values *node = values_of(*place);
        if (node->head.aux != owner) {
            charge(vm, 2);
            node = copy_node(vm, node->at, size, size);
            if (node == NULL)
                return FAILED;
            node->head.aux = (uint16_t)owner;
            *place = of_object(node);
            heap_wrote(vm, holder);
        }
        holder = node;
        place = &node->at[index >> shift & MASK];
        if (shift == 0)
            break;
        shift -= 5;
    }
    *place = element;
    heap_wrote(vm, holder);
    return array;
}

Value array_join(struct vm *vm, Value left, Value right)
{
    uint32_t a = array_count(left), b = array_count(right);
    if (b == 0)
        return left;
    if (a == 0)
        return right;
    if ((uint64_t)a + b > MAX_ARRAY)
        return failed(vm, FAULT_MEMORY);
    if (b <= LEAF_SIZE / 2 || b < a / 16) {
        for (uint32_t index = 0; index < b; index++) {
            left = array_push(vm, left, array_get(right, index));
            if (left == FAILED)
                return FAILED;
        }
        charge(vm, b);
        return left;
    }
    struct array_builder builder;
    Value kept;
    size_t at = 0;
    if (work_goes_on(vm, &kept, &at))
        builder_go_on(&builder, vm, kept);
    else
        builder_open(&builder, vm);
    while (at < (size_t)a + b) {
        bool first = at < a;
        uint32_t from = (uint32_t)(first ? at : at - a), all = first ? a : b, to = (from | (LEAF_SIZE - 1)) + 1;
        to = to < all ? to : all;
        if (!builder_push_part(&builder, first ? left : right, from, to))
            return FAILED;
        at += to - from;
        if (vm->fuel < 0 && at < (size_t)a + b) {
            kept = builder_keep(&builder);
            return kept == FAILED ? FAILED : work_leave(vm, kept, at);
        }
    }
    Value joined = builder_close(&builder);
    if (joined != FAILED)
        vm->work = UNDEF;
    return joined;
}
