/* Maps: persistent B+ trees. */
#include "map.h"

static bool is_leaf(const struct values *node) { return node->head.kind == LEAF; }
static uint32_t stride_of(const struct values *node) { return is_leaf(node) ? 2 : 3; }
static uint32_t width_of(const struct values *node) { return node->head.count / stride_of(node); }

/* How many entries are below. */
static uint32_t entries_of(const struct values *node)
{
    if (is_leaf(node))
        return node->head.count / 2;
    uint32_t entries = 0;
    for (uint32_t index = 2; index < node->head.count; index += 3)
        entries += (uint32_t)small_of(node->at[index]);
    return entries;
}

static struct values *new_node(struct vm *vm, enum object_kind kind, uint32_t count)
{
    struct values *node = heap_new(vm, kind, sizeof(struct values) + count * sizeof(Value));
    if (node != NULL)
        node->head.count = count;
    return node;
}

static Value new_map(struct vm *vm, uint32_t count, Value root)
{
    struct map *map = heap_new(vm, MAP, sizeof(struct map));
    if (map == NULL)
        return FAILED;
    map->head.count = count;
    map->root = root;
    return of_object(map);
}

Value map_empty(struct vm *vm)
{
    struct values *leaf = new_node(vm, LEAF, 0);
    return leaf == NULL ? FAILED : new_map(vm, 0, of_object(leaf));
}

/* Index of the first key of a node that is not less than `key`; `found` if it is that key. */
static uint32_t search(const struct values *node, const struct text *key, bool *found)
{
    uint32_t stride = stride_of(node), low = 0, high = width_of(node);
    Value pointer = of_object(key);
    /* Keys that the program names are one object each. */
    for (uint32_t index = 0; index < high; index++)
        if (node->at[index * stride] == pointer) {
            *found = true;
            return index;
        }
    *found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = text_order(text_of(node->at[middle * stride]), key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The child of a branch in which a key is, if it is anywhere. */
static uint32_t child_for(const struct values *branch, const struct text *key)
{
    bool found;
    uint32_t index = search(branch, key, &found);
    return found || index == 0 ? index : index - 1;
}

Value map_get(Value map, const struct text *key)
{
    const struct values *node = values_of(map_of(map)->root);
    while (!is_leaf(node))
        node = values_of(node->at[child_for(node, key) * 3 + 1]);
    bool found;
    uint32_t index = search(node, key, &found);
    return found ? node->at[index * 2 + 1] : UNDEF;
}

/* What became of a node: one, or two if it was full. */
struct grown {
    struct values *left, *right;
};

/* A node with `more` values put in before position `at` after `gone` were taken out there, split if it is too wide. */
static bool splice(
    struct vm *vm, const struct values *node, uint32_t at, uint32_t gone, const Value *more, uint32_t added, struct grown *grown)
{
    uint32_t stride = stride_of(node), count = node->head.count - gone + added;
    enum object_kind kind = (enum object_kind)node->head.kind;
    Value all[(WIDTH + 1) * 3];
    memcpy(all, node->at, at * sizeof(Value));
    memcpy(all + at, more, added * sizeof(Value));
    memcpy(all + at + added, node->at + at + gone, (node->head.count - at - gone) * sizeof(Value));
    uint32_t left = count;
    if (count > WIDTH * stride) /* who appends in order leaves full nodes behind */
        left = at + added == count ? WIDTH * stride : (WIDTH / 2) * stride;
    grown->left = new_node(vm, kind, left);
    grown->right = NULL;
    if (grown->left == NULL)
        return false;
    memcpy(grown->left->at, all, left * sizeof(Value));
    if (left < count) {
        grown->right = new_node(vm, kind, count - left);
        if (grown->right == NULL)
            return false;
        memcpy(grown->right->at, all + left, (count - left) * sizeof(Value));
    }
    return true;
}

/* A node with so many values replaced at a position. */
static bool replace(struct vm *vm, const struct values *node, uint32_t at, const Value *by, uint32_t count, struct grown *grown)
{
    grown->right = NULL;
    grown->left = new_node(vm, (enum object_kind)node->head.kind, node->head.count);
    if (grown->left == NULL)
        return false;
    memcpy(grown->left->at, node->at, node->head.count * sizeof(Value));
    memcpy(grown->left->at + at, by, count * sizeof(Value));
    return true;
}

static void describe(const struct values *node, Value *three)
{
    three[0] = node->at[0];
    three[1] = of_object(node);
    three[2] = of_small(entries_of(node));
}

static bool insert(struct vm *vm, const struct values *node, const struct text *key, Value value, struct grown *grown, bool *added)
{
    bool found;
    if (is_leaf(node)) {
        uint32_t index = search(node, key, &found);
        Value pair[2] = {of_object(key), value};
        *added = !found;
        if (found)
            return replace(vm, node, index * 2 + 1, &value, 1, grown);
        return splice(vm, node, index * 2, 0, pair, 2, grown);
    }
    uint32_t child = child_for(node, key);
    struct grown below;
    if (!insert(vm, values_of(node->at[child * 3 + 1]), key, value, &below, added))
        return false;
    Value six[6];
    describe(below.left, six);
    if (below.right == NULL)
        return replace(vm, node, child * 3, six, 3, grown);
    describe(below.right, six + 3);
    return splice(vm, node, child * 3, 3, six, 6, grown);
}

Value map_set(struct vm *vm, Value map, Value key, Value value)
{
    struct text *flat = text_flat(vm, key);
    if (flat == NULL)
        return FAILED;
    struct grown grown;
    bool added;
    charge(vm, 4);
    if (!insert(vm, values_of(map_of(map)->root), flat, value, &grown, &added))
        return FAILED;
    struct values *root = grown.left;
    if (grown.right != NULL) {
        root = new_node(vm, BRANCH, 6);
        if (root == NULL)
            return FAILED;
        describe(grown.left, root->at);
        describe(grown.right, root->at + 3);
    }
    return new_map(vm, map_count(map) + added, of_object(root));
}

/* NULL with *gone if nothing is left of the node; NULL else if it FAILED. */
static struct values *without(struct vm *vm, const struct values *node, const struct text *key, bool *gone)
{
    uint32_t stride = stride_of(node), index;
    struct values *below = NULL;
    bool empty = false, found;
    if (is_leaf(node)) {
        index = search(node, key, &found);
        empty = true;
    } else {
        index = child_for(node, key);
        below = without(vm, values_of(node->at[index * 3 + 1]), key, &empty);
        if (below == NULL && !empty)
            return NULL;
    }
    if (empty && node->head.count == stride) {
        *gone = true;
        return NULL;
    }
    struct grown grown;
    Value three[3];
    if (below != NULL)
        describe(below, three);
    if (!splice(vm, node, index * stride, stride, three, below == NULL ? 0 : 3, &grown))
        return NULL;
    return grown.left;
}

Value map_remove(struct vm *vm, Value map, const struct text *key)
{
    if (map_get(map, key) == UNDEF)
        return map;
    bool gone = false;
    charge(vm, 4);
    struct values *root = without(vm, values_of(map_of(map)->root), key, &gone);
    if (gone)
        return map_empty(vm);
    if (root == NULL)
        return FAILED;
    while (!is_leaf(root) && root->head.count == 3)
        root = values_of(root->at[1]);
    return new_map(vm, map_count(map) - 1, of_object(root));
}

void cursor_open(struct map_cursor *cursor, Value map)
{
    cursor->depth = 0;
    cursor->node[0] = values_of(map_of(map)->root);
    cursor->at[0] = 0;
}

void cursor_seek(struct map_cursor *cursor, Value map, uint32_t index)
{
    cursor_open(cursor, map);
    for (;;) {
        const struct values *node = cursor->node[cursor->depth];
        if (is_leaf(node)) {
            cursor->at[cursor->depth] = index;
            return;
        }
        uint32_t child = 0, width = width_of(node);
        while (child < width && index >= (uint32_t)small_of(node->at[child * 3 + 2]))
            index -= (uint32_t)small_of(node->at[child++ * 3 + 2]);
        cursor->at[cursor->depth] = child + 1;
        if (child == width) {
            cursor->at[cursor->depth] = width;
            return;
        }
        cursor->node[++cursor->depth] = values_of(node->at[child * 3 + 1]);
    }
}

bool cursor_next(struct map_cursor *cursor, Value *key, Value *value)
{
    for (;;) {
        const struct values *node = cursor->node[cursor->depth];
        uint32_t at = cursor->at[cursor->depth]++;
        if (at >= width_of(node)) {
            if (cursor->depth == 0) {
                cursor->at[0] = at;
                return false;
            }
            cursor->depth--;
            continue;
        }
        if (is_leaf(node)) {
            *key = node->at[at * 2];
            *value = node->at[at * 2 + 1];
            return true;
        }
        cursor->node[++cursor->depth] = values_of(node->at[at * 3 + 1]);
        cursor->at[cursor->depth] = 0;
    }
}

void map_builder_open(struct map_builder *builder, struct vm *vm) { *builder = (struct map_builder){.vm = vm}; }

/* The node that is being filled is done: cut to what it has, it becomes a child of the one above. */
static bool finish_node(struct map_builder *builder, unsigned height)
{
    struct values *node = builder->node[height], *above;
    node->head.count = builder->filled[height];
    builder->node[height] = NULL;
    if (height + 1 == MAX_HEIGHT) {
        builder->vm->fault = FAULT_MEMORY;
        return false;
    }
    above = builder->node[height + 1];
    if (above != NULL && builder->filled[height + 1] == WIDTH * 3) {
        if (!finish_node(builder, height + 1))
            return false;
        above = NULL;
    }
    if (above == NULL) {
        above = builder->node[height + 1] = new_node(builder->vm, BRANCH, WIDTH * 3);
        if (above == NULL)
            return false;
        builder->filled[height + 1] = 0;
    }
    describe(node, above->at + builder->filled[height + 1]);
    builder->filled[height + 1] += 3;
    return true;
}

bool map_builder_push(struct map_builder *builder, Value key, Value value)
{
    if (builder->node[0] != NULL && builder->filled[0] == WIDTH * 2 && !finish_node(builder, 0))
        return false;
    if (builder->node[0] == NULL) {
        builder->node[0] = new_node(builder->vm, LEAF, WIDTH * 2);
        if (builder->node[0] == NULL)
            return false;
        builder->filled[0] = 0;
        charge(builder->vm, WIDTH / 4);
    }
    Value *at = builder->node[0]->at + builder->filled[0];
    at[0] = key;
    at[1] = value;
    builder->filled[0] += 2;
    builder->count++;
    return true;
}

Value map_builder_close(struct map_builder *builder)
{
    if (builder->count == 0)
        return map_empty(builder->vm);
    for (unsigned height = 0;; height++) {
        bool above = false;
        for (unsigned higher = height + 1; higher < MAX_HEIGHT; higher++)
            above = above || builder->node[higher] != NULL;
        if (!above) {
            struct values *node = builder->node[height];
            node->head.count = builder->filled[height];
            return new_map(builder->vm, builder->count, of_object(node));
        }
        if (!finish_node(builder, height))
            return FAILED;
    }
}

Value map_join(struct vm *vm, Value left, Value right)
{
    uint32_t a = map_count(left), b = map_count(right);
    if (b == 0)
        return left;
    if (a == 0)
        return right;
    struct map_cursor from_left, from_right;
    Value key, value;
    if (b <= 2 || b < a / 8) {
        cursor_open(&from_right, right);
        while (cursor_next(&from_right, &key, &value)) {
            left = map_set(vm, left, key, value);
            if (left == FAILED)
                return FAILED;
        }
        return left;
    }
    struct map_builder builder;
    map_builder_open(&builder, vm);
    cursor_open(&from_left, left);
    cursor_open(&from_right, right);
    Value right_key, right_value;
    bool more = cursor_next(&from_left, &key, &value), right_more = cursor_next(&from_right, &right_key, &right_value);
    charge(vm, a + b);
    while (more || right_more) {
        int order = !more ? 1 : !right_more ? -1 : text_order(text_of(key), text_of(right_key));
        if (!map_builder_push(&builder, order < 0 ? key : right_key, order < 0 ? value : right_value))
            return FAILED;
        if (order <= 0)
            more = cursor_next(&from_left, &key, &value);
        if (order >= 0)
            right_more = cursor_next(&from_right, &right_key, &right_value);
    }
    return map_builder_close(&builder);
}
