/* Built-ins for binaries: parts, base64, hexadecimal. */
#include "builtin.h"
#include "text.h"
#include "work.h"

static size_t moved_into(Value index, size_t size)
{
    int64_t number = whole_of(index);
    return number < 0 ? 0 : (uint64_t)number > size ? size : (size_t)number;
}

Value builtin_binary_sub(struct vm *vm, const Value *arguments)
{
    const struct text *binary = text_of(arguments[2]);
    size_t from = moved_into(arguments[0], binary->head.count), to = moved_into(arguments[1], binary->head.count);
    return text_new(vm, BINARY, binary->bytes + from, from < to ? to - from : 0);
}

Value builtin_binary_to_base64(struct vm *vm, const Value *arguments)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const struct text *binary = text_of(arguments[0]);
    size_t size = binary->head.count, all = (size + 2) / 3 * 4, at;
    struct text *text = work_text(vm, STRING, all, (uint32_t)all, &at);
    if (text == NULL)
        return FAILED;
    while (at < size) {
        size_t end = work_until(at, size);
        char *to = text->bytes + at / 3 * 4;
        charge(vm, (end - at) / 4);
        for (; at < end; at += 3) {
            uint32_t three = 0;
            for (size_t index = 0; index < 3; index++)
                three = three << 8 | (at + index < size ? (uint8_t)binary->bytes[at + index] : 0);
            for (int shift = 18; shift >= 0; shift -= 6)
                *to++ = digits[three >> shift & 63];
        }
        if (vm->fuel < 0 && at < size)
            return work_leave(vm, of_object(text), at);
    }
    for (size_t padding = (3 - size % 3) % 3; padding > 0; padding--)
        text->bytes[all - padding] = '=';
    return of_object(text);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

Value builtin_binary_of_base64(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    size_t size = text->head.count, padding = 0, at;
    while (padding < 2 && size > 0 && text->bytes[size - 1] == '=') {
        size--;
        padding++;
    }
    if (size % 4 == 1 || (padding != 0 && (size + padding) % 4 != 0))
        return UNDEF;
    struct text *binary = work_text(vm, BINARY, size / 4 * 3 + (size % 4 == 0 ? 0 : size % 4 - 1), 0, &at);
    if (binary == NULL)
        return FAILED;
    uint32_t bits = 0;
    while (at < size) {
        size_t end = work_until(at, size);
        char *to = binary->bytes + at / 4 * 3;
        charge(vm, (end - at) / 4);
        for (; at < end; at++) {
            int digit = base64_digit(text->bytes[at]);
            if (digit < 0)
                return UNDEF;
            bits = bits << 6 | (uint32_t)digit;
            if (at % 4 != 0)
                *to++ = (char)(bits >> (6 - at % 4 * 2));
        }
        if (vm->fuel < 0 && at < size)
            return work_leave(vm, of_object(binary), at);
    }
    /* What is left over of the last digit is no part of a byte. */
    unsigned left = size % 4 == 2 ? 4 : size % 4 == 3 ? 2 : 0;
    if ((bits & ((1u << left) - 1)) != 0)
        return UNDEF;
    return of_object(binary);
}

Value builtin_binary_to_hex(struct vm *vm, const Value *arguments)
{
    const struct text *binary = text_of(arguments[0]);
    size_t size = binary->head.count, at;
    struct text *text = work_text(vm, STRING, size * 2, (uint32_t)size * 2, &at);
    if (text == NULL)
        return FAILED;
    while (at < size) {
        size_t end = work_until(at, size);
        charge(vm, (end - at) / 4);
        for (; at < end; at++) {
            text->bytes[at * 2] = "0123456789abcdef"[(uint8_t)binary->bytes[at] >> 4];
            text->bytes[at * 2 + 1] = "0123456789abcdef"[(uint8_t)binary->bytes[at] & 15];
        }
        if (vm->fuel < 0 && at < size)
            return work_leave(vm, of_object(text), at);
    }
    return of_object(text);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

Value builtin_binary_of_hex(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    size_t size = text->head.count / 2, at;
    if (text->head.count % 2 != 0)
        return UNDEF;
    struct text *binary = work_text(vm, BINARY, size, 0, &at);
    if (binary == NULL)
        return FAILED;
    while (at < size) {
        size_t end = work_until(at, size);
        charge(vm, (end - at) / 4);
        for (; at < end; at++) {
            int high = hex_digit(text->bytes[at * 2]), low = hex_digit(text->bytes[at * 2 + 1]);
            if (high < 0 || low < 0)
                return UNDEF;
            binary->bytes[at] = (char)(high << 4 | low);
        }
        if (vm->fuel < 0 && at < size)
            return work_leave(vm, of_object(binary), at);
    }
    return of_object(binary);
}
