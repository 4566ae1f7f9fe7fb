/* Coroutines. */
#include "coroutine.h"

#include "builtin.h"

#define FIRST_STACK 128u /* registers */
#define MAX_PENDING 0xFFFFu

static struct stack *new_stack(struct vm *vm, uint32_t count)
{
    struct stack *stack = heap_new(vm, STACK, sizeof(struct stack) + count * sizeof(Value));
    if (stack == NULL)
        return NULL;
    stack->head.count = count;
    stack->used = 0;
    for (uint32_t index = 0; index < count; index++)
        stack->at[index] = UNDEF;
    charge(vm, count / 16);
    return stack;
}

Value coroutine_new(struct vm *vm, Value closure, const Value *arguments)
{
    const struct function *function = &vm->code.functions[object_of(closure)->aux];
    uint32_t need = function->registers + 3, size = FIRST_STACK;
    if (need > vm->stack_limit)
        return failed(vm, FAULT_STACK);
    while (size < need)
        size *= 2;
    struct stack *stack = new_stack(vm, size);
    struct values *made = stack == NULL ? NULL : heap_new(vm, COROUTINE, sizeof(struct values) + CO_SIZE * sizeof(Value));
    if (made == NULL)
        return FAILED;
    made->head.count = CO_SIZE;
    stack->at[1] = closure;
    stack->at[2] = make_link(vm->code.halt, 3, 0);
    for (uint32_t index = 0; index < function->params; index++)
        stack->at[3 + index] = arguments[index];
    stack->used = need;
    made->at[CO_STACK] = of_object(stack);
    made->at[CO_AT] = of_small(function->start);
    made->at[CO_BASE] = of_small(3);
    made->at[CO_STATE] = of_small(READY);
    made->at[CO_ANSWER] = UNDEF;
    made->at[CO_REGISTER] = of_small(-1);
    made->at[CO_CALL] = of_small(0);
    made->at[CO_NEXT] = NIL;
    for (uint32_t index = CO_LOCAL; index < CO_SIZE; index++)
        made->at[index] = NIL;
    return of_object(made);
}

void coroutine_enqueue(struct vm *vm, Value coroutine)
{
    values_of(coroutine)->at[CO_NEXT] = NIL;
    if (vm->first == NIL) {
        vm->first = coroutine;
    } else {
        values_of(vm->last)->at[CO_NEXT] = coroutine;
        heap_wrote(vm, object_of(vm->last));
    }
    vm->last = coroutine;
}

Value coroutine_dequeue(struct vm *vm)
{
    while (vm->first != NIL) {
        Value coroutine = vm->first;
        vm->first = values_of(coroutine)->at[CO_NEXT];
        values_of(coroutine)->at[CO_NEXT] = NIL;
        if (vm->first == NIL)
            vm->last = NIL;
        if (state_of(coroutine) == READY || state_of(coroutine) == RAISES)
            return coroutine;
    }
    return NIL;
}

void coroutine_answer(struct vm *vm, Value coroutine, Value answer, bool raises)
{
    values_of(coroutine)->at[CO_ANSWER] = answer;
    heap_wrote(vm, object_of(coroutine));
    set_state(coroutine, raises ? RAISES : READY);
    coroutine_enqueue(vm, coroutine);
}

void coroutine_cancel(struct vm *vm, Value coroutine)
{
    if (state_of(coroutine) == WAITS_FFI)
        coroutine_of_call(vm, (uint32_t)small_of(values_of(coroutine)->at[CO_CALL]));
    set_state(coroutine, ENDED);
    values_of(coroutine)->at[CO_STACK] = UNDEF;
}

uint32_t coroutine_pending(struct vm *vm, Value coroutine)
{
    struct values *table = values_of(vm->pending);
    uint32_t count = table->head.count, slot = 0;
    while (slot < count && table->at[slot] != NIL)
        slot++;
    if (slot == count) {
        if (count * 2 > MAX_PENDING) {
            raise_text(vm, "expected at most %d calls of FFIs to wait, found one more", (int64_t)count);
            return 0;
        }
        struct values *more = heap_new(vm, SLOTS, sizeof(struct values) + count * 2 * sizeof(Value));
        if (more == NULL)
            return 0;
        more->head.count = count * 2;
        memcpy(more->at, table->at, count * sizeof(Value));
        for (uint32_t index = count; index < count * 2; index++)
            more->at[index] = NIL;
        vm->pending = of_object(more);
        table = more;
    }
    table->at[slot] = coroutine;
    heap_wrote(vm, table);
    vm->pending_count++;
    /* Ids do not come again soon, so that a late answer reaches nobody. */
    vm->next_call = vm->next_call % 0x7FFF + 1;
    uint32_t call = vm->next_call << 16 | slot;
    values_of(coroutine)->at[CO_CALL] = of_small(call);
    set_state(coroutine, WAITS_FFI);
    return call;
}

Value coroutine_of_call(struct vm *vm, uint32_t call)
{
    struct values *table = values_of(vm->pending);
    uint32_t slot = call & 0xFFFF;
    if (slot >= table->head.count || table->at[slot] == NIL)
        return NIL;
    Value coroutine = table->at[slot];
    if (small_of(values_of(coroutine)->at[CO_CALL]) != call)
        return NIL;
    table->at[slot] = NIL;
    vm->pending_count--;
    return coroutine;
}

bool stack_grow(struct vm *vm, size_t registers)
{
    struct values *running = values_of(vm->running);
    struct stack *old = stack_of(running->at[CO_STACK]);
    size_t base = (size_t)(vm->base - old->at), need = base + registers, size = old->head.count;
    if (need <= size)
        return true;
    if (need > vm->stack_limit) {
        vm->fault = FAULT_STACK;
        return false;
    }
    while (size < need)
        size *= 2;
    struct stack *stack = new_stack(vm, (uint32_t)size);
    if (stack == NULL)
        return false;
    memcpy(stack->at, old->at, old->head.count * sizeof(Value));
    stack->used = old->used;
    running->at[CO_STACK] = of_object(stack);
    heap_wrote(vm, running);
    vm->base = stack->at + base;
    return true;
}

/* The value of that number that the running coroutine keeps; NULL, raised, if there is none. */
static Value *local_at(struct vm *vm, Value index)
{
    int64_t number = whole_of(index);
    if (number >= 0 && number < CO_SIZE - CO_LOCAL)
        return &values_of(vm->running)->at[CO_LOCAL + number];
    raise_text(vm, "expected a place of a coroutine from 0 to %d, found %d", (int64_t)CO_SIZE - CO_LOCAL - 1, number);
    return NULL;
}

Value builtin_coroutine_local(struct vm *vm, const Value *arguments)
{
    const Value *local = local_at(vm, arguments[0]);
    return local == NULL ? FAILED : *local;
}

Value builtin_coroutine_set_local(struct vm *vm, const Value *arguments)
{
    Value *local = local_at(vm, arguments[0]);
    if (local == NULL)
        return FAILED;
    *local = arguments[1];
    heap_wrote(vm, object_of(vm->running));
    return NIL;
}
