#include "frame.h"

#include "coroutine.h"
#include "heap.h"
#include "made.h"

const struct function *function_at(const struct vm *vm, uint32_t at)
{
    uint32_t low = 0, high = vm->code.function_count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (vm->code.functions[middle].start <= at)
            low = middle;
        else
            high = middle;
    }
    return &vm->code.functions[low];
}

uint32_t backtrace(const struct vm *vm, struct address *found)
{
    uint32_t count = 0, at = vm->at;
    const Value *base = vm->base;
    if (vm->again) {
        memmove(found, vm->caught_at, vm->caught_count * sizeof(struct address));
        return vm->caught_count;
    }
    while (count < MOST_ADDRESSES && at < vm->code.halt) {
        const struct function *function = function_at(vm, at);
        Value link = base[-1];
        found[count++] = (struct address){
            .function = (uint32_t)(function - vm->code.functions),
            .at = at - function->start,
            .tailed = (link_flags(link) & TAILED) != 0,
        };
        if (link_at(link) == vm->code.halt)
            break;
        at = link_at(link) - 1;
        base -= link_delta(link);
        while (link_at(link) == vm->code.give_back) {
            /* A tail call that could not be one: its caller is the one of the frame that waits to give back. */
            link = base[-1];
            at = link_at(link) - 1;
            if (link_at(link) == vm->code.halt)
                break;
            base -= link_delta(link);
        }
    }
    return count;
}

enum entered frame_enter(struct vm *vm, uint32_t window, uint32_t count, uint32_t back, uint32_t flags, Value *answer)
{
    Value callee = vm->base[window];
    uint32_t given = 0;
    const struct values *partial = NULL;
    if (is_object(callee, PARTIAL)) {
        partial = values_of(callee);
        given = partial->head.count - 1;
        callee = partial->at[0];
    }
    if (!is_object(callee, CLOSURE)) {
        raise_text(vm, "expected a function to call, found %v", callee);
        return NOT_ENTERED;
    }
    const struct function *function = &vm->code.functions[object_of(callee)->aux];
    uint32_t all = given + count;
    if (all < function->params) {
        *answer = vm->base[window];
        if (count == 0)
            return ANSWERED;
        struct values *made = heap_new(vm, PARTIAL, sizeof(struct values) + (1 + all) * sizeof(Value));
        if (made == NULL)
            return NOT_ENTERED;
        made->head.count = 1 + all;
        made->at[0] = callee;
        for (uint32_t index = 0; index < given; index++)
            made->at[1 + index] = partial->at[1 + index];
        memcpy(made->at + 1 + given, vm->base + window + 2, count * sizeof(Value));
        *answer = of_object(made);
        return ANSWERED;
    }
    uint32_t extra = all - function->params;
    size_t need = function->registers > all ? function->registers : all;
    if (!stack_grow(vm, window + 3 + need))
        return NOT_ENTERED;
    struct values *rest = NULL;
    if (extra != 0) {
        rest = heap_new(vm, NODE, sizeof(struct values) + extra * sizeof(Value));
        if (rest == NULL)
            return NOT_ENTERED;
        rest->head.count = extra;
    }
    /* From here on nothing fails. */
    Value *at = vm->base + window, *arguments = at + 2;
    if (given != 0) {
        memmove(arguments + given, arguments, count * sizeof(Value));
        memcpy(arguments, partial->at + 1, given * sizeof(Value));
    }
    at[0] = callee;
    if (rest != NULL) {
        memcpy(rest->at, arguments + function->params, extra * sizeof(Value));
        memmove(arguments + 1, arguments, function->params * sizeof(Value));
        at[1] = callee;
        at[0] = of_object(rest);
        at++;
        window++;
        flags |= EXTRA;
    }
    at[1] = make_link(back, window + 2, flags);
    vm->base = at + 2;
    vm->at = function->start;
    return ENTERED;
}

Value frame_caught(struct vm *vm)
{
    Value error = made_case(vm, vm->error_name, vm->raised);
    if (error == FAILED)
        return FAILED;
    vm->caught_count = backtrace(vm, vm->caught_at);
    vm->caught = vm->raised;
    vm->raised = UNDEF;
    vm->again = false;
    return error;
}

bool frame_unwind(struct vm *vm)
{
    Value *base = vm->base;
    for (;;) {
        Value link = base[-1];
        if (link_at(link) == vm->code.halt)
            return false;
        base -= link_delta(link);
        if (link_flags(link) & TRIES) {
            Value error = frame_caught(vm);
            if (error == FAILED)
                return false;
            base[vm->code.at[link_at(link) - 1].a] = error;
            vm->base = base;
            vm->at = link_at(link);
            return true;
        }
    }
}
