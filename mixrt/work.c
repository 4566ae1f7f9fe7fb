#include "work.h"

#include "made.h"
#include "text.h"

#define AT_ONCE (12 * 512) /* bytes */

Value work_leave(struct vm *vm, Value value, size_t at)
{
    Value kept[3] = {value, of_small((int64_t)at), of_small((int64_t)vm->written.size)};
    Value work = made_values(vm, SLOTS, 3, kept);
    if (work == FAILED)
        return FAILED;
    vm->work = work;
    return failed(vm, FAULT_AGAIN);
}

bool work_goes_on(struct vm *vm, Value *value, size_t *at)
{
    if (vm->work == UNDEF) {
        vm->written.size = 0;
        return false;
    }
    const Value *kept = values_of(vm->work)->at;
    *value = kept[0];
    *at = (size_t)small_of(kept[1]);
    vm->written.size = (size_t)small_of(kept[2]);
    return true;
}

bool work_write(struct vm *vm, const char *bytes, size_t size)
{
    struct buffer *to = &vm->written;
    if (size == 0)
        return true;
    if (to->size + size > MAX_TEXT) {
        vm->fault = FAULT_MEMORY;
        return false;
    }
    if (!buffer_room(vm, to, size))
        return false;
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
    return true;
}

struct text *work_text(struct vm *vm, enum object_kind kind, size_t size, uint32_t chars, size_t *at)
{
    Value kept;
    *at = 0;
    return work_goes_on(vm, &kept, at) ? text_of(kept) : text_make(vm, kind, size, chars);
}

size_t work_until(size_t at, size_t size) { return size - at < AT_ONCE ? size : at + AT_ONCE; }

Value work_written(struct vm *vm, enum object_kind kind, bool done)
{
    if (!done && vm->fault == FAULT_AGAIN)
        return FAILED;
    Value result = done ? text_new(vm, kind, vm->written.size == 0 ? "" : vm->written.bytes, vm->written.size) : FAILED;
    buffer_free(vm, &vm->written);
    vm->work = UNDEF; /* for want of memory it is begun again */
    return result;
}
