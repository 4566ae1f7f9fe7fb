/* Built-ins for arrays, maps and streams. */
#include "array.h"
#include "builtin.h"
#include "compare.h"
#include "map.h"
#include "operator.h"
#include "stream.h"
#include "work.h"

static uint32_t moved_into(Value index, uint32_t count)
{
    int64_t number = whole_of(index);
    return number < 0 ? 0 : number > count ? count : (uint32_t)number;
}

/* Goes on with an array that is being made from what stands at *at, which stays if that is the start. */
static void make(struct array_builder *builder, struct vm *vm, size_t *at)
{
    Value kept;
    if (work_goes_on(vm, &kept, at))
        builder_go_on(builder, vm, kept);
    else
        builder_open(builder, vm);
}

static Value leave(struct array_builder *builder, size_t at)
{
    Value kept = builder_keep(builder);
    return kept == FAILED ? FAILED : work_leave(builder->vm, kept, at);
}

Value builtin_array_sub(struct vm *vm, const Value *arguments)
{
    uint32_t count = array_count(arguments[2]);
    size_t from = moved_into(arguments[0], count), to = moved_into(arguments[1], count);
    struct array_builder builder;
    if (from == 0 && to == count)
        return arguments[2];
    make(&builder, vm, &from);
    while (from < to) {
        size_t end = (from | (LEAF_SIZE - 1)) + 1;
        end = end < to ? end : to;
        if (!builder_push_part(&builder, arguments[2], (uint32_t)from, (uint32_t)end))
            return FAILED;
        from = end;
        if (vm->fuel < 0 && from < to)
            return leave(&builder, from);
    }
    return builder_close(&builder);
}

Value builtin_array_reverse(struct vm *vm, const Value *arguments)
{
    struct array_builder builder;
    size_t left = array_count(arguments[0]);
    make(&builder, vm, &left);
    while (left > 0) {
        if (!builder_push(&builder, array_get(arguments[0], (uint32_t)--left)))
            return FAILED;
        if (vm->fuel < 0 && left > 0)
            return leave(&builder, left);
    }
    return builder_close(&builder);
}

/* What a sort keeps between its parts, before twice as many values as are sorted; behind them twice as many elements, if what is
 * sorted are their keys. Runs of `width` are sorted already, and two of them are being merged. */
enum { SORT_WIDTH, SORT_START, SORT_LEFT, SORT_RIGHT, SORT_TO, SORT_FLIPPED, SORT_SIZE };

static struct values *sort_open(struct vm *vm, Value array, Value elements)
{
    uint32_t count = array_count(array);
    size_t all = (size_t)count * (elements == UNDEF ? 2 : 4) + SORT_SIZE;
    struct values *state = heap_new(vm, SLOTS, sizeof(struct values) + all * sizeof(Value));
    if (state == NULL)
        return NULL;
    state->head.count = (uint32_t)all;
    for (unsigned index = 0; index < SORT_SIZE; index++)
        state->at[index] = of_small(0);
    state->at[SORT_WIDTH] = state->at[SORT_RIGHT] = of_small(1);
    for (uint32_t index = 0; index < count; index++)
        state->at[SORT_SIZE + index] = state->at[SORT_SIZE + count + index] = array_get(array, index);
    for (uint32_t index = 0; elements != UNDEF && index < count; index++)
        state->at[SORT_SIZE + 2 * count + index] = state->at[SORT_SIZE + 3 * count + index] = array_get(elements, index);
    charge(vm, count / 2);
    vm->work = of_object(state);
    return state;
}

static void sort_keep(struct values *state, uint32_t width, uint32_t start, uint32_t left, uint32_t right, uint32_t to)
{
    state->at[SORT_WIDTH] = of_small(width);
    state->at[SORT_START] = of_small(start);
    state->at[SORT_LEFT] = of_small(left);
    state->at[SORT_RIGHT] = of_small(right);
    state->at[SORT_TO] = of_small(to);
}

/* An array in its order, or the elements that it has the keys of. */
static Value sorted_by(struct vm *vm, Value array, Value elements, const char *name)
{
    uint32_t count = array_count(array), behind = elements == UNDEF ? 0 : 2 * count;
    struct values *state = vm->work == UNDEF ? sort_open(vm, array, elements) : values_of(vm->work);
    if (state == NULL)
        return FAILED;
    heap_wrote(vm, state);
    uint32_t width = (uint32_t)small_of(state->at[SORT_WIDTH]), start = (uint32_t)small_of(state->at[SORT_START]);
    uint32_t left = (uint32_t)small_of(state->at[SORT_LEFT]), right = (uint32_t)small_of(state->at[SORT_RIGHT]);
    uint32_t to = (uint32_t)small_of(state->at[SORT_TO]);
    while (width < count) {
        bool flipped = state->at[SORT_FLIPPED] != of_small(0);
        const Value *from = state->at + SORT_SIZE + (flipped ? count : 0);
        Value *into = state->at + SORT_SIZE + (flipped ? 0 : count);
        uint32_t middle = start + width < count ? start + width : count;
        uint32_t end = start + width * 2 < count ? start + width * 2 : count;
        while (to < end) {
            if (left < middle && right < end) {
                enum order order = value_order(vm, from[right], from[left]);
                charge(vm, 1);
                if (order == ORDER_FAILED) {
                    sort_keep(state, width, start, left, right, to);
                    return FAILED;
                }
                if (order == APART)
                    return raise_text(vm, "%s: expected values that compare, found %v and %v", name, from[left], from[right]);
                uint32_t next = order == LESS ? right++ : left++;
                into[to + behind] = from[next + behind];
                into[to++] = from[next];
            } else {
                uint32_t next = left < middle ? left++ : right++;
                into[to + behind] = from[next + behind];
                into[to++] = from[next];
            }
            if (vm->fuel < 0 && to < end) {
                sort_keep(state, width, start, left, right, to);
                return failed(vm, FAULT_AGAIN);
            }
        }
        start = end;
        if (start == count) {
            start = 0;
            width *= 2;
        }
        left = to = start;
        right = start + width < count ? start + width : count;
        if (start == 0) {
            state->at[SORT_FLIPPED] = of_small(!flipped);
            sort_keep(state, width, 0, 0, right, 0);
        }
    }
    const Value *sorted = state->at + SORT_SIZE + (state->at[SORT_FLIPPED] != of_small(0) ? count : 0);
    return array_of_values(vm, sorted + behind, count);
}

Value builtin_array_sort(struct vm *vm, const Value *arguments) { return sorted_by(vm, arguments[0], UNDEF, "array_sort"); }

Value builtin_array_sort_by(struct vm *vm, const Value *arguments)
{
    uint32_t keys = array_count(arguments[0]), count = array_count(arguments[1]);
    if (keys != count)
        return raise_text(vm, "array_sort_by: expected as many keys as elements, found %d and %d", (int64_t)keys, (int64_t)count);
    return sorted_by(vm, arguments[0], arguments[1], "array_sort_by");
}

Value builtin_array_range(struct vm *vm, const Value *arguments)
{
    uint32_t count = array_count(arguments[2]);
    int64_t last = whole_of(arguments[1]);
    return stream_part(vm, arguments[2], moved_into(arguments[0], count), last < 0 ? 0 : last >= count ? count : (uint32_t)last + 1);
}

Value builtin_int_range(struct vm *vm, const Value *arguments)
{
    int64_t first = whole_of(arguments[0]), last = whole_of(arguments[1]);
    if (!fits_small(first) || !fits_small(last) || !fits_small(last + 1))
        return raise_text(vm, "int_range: expected numbers within 47 bits");
    return stream_ints(vm, first, last);
}

static Value listed(struct vm *vm, Value map, bool keys)
{
    struct array_builder builder;
    struct map_cursor cursor;
    Value key, value;
    size_t at = 0;
    make(&builder, vm, &at);
    cursor_seek(&cursor, map, (uint32_t)at);
    while (cursor_next(&cursor, &key, &value)) {
        if (!builder_push(&builder, keys ? key : value))
            return FAILED;
        if (vm->fuel < 0)
            return leave(&builder, builder.count);
    }
    return builder_close(&builder);
}

Value builtin_map_keys(struct vm *vm, const Value *arguments) { return listed(vm, arguments[0], true); }

Value builtin_map_values(struct vm *vm, const Value *arguments) { return listed(vm, arguments[0], false); }

Value builtin_map_remove(struct vm *vm, const Value *arguments)
{
    return map_remove(vm, arguments[1], text_of(arguments[0]));
}

Value builtin_map_entry(struct vm *vm, const Value *arguments)
{
    uint32_t index;
    struct map_cursor cursor;
    Value pair[2];
    if (!index_of(arguments[0], map_count(arguments[1]), &index))
        return UNDEF;
    cursor_seek(&cursor, arguments[1], index);
    return cursor_next(&cursor, &pair[0], &pair[1]) ? array_of_values(vm, pair, 2) : UNDEF;
}

Value builtin_array_flatten(struct vm *vm, const Value *arguments)
{
    struct array_builder builder;
    size_t count = array_count(arguments[0]), index = 0;
    make(&builder, vm, &index);
    while (index < count) {
        Value inner = array_get(arguments[0], (uint32_t)index);
        if (!is_array(inner))
            return raise_text(vm, "array_flatten: expected arrays, found %v as element %d", inner, (int64_t)index);
        if (array_count(inner) != 0 && !builder_push_part(&builder, inner, 0, array_count(inner)))
            return FAILED;
        charge(vm, 1);
        index++;
        if (vm->fuel < 0 && index < count)
            return leave(&builder, index);
    }
    return builder_close(&builder);
}

Value builtin_map_of_pairs(struct vm *vm, const Value *arguments)
{
    Value map = UNDEF;
    size_t count = array_count(arguments[0]), index = 0;
    if (!work_goes_on(vm, &map, &index))
        map = map_empty(vm);
    while (index < count && map != FAILED) {
        Value pair = array_get(arguments[0], (uint32_t)index);
        if (!is_array(pair) || array_count(pair) != 2 || !is_string(array_get(pair, 0)))
            return raise_text(vm, "map_of_pairs: expected a pair of a string and a value as element %d", (int64_t)index);
        map = map_set(vm, map, array_get(pair, 0), array_get(pair, 1));
        charge(vm, 4);
        index++;
        if (vm->fuel < 0 && index < count && map != FAILED)
            return work_leave(vm, map, index);
    }
    return map;
}

/* What elements by their keys are kept in: how many keys are in it, how many answers are given, and these; then a table of places of
 * keys, plus 1, by their hashes; of each element the next one of its key; and where a key is first, the last one so far. */
enum { KEYED_AT, KEYED_GIVEN, KEYED_ANSWER, KEYED_SIZE };

struct keyed {
    struct values *state;
    Value *table, *next, *last;
    uint32_t count, mask;
};

static bool keyed_open(struct vm *vm, struct keyed *keyed, const char *name, Value keys, Value array)
{
    uint32_t elements = array_count(array), size = 8;
    keyed->count = array_count(keys);
    if (keyed->count != elements) {
        raise_text(vm, "%s: expected as many keys as elements, found %d and %d", name, (int64_t)keyed->count, (int64_t)elements);
        return false;
    }
    while (size < keyed->count * 2)
        size *= 2;
    keyed->mask = size - 1;
    size_t all = KEYED_SIZE + (size_t)size + (size_t)keyed->count * 2;
    bool fresh = vm->work == UNDEF;
    keyed->state = fresh ? heap_new(vm, SLOTS, sizeof(struct values) + all * sizeof(Value)) : values_of(vm->work);
    if (keyed->state == NULL)
        return false;
    keyed->table = keyed->state->at + KEYED_SIZE;
    keyed->next = keyed->table + size;
    keyed->last = keyed->next + keyed->count;
    if (!fresh) {
        heap_wrote(vm, keyed->state);
        return true;
    }
    keyed->state->head.count = (uint32_t)all;
    for (size_t index = 0; index < all; index++)
        keyed->state->at[index] = of_small(0);
    charge(vm, all / 4);
    vm->work = of_object(keyed->state);
    return true;
}

/* Where the key's place is in the table, or is to be; NULL if it FAILED. */
static Value *keyed_find(struct vm *vm, const struct keyed *keyed, Value keys, Value key, const char *name, uint32_t at)
{
    struct text *text = is_string(key) ? text_flat(vm, key) : NULL;
    if (text == NULL) {
        if (!is_string(key))
            raise_text(vm, "%s: expected a string as key %d, found %v", name, (int64_t)at, key);
        return NULL;
    }
    uint32_t hash = 2166136261u;
    for (uint32_t index = 0; index < text->head.count; index++)
        hash = (hash ^ (uint8_t)text->bytes[index]) * 16777619u;
    charge(vm, 2 + text->head.count / 16);
    for (uint32_t index = (hash ^ hash >> 15) & keyed->mask;; index = (index + 1) & keyed->mask) {
        Value *place = &keyed->table[index];
        if (*place == of_small(0))
            return place;
        /* It was made flat when it came in. */
        struct text *other = text_flat(vm, array_get(keys, (uint32_t)small_of(*place) - 1));
        if (other == NULL || text_same(other, text))
            return other == NULL ? NULL : place;
        charge(vm, 1);
    }
}

/* Takes all keys in; false if it FAILED, or gives way. */
static bool keyed_fill(struct vm *vm, struct keyed *keyed, Value keys, const char *name)
{
    Value *state = keyed->state->at;
    for (uint32_t at = (uint32_t)small_of(state[KEYED_AT]); at < keyed->count; at++) {
        Value *place = keyed_find(vm, keyed, keys, array_get(keys, at), name, at);
        if (place == NULL)
            return false;
        if (*place == of_small(0)) {
            *place = of_small(at + 1);
            keyed->last[at] = of_small(at);
        } else {
            uint32_t first = (uint32_t)small_of(*place) - 1;
            keyed->next[small_of(keyed->last[first])] = of_small(at);
            keyed->last[first] = of_small(at);
        }
        state[KEYED_AT] = of_small(at + 1);
        if (vm->fuel < 0) {
            failed(vm, FAULT_AGAIN);
            return false;
        }
    }
    return true;
}

/* The elements of the key that is first at a place. None follows at 0. */
static Value keyed_group(struct vm *vm, const struct keyed *keyed, Value array, uint32_t at)
{
    struct array_builder builder;
    builder_open(&builder, vm);
    do {
        if (!builder_push(&builder, array_get(array, at)))
            return FAILED;
        charge(vm, 1);
        at = (uint32_t)small_of(keyed->next[at]);
    } while (at != 0);
    return builder_close(&builder);
}

Value builtin_map_of_groups(struct vm *vm, const Value *arguments)
{
    struct keyed keyed;
    if (!keyed_open(vm, &keyed, "map_of_groups", arguments[0], arguments[1]) || !keyed_fill(vm, &keyed, arguments[0], "map_of_groups"))
        return FAILED;
    Value *state = keyed.state->at;
    uint32_t at = (uint32_t)small_of(state[KEYED_GIVEN]);
    Value map = at == 0 ? map_empty(vm) : state[KEYED_ANSWER];
    for (; at < keyed.count && map != FAILED; at++) {
        /* The first ones of their keys know the last. */
        if (at == 0 || keyed.last[at] != of_small(0)) {
            Value group = keyed_group(vm, &keyed, arguments[1], at);
            map = group == FAILED ? FAILED : map_set(vm, map, array_get(arguments[0], at), group);
            if (map == FAILED)
                return FAILED;
            charge(vm, 4);
        }
        state[KEYED_ANSWER] = map;
        state[KEYED_GIVEN] = of_small(at + 1);
        if (vm->fuel < 0)
            return failed(vm, FAULT_AGAIN);
    }
    return map;
}

static Value empty_array(struct vm *vm)
{
    struct array_builder builder;
    builder_open(&builder, vm);
    return builder_close(&builder);
}

Value builtin_array_matches(struct vm *vm, const Value *arguments)
{
    struct keyed keyed;
    if (!keyed_open(vm, &keyed, "array_matches", arguments[1], arguments[2]) || !keyed_fill(vm, &keyed, arguments[1], "array_matches"))
        return FAILED;
    Value *state = keyed.state->at;
    uint32_t at = (uint32_t)small_of(state[KEYED_GIVEN]), count = array_count(arguments[0]);
    Value found = at == 0 ? empty_array(vm) : state[KEYED_ANSWER];
    for (; at < count && found != FAILED; at++) {
        Value *place = keyed_find(vm, &keyed, arguments[1], array_get(arguments[0], at), "array_matches", at);
        if (place == NULL)
            return FAILED;
        Value group = *place == of_small(0) ? empty_array(vm)
                                            : keyed_group(vm, &keyed, arguments[2], (uint32_t)small_of(*place) - 1);
        found = group == FAILED ? FAILED : array_push(vm, found, group);
        if (found == FAILED)
            return FAILED;
        state[KEYED_ANSWER] = found;
        state[KEYED_GIVEN] = of_small(at + 1);
        charge(vm, 2);
        if (vm->fuel < 0)
            return failed(vm, FAULT_AGAIN);
    }
    return found;
}

/* A sort by a comparison of the program: two elements to compare; whether they are being compared; and as above. Programs may write
 * what they like into it, so it is looked at each time. */
enum { STEP_LEFT, STEP_RIGHT, STEP_ASKED, STEP_WIDTH, STEP_START, STEP_FROM, STEP_OTHER, STEP_TO, STEP_FLIPPED, STEP_SIZE };

Value builtin_sort_open(struct vm *vm, const Value *arguments)
{
    uint32_t count = array_count(arguments[0]);
    size_t all = (size_t)count * 2 + STEP_SIZE;
    struct values *state = heap_new(vm, SLOTS, sizeof(struct values) + all * sizeof(Value));
    if (state == NULL)
        return FAILED;
    state->head.count = (uint32_t)all;
    for (unsigned index = 0; index < STEP_SIZE; index++)
        state->at[index] = of_small(0);
    state->at[STEP_WIDTH] = state->at[STEP_OTHER] = of_small(1);
    for (uint32_t index = 0; index < count; index++)
        state->at[STEP_SIZE + index] = state->at[STEP_SIZE + count + index] = array_get(arguments[0], index);
    charge(vm, count / 2);
    return of_object(state);
}

static struct values *sort_state(struct vm *vm, Value sort)
{
    struct values *state = is_pointer(sort) && object_of(sort)->kind == SLOTS ? values_of(sort) : NULL;
    bool good = state != NULL && state->head.count >= STEP_SIZE && (state->head.count - STEP_SIZE) % 2 == 0;
    for (unsigned index = STEP_ASKED; good && index < STEP_SIZE; index++)
        good = is_small(state->at[index]) && small_of(state->at[index]) >= 0 && small_of(state->at[index]) <= 2 * (int64_t)MAX_ARRAY;
    if (!good)
        raise_text(vm, "sort_step: expected what sort_open gives");
    return good ? state : NULL;
}

Value builtin_sort_step(struct vm *vm, const Value *arguments)
{
    struct values *state = sort_state(vm, arguments[1]);
    if (state == NULL)
        return FAILED;
    heap_wrote(vm, state);
    Value *at = state->at;
    uint32_t count = (state->head.count - STEP_SIZE) / 2;
    uint32_t width = (uint32_t)small_of(at[STEP_WIDTH]), start = (uint32_t)small_of(at[STEP_START]);
    uint32_t left = (uint32_t)small_of(at[STEP_FROM]), right = (uint32_t)small_of(at[STEP_OTHER]), to = (uint32_t)small_of(at[STEP_TO]);
    bool asked = at[STEP_ASKED] != of_small(0), flipped = at[STEP_FLIPPED] != of_small(0);
    bool more = false;
    charge(vm, 1);
    while (width > 0 && width < count) {
        const Value *from = at + STEP_SIZE + (flipped ? count : 0);
        Value *into = at + STEP_SIZE + (flipped ? 0 : count);
        uint32_t middle = start + width < count ? start + width : count;
        uint32_t end = start + width * 2 < count ? start + width * 2 : count;
        while (to < end && (left < middle || right < end)) {
            if (left < middle && right < end) {
                if (!asked) {
                    at[STEP_LEFT] = from[left];
                    at[STEP_RIGHT] = from[right];
                    more = true;
                    break;
                }
                asked = false;
                into[to++] = arguments[0] == TRUE ? from[right++] : from[left++];
            } else {
                into[to++] = left < middle ? from[left++] : from[right++];
            }
        }
        if (more)
            break;
        start = end;
        if (start >= count) {
            start = 0;
            width *= 2;
            flipped = !flipped;
        }
        left = to = start;
        right = start + width < count ? start + width : count;
    }
    at[STEP_ASKED] = of_small(more);
    at[STEP_WIDTH] = of_small(width);
    at[STEP_START] = of_small(start);
    at[STEP_FROM] = of_small(left);
    at[STEP_OTHER] = of_small(right);
    at[STEP_TO] = of_small(to);
    at[STEP_FLIPPED] = of_small(flipped);
    return of_bool(more);
}

Value builtin_sort_close(struct vm *vm, const Value *arguments)
{
    struct values *state = sort_state(vm, arguments[0]);
    if (state == NULL)
        return FAILED;
    uint32_t count = (state->head.count - STEP_SIZE) / 2;
    const Value *sorted = state->at + STEP_SIZE + (state->at[STEP_FLIPPED] != of_small(0) ? count : 0);
    for (uint32_t index = 0; index < count; index++)
        if (sorted[index] == UNDEF || sorted[index] == END) {
            raise_text(vm, "sort_step: expected what sort_open gives");
            return FAILED;
        }
    charge(vm, count / 4);
    return array_of_values(vm, sorted, count);
}
