/* What is raised, and the buffers for what leaves the machine. */
#include <stdarg.h>

#include "compare.h"
#include "memory.h"
#include "number.h"
#include "run.h"
#include "text.h"

#define MAX_MESSAGE 512

struct message {
    char bytes[MAX_MESSAGE];
    size_t size;
};

static void put(struct message *message, const char *bytes, size_t size)
{
    size_t room = MAX_MESSAGE - message->size;
    if (size > room)
        size = room;
    memcpy(message->bytes + message->size, bytes, size);
    message->size += size;
}

/* A string is quoted in full up to so many bytes. */
static void put_text(struct message *message, struct vm *vm, Value string)
{
    const struct text *text = text_flat(vm, string);
    size_t size = text == NULL ? 0 : text->head.count, shown = size < 100 ? size : 100;
    if (text == NULL)
        return;
    while (shown < size && ((uint8_t)text->bytes[shown] & 0xC0) == 0x80)
        shown--;
    put(message, text->bytes, shown);
    if (shown < size)
        put(message, "…", 3);
}

Value raise_text(struct vm *vm, const char *format, ...)
{
    struct message message = {.size = 0};
    va_list arguments;
    va_start(arguments, format);
    for (const char *at = format; *at != 0; at++) {
        if (*at != '%' || at[1] == 0) {
            put(&message, at, 1);
            continue;
        }
        switch (*++at) {
        case 's': {
            const char *text = va_arg(arguments, const char *);
            size_t size = 0;
            while (text[size] != 0)
                size++;
            put(&message, text, size);
            break;
        }
        case 'd': {
            char digits[NUMBER_TEXT];
            put(&message, digits, number_of_int(va_arg(arguments, int64_t), digits));
            break;
        }
        case 'v': {
            const char *name = kind_name(kind_of(va_arg(arguments, Value)));
            size_t size = 0;
            while (name[size] != 0)
                size++;
            put(&message, name, size);
            break;
        }
        case 't': put_text(&message, vm, va_arg(arguments, Value)); break;
        default: put(&message, at, 1); break;
        }
    }
    va_end(arguments);
    /* What was cut may end inside of a character. */
    uint32_t chars;
    while (!utf8_check(message.bytes, message.size, &chars))
        message.size--;
    Value text = text_new(vm, STRING, message.bytes, message.size);
    if (text == FAILED)
        return FAILED;
    vm->raised = text;
    vm->fault = FAULT_RAISED;
    return FAILED;
}

int out_of_heap(struct vm *vm)
{
    vm->panic = PANIC_MEMORY;
    return STOP_PANIC;
}

bool buffer_room(struct vm *vm, struct buffer *buffer, size_t more)
{
    if (buffer->size + more <= buffer->units * UNIT)
        return true;
    size_t units, wanted = buffer->units * UNIT * 2;
    if (wanted < buffer->size + more)
        wanted = buffer->size + more;
    char *bytes = heap_take(vm, wanted, &units);
    if (bytes == NULL)
        return false;
    if (buffer->size != 0)
        memcpy(bytes, buffer->bytes, buffer->size);
    heap_give(vm, buffer->bytes, buffer->units);
    buffer->bytes = bytes;
    buffer->units = units;
    return true;
}

void buffer_free(struct vm *vm, struct buffer *buffer)
{
    heap_give(vm, buffer->bytes, buffer->units);
    *buffer = (struct buffer){0};
}
