/* Strings, refs, binaries and tokens.
 *
 * A string that is joined of two becomes a rope, if it is not short, and its bytes are put together when they are wanted. So a
 * loop that appends is linear.
 */
#include "text.h"

#define SHORT 128 /* bytes up to which joining copies at once */
#define PIECE 64  /* the same of what is appended to a rope's right side */

bool utf8_check(const char *bytes, size_t size, uint32_t *chars)
{
    const uint8_t *at = (const uint8_t *)bytes, *end = at + size;
    uint32_t count = 0;
    while (at < end) {
        if (end - at >= 8) {
            uint64_t eight;
            memcpy(&eight, at, 8);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += 8;
                count += 8;
                continue;
            }
        }
        uint8_t first = *at;
        count++;
        if (first < 0x80) {
            at++;
            continue;
        }
        if (first < 0xC2 || first > 0xF4)
            return false;
        unsigned more = utf8_size(first) - 1;
        if ((size_t)(end - at) <= more)
            return false;
        uint8_t second = at[1];
        if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
            (first == 0xF4 && second > 0x8F))
            return false;
        for (unsigned index = 1; index <= more; index++)
            if ((at[index] & 0xC0) != 0x80)
                return false;
        at += more + 1;
    }
    *chars = count;
    return true;
}

uint32_t utf8_decode(const char *bytes)
{
    const uint8_t *at = (const uint8_t *)bytes;
    switch (utf8_size(at[0])) {
    case 1: return at[0];
    case 2: return (uint32_t)(at[0] & 0x1F) << 6 | (at[1] & 0x3F);
    case 3: return (uint32_t)(at[0] & 0x0F) << 12 | (uint32_t)(at[1] & 0x3F) << 6 | (at[2] & 0x3F);
    default:
        return (uint32_t)(at[0] & 0x07) << 18 | (uint32_t)(at[1] & 0x3F) << 12 | (uint32_t)(at[2] & 0x3F) << 6 | (at[3] & 0x3F);
    }
}

unsigned utf8_encode(uint32_t code, char *to)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    unsigned size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (unsigned index = size - 1; index > 0; index--) {
        to[index] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    static const uint8_t marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    to[0] = (char)(marks[size] | code);
    return size;
}

static uint32_t count_chars(const char *bytes, size_t size)
{
    uint32_t count = 0;
    size_t index = 0;
    for (; size - index >= 8; index += 8) {
        /* Of each byte that goes on with a character the lowest bit: its highest bit is set, the one below is not. */
        uint64_t eight;
        memcpy(&eight, bytes + index, 8);
        count += 8 - (uint32_t)__builtin_popcountll(eight >> 7 & ~(eight >> 6) & UINT64_C(0x0101010101010101));
    }
    for (; index < size; index++)
        count += ((uint8_t)bytes[index] & 0xC0) != 0x80;
    return count;
}

struct text *text_make(struct vm *vm, enum object_kind kind, size_t size, uint32_t chars)
{
    if (size > MAX_TEXT) {
        vm->fault = FAULT_MEMORY;
        return NULL;
    }
    struct text *text = heap_new(vm, kind, sizeof(struct text) + size);
    if (text == NULL)
        return NULL;
    text->head.count = (uint32_t)size;
    text->head.aux = chars == size ? ASCII : 0;
    text->chars = chars;
    text->zero = 0;
    return text;
}

Value text_new(struct vm *vm, enum object_kind kind, const char *bytes, size_t size)
{
    uint32_t chars = kind == STRING || kind == REF ? count_chars(bytes, size) : 0;
    struct text *text = text_make(vm, kind, size, chars);
    if (text == NULL)
        return FAILED;
    memcpy(text->bytes, bytes, size);
    charge(vm, size / 16);
    return of_object(text);
}

static size_t length_of(const char *bytes)
{
    size_t size = 0;
    while (bytes[size] != 0)
        size++;
    return size;
}

Value text_literal(struct vm *vm, const char *bytes) { return text_new(vm, STRING, bytes, length_of(bytes)); }

struct text *text_flat(struct vm *vm, Value string)
{
    if (object_of(string)->kind != ROPE)
        return text_of(string);
    struct rope *rope = rope_of(string);
    if (rope->right == UNDEF)
        return text_of(rope->left);
    struct text *flat = text_make(vm, STRING, rope->head.count, rope->chars);
    if (flat == NULL)
        return NULL;
    /* From the end: the pieces that are still to come, the next one last. A loop that appends keeps this short. */
    struct buffer waiting = {0};
    char *end = flat->bytes + rope->head.count;
    Value piece = string;
    for (;;) {
        if (object_of(piece)->kind == ROPE && rope_of(piece)->right != UNDEF) {
            if (!buffer_room(vm, &waiting, sizeof(Value))) {
                buffer_free(vm, &waiting);
                return NULL;
            }
            memcpy(waiting.bytes + waiting.size, &rope_of(piece)->left, sizeof(Value));
            waiting.size += sizeof(Value);
            piece = rope_of(piece)->right;
            continue;
        }
        struct text *text = object_of(piece)->kind == ROPE ? text_of(rope_of(piece)->left) : text_of(piece);
        end -= text->head.count;
        memcpy(end, text->bytes, text->head.count);
        if (waiting.size == 0)
            break;
        waiting.size -= sizeof(Value);
        memcpy(&piece, waiting.bytes + waiting.size, sizeof(Value));
    }
    buffer_free(vm, &waiting);
    charge(vm, rope->head.count / 8);
    rope->left = of_object(flat);
    rope->right = UNDEF;
    heap_wrote(vm, rope);
    return flat;
}

static Value join_flat(struct vm *vm, const struct text *left, const struct text *right)
{
    struct text *both = text_make(vm, STRING, (size_t)left->head.count + right->head.count, left->chars + right->chars);
    if (both == NULL)
        return FAILED;
    memcpy(both->bytes, left->bytes, left->head.count);
    memcpy(both->bytes + left->head.count, right->bytes, right->head.count);
    return of_object(both);
}

Value text_join(struct vm *vm, Value left, Value right)
{
    uint64_t size = (uint64_t)text_size(left) + text_size(right);
    if (text_size(right) == 0)
        return left;
    if (text_size(left) == 0)
        return right;
    if (size > MAX_TEXT)
        return failed(vm, FAULT_MEMORY);
    bool left_is_rope = object_of(left)->kind == ROPE && rope_of(left)->right != UNDEF;
    if (size <= SHORT && !left_is_rope && object_of(right)->kind == STRING && object_of(left)->kind == STRING)
        return join_flat(vm, text_of(left), text_of(right));
    if (left_is_rope && object_of(right)->kind == STRING) {
        Value last = rope_of(left)->right;
        if (object_of(last)->kind == STRING && text_size(last) + text_size(right) <= PIECE) {
            right = join_flat(vm, text_of(last), text_of(right));
            if (right == FAILED)
                return FAILED;
            left = rope_of(left)->left;
        }
    }
    struct rope *rope = heap_new(vm, ROPE, sizeof(struct rope));
    if (rope == NULL)
        return FAILED;
    rope->head.count = (uint32_t)size;
    rope->chars = text_chars(left) + text_chars(right);
    rope->head.aux = rope->chars == size ? ASCII : 0;
    rope->zero = 0;
    rope->left = left;
    rope->right = right;
    return of_object(rope);
}

int text_order(const struct text *left, const struct text *right)
{
    if (left == right)
        return 0;
    size_t a = left->head.count, b = right->head.count;
    int order = memcmp(left->bytes, right->bytes, a < b ? a : b);
    return order != 0 ? (order > 0) - (order < 0) : (a > b) - (a < b);
}

size_t text_offset(struct vm *vm, const struct text *text, uint32_t index)
{
    if (index >= text->chars)
        return text->head.count;
    if (text->head.aux & ASCII)
        return index;
    size_t offset = 0;
    uint32_t at = 0;
    /* The last place that was asked for, of the same text: a loop over a text goes on from there. */
    if (vm->hint_text == text && vm->hint_index <= index) {
        offset = vm->hint_offset;
        at = vm->hint_index;
    }
    charge(vm, (index - at) / 4);
    for (; at < index; at++)
        offset += utf8_size((uint8_t)text->bytes[offset]);
    vm->hint_text = text;
    vm->hint_index = index;
    vm->hint_offset = (uint32_t)offset;
    return offset;
}

uint32_t text_index(struct vm *vm, const struct text *text, size_t offset)
{
    if (text->head.aux & ASCII)
        return (uint32_t)offset;
    charge(vm, offset / 8);
    return count_chars(text->bytes, offset);
}

Value text_part(struct vm *vm, Value string, size_t from, size_t to)
{
    struct text *text = text_of(string);
    if (from >= to)
        return text_new(vm, STRING, "", 0);
    if (from == 0 && to == text->head.count)
        return string;
    return text_new(vm, STRING, text->bytes + from, to - from);
}
