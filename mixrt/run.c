/* The interpreter. See dispatch.h for how its instructions are written. */
#include "run.h"

#include "array.h"
#include "builtin.h"
#include "codec.h"
#include "compare.h"
#include "coroutine.h"
#include "dispatch.h"
#include "frame.h"
#include "made.h"
#include "map.h"
#include "operand.h"
#include "operator.h"
#include "stream.h"

/* Writes the event of an FFI call; the id of the call, or 0 if it FAILED. */
static uint32_t start_ffi(struct vm *vm, uint32_t index, const Value *arguments)
{
    struct buffer *out = &vm->out;
    uint32_t params = vm->code.ffis[index].params;
    out->size = 0;
    if (!codec_word(vm, out, EVENT_FFI) || !codec_word(vm, out, 0) || !codec_word(vm, out, index) ||
        !codec_word(vm, out, (uint32_t)KIND_ARRAY | params << 8))
        return 0;
    for (uint32_t at = 0; at < params; at++) {
        if (arguments[at] == UNDEF) {
            raise_text(vm, "expected a value as argument %d of an FFI, found undefined", (int64_t)at + 1);
            return 0;
        }
        if (!codec_encode(vm, out, arguments[at]))
            return 0;
    }
    uint32_t call = coroutine_pending(vm, vm->running);
    if (call != 0)
        memcpy(out->bytes + 4, &call, 4);
    return call;
}

/* Before the running coroutine waits or something is collected: what it needs to go on. */
static void suspend(struct vm *vm, uint32_t at, Value *base)
{
    struct values *running = values_of(vm->running);
    struct stack *stack = stack_of(running->at[CO_STACK]);
    const struct function *function = function_at(vm, at < vm->code.halt ? at : at - 1);
    vm->at = at;
    vm->base = base;
    stack->used = at < vm->code.halt ? (size_t)(base - stack->at) + function->registers : (size_t)(base - stack->at) + 1;
    running->at[CO_AT] = of_small(at);
    running->at[CO_BASE] = of_small(base - stack->at);
    heap_wrote(vm, stack);
}

/* Goes on with vm->running until there is something to say. */
static enum stop interpret(struct vm *vm)
{
    const struct instruction *const code = vm->code.at;
    struct values *running = values_of(vm->running);
    struct stack *stack = stack_of(running->at[CO_STACK]);
    const struct instruction *at = code + small_of(running->at[CO_AT]);
    Value *r = stack->at + small_of(running->at[CO_BASE]);
    const Value *limit = stack->at + stack->head.count;
    Value answer = running->at[CO_ANSWER];
    if (running->at[CO_STATE] == of_small(RAISES)) {
        vm->raised = answer;
        vm->fault = FAULT_RAISED;
        at--; /* at the call whose answer it is */
        set_state(vm->running, RUNNING);
        goto fault;
    }
    set_state(vm->running, RUNNING);
    if (small_of(running->at[CO_REGISTER]) >= 0)
        r[small_of(running->at[CO_REGISTER])] = answer;
    running->at[CO_REGISTER] = of_small(-1);
    running->at[CO_ANSWER] = UNDEF;
    heap_wrote(vm, stack);

    for (;;) {
        switch (at->op) {
        case OP_NOP: NEXT
        case OP_MOVE: A = B; NEXT
        case OP_LOAD: A = CONSTANT((uint32_t)wide_of(at)); NEXT
        case OP_INT: A = of_small(wide_of(at)); NEXT
        case OP_LITERAL: A = UNDEF + at->b; NEXT
        case OP_GLOBAL: A = values_of(vm->globals)->at[(uint32_t)wide_of(at)]; NEXT
        case OP_SET_GLOBAL:
            values_of(vm->globals)->at[(uint32_t)wide_of(at)] = A;
            heap_wrote(vm, values_of(vm->globals));
            NEXT
        case OP_CAPTURE: A = values_of(r[-2])->at[at->b]; NEXT
        case OP_SELF: A = r[-2]; NEXT
        case OP_FUNC: A = vm->code.closures[(uint32_t)wide_of(at)]; NEXT
        case OP_CLOSURE: {
            Value made = made_values(vm, CLOSURE, vm->code.functions[at->c].captures, &B);
            if (made == FAILED)
                goto fault;
            object_of(made)->aux = at->c;
            A = made;
            SAFE
        }
        case OP_SLOTS: ANSWER(made_values(vm, SLOTS, at->b, NULL))
        case OP_SLOT: {
            const Value *slot = slot_of(vm, B, at->c);
            if (slot == NULL)
                goto fault;
            A = *slot;
            NEXT
        }
        case OP_SET_SLOT: {
            Value *slot = slot_of(vm, A, at->b);
            if (slot == NULL)
                goto fault;
            *slot = C;
            heap_wrote(vm, object_of(A));
            NEXT
        }

        case OP_ADD_STORE: ARITHMETIC_STORE(+)
        case OP_ADD: ARITHMETIC(+, value_add)
        case OP_SUB_STORE: ARITHMETIC_STORE(-)
        case OP_SUB: ARITHMETIC(-, value_sub)
        case OP_MUL_STORE:
            if (is_double(B) && is_double(C)) {
                A = r[at[2].a] = of_double(double_of(B) * double_of(C));
                at += 3;
                continue;
            }
        case OP_MUL: {
            Value x = B, y = C;
            if (are_small(x, y)) {
                int64_t left = small_of(x), right = small_of(y);
                if (left == (int32_t)left && right == (int32_t)right) {
                    int64_t number = left * right;
                    if (fits_small(number)) {
                        A = of_small(number);
                        NEXT
                    }
                }
            } else if (is_double(x) && is_double(y)) {
                A = of_double(double_of(x) * double_of(y));
                NEXT
            }
            ANSWER(value_mul(vm, x, y))
        }
        case OP_DIV: ANSWER(value_div(vm, B, C))
        case OP_REM: ANSWER(value_rem(vm, B, C))
        case OP_NEG: ANSWER(value_neg(vm, B))
        case OP_ADD_INT_STORE:
            if (is_small(B)) {
                int64_t number = small_of(B) + (int16_t)at->c;
                if (fits_small(number)) {
                    A = r[at[2].a] = of_small(number);
                    at += 3;
                    continue;
                }
            }
        case OP_ADD_INT: {
            Value x = B;
            if (is_small(x)) {
                int64_t number = small_of(x) + (int16_t)at->c;
                if (fits_small(number)) {
                    A = of_small(number);
                    NEXT
                }
            }
            ANSWER(value_add(vm, x, of_small((int16_t)at->c)))
        }
        case OP_NOT: ANSWER(value_not(vm, B))
        case OP_AND: ANSWER(value_and(vm, B, C))
        case OP_OR: ANSWER(value_or(vm, B, C))

        case OP_EQ: TRUTH_ANSWER(value_eq(vm, B, C), true)
        case OP_NE: TRUTH_ANSWER(value_eq(vm, B, C), false)
        case OP_LT: TRUTH_ANSWER(value_lt(vm, B, C), true)
        case OP_LE: TRUTH_ANSWER(value_le(vm, B, C), true)
        case OP_SAME: TRUTH_ANSWER(B == UNDEF || C == UNDEF ? (enum truth)(B == C) : value_equal(vm, B, C), true)
        case OP_DIFFER: TRUTH_ANSWER(B == UNDEF || C == UNDEF ? (enum truth)(B == C) : value_equal(vm, B, C), false)
        case OP_DEFINED: A = of_bool(B != UNDEF); NEXT

        case OP_JUMP_BACK_LT: {
            const struct instruction *to = at + 1 + wide_of(at);
            Value x = r[to->a], y = r[to->b];
            if (are_small(x, y)) {
                at = to + 1;
                if (SHIFTED(x) >= SHIFTED(y))
                    at += (int16_t)to->c;
                if (--vm->fuel < 0)
                    goto fuel;
                continue;
            }
        }
        case OP_JUMP: {
            int32_t by = wide_of(at);
            at += 1 + by;
            if (by < 0 && --vm->fuel < 0)
                goto fuel;
            continue;
        }
        case OP_JUMP_TRUE: JUMP_IF(A == TRUE, wide_of(at))
        case OP_JUMP_NOT_TRUE: JUMP_IF(A != TRUE, wide_of(at))
        case OP_JUMP_UNDEF: JUMP_IF(A == UNDEF, wide_of(at))
        case OP_JUMP_DEF: JUMP_IF(A != UNDEF, wide_of(at))
        case OP_JUMP_END: JUMP_IF(A == END, wide_of(at))
        case OP_JUMP_EQ: JUMP_EQUAL(true)
        case OP_JUMP_NOT_EQ: JUMP_EQUAL(false)
        case OP_JUMP_LT: JUMP_COMPARE(<, value_lt, true)
        case OP_JUMP_NOT_LT: JUMP_COMPARE(<, value_lt, false)
        case OP_JUMP_LE: JUMP_COMPARE(<=, value_le, true)
        case OP_JUMP_NOT_LE: JUMP_COMPARE(<=, value_le, false)
        case OP_JUMP_EQ_INT: JUMP_COMPARE_INT(==, true, value_eq(vm, x, of_small(y)))
        case OP_JUMP_NOT_EQ_INT: JUMP_COMPARE_INT(==, false, value_eq(vm, x, of_small(y)))
        case OP_JUMP_LT_INT: JUMP_COMPARE_INT(<, true, value_lt(vm, x, of_small(y)))
        case OP_JUMP_NOT_LT_INT: JUMP_COMPARE_INT(<, false, value_lt(vm, x, of_small(y)))
        case OP_JUMP_LE_INT: JUMP_COMPARE_INT(<=, true, value_le(vm, x, of_small(y)))
        case OP_JUMP_NOT_LE_INT: JUMP_COMPARE_INT(<=, false, value_le(vm, x, of_small(y)))
        case OP_JUMP_GT_INT: JUMP_COMPARE_INT(>, true, value_lt(vm, of_small(y), x))
        case OP_JUMP_NOT_GT_INT: JUMP_COMPARE_INT(>, false, value_lt(vm, of_small(y), x))
        case OP_JUMP_GE_INT: JUMP_COMPARE_INT(>=, true, value_le(vm, of_small(y), x))
        case OP_JUMP_NOT_GE_INT: JUMP_COMPARE_INT(>=, false, value_le(vm, of_small(y), x))
        case OP_JUMP_EQ_CONST: JUMP_TRUTH(true, value_eq(vm, A, CONSTANT(at->b)))
        case OP_JUMP_NOT_EQ_CONST: JUMP_TRUTH(false, value_eq(vm, A, CONSTANT(at->b)))
        case OP_JUMP_KIND: JUMP_IF(is_kind(A, at->b), (int16_t)at->c)
        case OP_JUMP_NOT_KIND: JUMP_IF(!is_kind(A, at->b), (int16_t)at->c)
        case OP_JUMP_CASE: JUMP_IF(is_case_named(A, CONSTANT(at->b)), (int16_t)at->c)
        case OP_JUMP_NOT_CASE: JUMP_IF(!is_case_named(A, CONSTANT(at->b)), (int16_t)at->c)

        case OP_CALL: {
            Value callee = B;
            if (is_object(callee, CLOSURE)) {
                const struct function *function = &vm->code.functions[object_of(callee)->aux];
                Value *base = &B + 2;
                if (function->params == at->c && base + function->registers <= limit) {
                    base[-1] = make_link((uint32_t)(at - code) + 1, at->b + 2u, 0);
                    r = base;
                    at = code + function->start;
                    if (--vm->fuel < 0)
                        goto fuel;
                    continue;
                }
            }
            vm->base = r;
            switch (frame_enter(vm, at->b, at->c, (uint32_t)(at - code) + 1, 0, &answer)) {
            case ENTERED: goto entered;
            case ANSWERED: A = answer; SAFE
            case NOT_ENTERED: goto not_entered;
            }
        }
        case OP_CALL_FUNC: {
            const struct function *function = &vm->code.functions[at->c];
            Value *base = &B + 2;
            if (base + function->registers > limit) {
                vm->base = r;
                if (!stack_grow(vm, at->b + 2u + function->registers))
                    goto fault;
                r = vm->base;
                stack = stack_of(values_of(vm->running)->at[CO_STACK]);
                limit = stack->at + stack->head.count;
                base = &B + 2;
            }
            base[-1] = make_link((uint32_t)(at - code) + 1, at->b + 2u, 0);
            r = base;
            at = code + function->start;
            if (--vm->fuel < 0)
                goto fuel;
            continue;
        }
        case OP_TAIL: {
            Value callee = A;
            if (is_object(callee, CLOSURE) && vm->code.functions[object_of(callee)->aux].params == at->b) {
                const struct function *function = &vm->code.functions[object_of(callee)->aux];
                if (r + function->registers > limit) {
                    vm->base = r;
                    if (!stack_grow(vm, function->registers))
                        goto fault;
                    r = vm->base;
                    stack = stack_of(values_of(vm->running)->at[CO_STACK]);
                    limit = stack->at + stack->head.count;
                }
                r[-2] = callee;
                r[-1] |= (uint64_t)TAILED << LINK_FLAGS;
                const Value *arguments = &A + 2;
                for (uint32_t index = 0; index < function->params; index++)
                    r[index] = arguments[index];
                at = code + function->start;
                if (--vm->fuel < 0)
                    goto fuel;
                continue;
            }
            vm->base = r;
            switch (frame_enter(vm, at->a, at->b, vm->code.give_back, 0, &answer)) {
            case ENTERED: goto entered;
            case ANSWERED:
                r[0] = answer;
                at = code + vm->code.give_back;
                if (vm->heap.full)
                    goto collect;
                continue;
            case NOT_ENTERED: goto not_entered;
            }
        }
        case OP_TAIL_FUNC: {
            const struct function *function = &vm->code.functions[at->b];
            if (r + function->registers > limit) {
                vm->base = r;
                if (!stack_grow(vm, function->registers))
                    goto fault;
                r = vm->base;
                stack = stack_of(values_of(vm->running)->at[CO_STACK]);
                limit = stack->at + stack->head.count;
            }
            r[-1] |= (uint64_t)TAILED << LINK_FLAGS;
            const Value *arguments = &A + 2;
            for (uint32_t index = 0; index < function->params; index++)
                r[index] = arguments[index];
            at = code + function->start;
            if (--vm->fuel < 0)
                goto fuel;
            continue;
        }
        case OP_TRY:
            vm->base = r;
            switch (frame_enter(vm, at->b, at->c, (uint32_t)(at - code) + 1, TRIES, &answer)) {
            case ENTERED: goto entered;
            case ANSWERED: ANSWER(made_case(vm, vm->ok_name, answer))
            case NOT_ENTERED:
                if (vm->fault != FAULT_RAISED)
                    goto not_entered;
                vm->at = (uint32_t)(at - code);
                ANSWER(frame_caught(vm))
            }
        case OP_RETURN: {
            Value link = r[-1], result = A;
            if (link_flags(link) & (TRIES | READS | EXTRA))
                goto give;
            at = code + link_at(link);
            r -= link_delta(link);
            r[(at - 1)->a] = result;
            continue;
        }
        give: {
            Value link = r[-1], result = A;
            uint32_t flags = link_flags(link);
            if (flags & EXTRA) {
                /* Its arguments are still to come: the result is called with them, in the same place. */
                struct values *rest = values_of(r[-3]);
                vm->base = r;
                if (!stack_grow(vm, rest->head.count + 3u))
                    goto fault;
                uint32_t window = link_delta(link) - 3, count = rest->head.count;
                vm->base -= link_delta(link);
                Value *place = vm->base + window;
                place[0] = result;
                memcpy(place + 2, rest->at, count * sizeof(Value));
                at = code + link_at(link) - 1;
                vm->retried = true; /* there is no way back */
                switch (frame_enter(vm, window, count, link_at(link), flags & (TRIES | READS), &answer)) {
                case ENTERED: goto entered;
                case NOT_ENTERED:
                    r = vm->base;
                    if ((flags & TRIES) && vm->fault == FAULT_RAISED) {
                        vm->at = (uint32_t)(at - code);
                        ANSWER(frame_caught(vm))
                    }
                    goto fault;
                case ANSWERED:
                    r = vm->base;
                    if (flags & TRIES)
                        answer = made_case(vm, vm->ok_name, answer);
                    ANSWER(answer)
                }
            }
            if (flags & TRIES) {
                result = result == UNDEF ? raise_text(vm, "undefined may not be stored in a case, as the argument of ok")
                                         : made_case(vm, vm->ok_name, result);
                if (result == FAILED)
                    goto fault;
                at = code + link_at(link);
                r -= link_delta(link);
                r[(at - 1)->a] = result;
                if (vm->heap.full)
                    goto collect;
                continue;
            }
            /* A generator: the end makes `next` look further. */
            at = code + link_at(link) - 1;
            r -= link_delta(link);
            if (result == END) {
                stream_ended(vm, B);
                if (--vm->fuel < 0)
                    goto fuel;
                continue;
            }
            if (result == UNDEF) {
                raise_text(vm, "an element of a stream may not be undefined");
                goto fault;
            }
            A = result;
            NEXT
        }
        case OP_BUILTIN: {
            Value result = builtin_call(vm, at->c, &B);
            if (result == FAILED)
                goto fault;
            vm->work = UNDEF;
            A = result;
            if (vm->fuel < 0) {
                at++;
                goto fuel;
            }
            SAFE
        }
        case OP_FFI: {
            values_of(vm->running)->at[CO_REGISTER] = of_small(at->a);
            if (start_ffi(vm, at->c, &B) == 0) {
                values_of(vm->running)->at[CO_REGISTER] = of_small(-1);
                goto fault;
            }
            suspend(vm, (uint32_t)(at - code) + 1, r);
            return STOP_FFI;
        }

        case OP_ARRAY: ANSWER(made_array(vm, &B, at->c))
        case OP_MAP: ANSWER(made_map(vm, &B, at->c))
        case OP_RECORD: ANSWER(made_record(vm, CONSTANT(at->c), &B))
        case OP_CASE:
            if (C == UNDEF) {
                raise_text(vm, "undefined may not be stored in a case, as the argument of %t", CONSTANT(at->b));
                goto fault;
            }
            ANSWER(made_case(vm, CONSTANT(at->b), C))
        case OP_ARGUMENT:
            if (!is_case(B)) {
                raise_text(vm, "expected a case, found %v", B);
                goto fault;
            }
            A = case_of(B)->argument;
            NEXT
        case OP_GET: {
            Value from = B, key = C;
            if (is_array(from) && is_small(key)) {
                int64_t index = small_of(key);
                A = index >= 0 && index < array_count(from) ? array_get(from, (uint32_t)index) : UNDEF;
                NEXT
            }
            ANSWER(value_get(vm, from, key))
        }
        case OP_GET_KEY: {
            Value from = B;
            if (is_map(from)) {
                A = map_get(from, text_of(CONSTANT(at->c)));
                NEXT
            }
            ANSWER(value_get_key(vm, from, CONSTANT(at->c)))
        }
        case OP_GET_INT: ANSWER(value_get_int(vm, B, at->c))
        case OP_SET: ANSWER(value_set(vm, A, B, C))
        case OP_SET_OWN: {
            Value in = A, key = B;
            if (is_array(in) && is_small(key) && C != UNDEF && small_of(key) >= 0 && small_of(key) < array_count(in))
                ANSWER(array_set_own(vm, in, (uint32_t)small_of(key), C))
            ANSWER(value_set(vm, in, key, C))
        }
        case OP_SHARE:
            if (is_array(A))
                array_share(A);
            NEXT
        case OP_SET_KEY: ANSWER(value_set(vm, A, CONSTANT(at->b), C))
        case OP_SET_INT: ANSWER(value_set(vm, A, of_small(at->b), C))
        case OP_PUSH: {
            if (!is_array(A)) {
                raise_text(vm, "expected an array to append to, found %v", A);
                goto fault;
            }
            if (B == UNDEF) {
                raise_text(vm, "undefined may not be stored in an array");
                goto fault;
            }
            ANSWER(array_push(vm, A, B))
        }
        case OP_LENGTH: ANSWER(value_length(vm, B))

        case OP_STREAM: ANSWER(stream_of(vm, B))
        case OP_GENERATE: {
            Value function = B;
            if (!is_object(function, CLOSURE) || vm->code.functions[object_of(function)->aux].params != 0) {
                raise_text(vm, "expected a function without parameters to generate a stream, found %v", function);
                goto fault;
            }
            ANSWER(stream_made(vm, function))
        }
        case OP_CONCAT: ANSWER(stream_join(vm, B, C))
        case OP_NEXT: {
            if (!is_object(B, STREAM)) {
                raise_text(vm, "expected a stream to read from, found %v", B);
                goto fault;
            }
            Value function, element = stream_next(vm, B, &function);
            if (element != FAILED) {
                A = element;
                SAFE
            }
            if (function == UNDEF)
                goto fault;
            C = function;
            vm->base = r;
            if (frame_enter(vm, at->c, 0, (uint32_t)(at - code) + 1, READS, &answer) == ENTERED)
                goto entered;
            goto not_entered;
        }

        case OP_SPAWN: {
            Value function = B;
            if (!is_object(function, CLOSURE) || vm->code.functions[object_of(function)->aux].params != 0) {
                raise_text(vm, "expected a function without parameters to run as a coroutine, found %v", function);
                goto fault;
            }
            Value made = coroutine_new(vm, function, NULL);
            if (made == FAILED)
                goto fault;
            coroutine_enqueue(vm, made);
            A = made;
            SAFE
        }
        case OP_CURRENT: A = vm->running; NEXT
        case OP_YIELD:
            suspend(vm, (uint32_t)(at - code) + 1, r);
            set_state(vm->running, READY);
            coroutine_enqueue(vm, vm->running);
            heap_wrote(vm, object_of(vm->running));
            return STOP_WAITS;
        case OP_PARK:
            suspend(vm, (uint32_t)(at - code) + 1, r);
            set_state(vm->running, PARKED);
            values_of(vm->running)->at[CO_REGISTER] = of_small(at->a);
            return STOP_WAITS;
        case OP_WAKE:
            if (!is_object(A, COROUTINE)) {
                raise_text(vm, "expected a coroutine to wake, found %v", A);
                goto fault;
            }
            if (state_of(A) == PARKED)
                coroutine_answer(vm, A, B, false);
            NEXT
        case OP_CANCEL:
            if (!is_object(A, COROUTINE)) {
                raise_text(vm, "expected a coroutine to cancel, found %v", A);
                goto fault;
            }
            if (A == vm->running) {
                if (vm->running == vm->entry)
                    goto ended_empty;
                suspend(vm, (uint32_t)(at - code) + 1, r);
                coroutine_cancel(vm, vm->running);
                return STOP_WAITS;
            }
            if (A == vm->entry) {
                vm->entry = NIL;
                vm->result = NIL;
            }
            if (state_of(A) != ENDED)
                coroutine_cancel(vm, A);
            NEXT

        case OP_RAISE_AGAIN: vm->again = A == vm->caught;
        case OP_RAISE:
            vm->raised = A;
            vm->fault = FAULT_RAISED;
            goto fault;
        case OP_NO_MATCH: raise_text(vm, "no pattern matches the %v", A); goto fault;
        case OP_CHECK:
            if (is_kind(A, at->b))
                NEXT
            raise_text(vm, "%t: expected a %s, found %v", CONSTANT(at->c), kind_name((enum kind)at->b), A);
            goto fault;
        case OP_CHECK_STORED:
            if (A != UNDEF)
                NEXT
            raise_text(vm, "undefined may not be stored in %t", CONSTANT(at->b));
            goto fault;
        case OP_JUMP_TABLE: {
            uint32_t index = table_index(vm, A, CONSTANT(at->b));
            if (index == UINT32_MAX)
                goto fault;
            at += 1 + index;
            continue;
        }
        case OP_HALT:
            answer = r[0];
            if (false) {
            ended_empty:
                answer = NIL;
            }
            suspend(vm, vm->code.halt, r);
            coroutine_cancel(vm, vm->running);
            if (vm->running != vm->entry)
                return STOP_WAITS;
            vm->entry = NIL;
            vm->result = answer;
            return STOP_DONE;
        default: __builtin_unreachable();
        }

    entered:
        r = vm->base;
        at = code + vm->at;
        stack = stack_of(values_of(vm->running)->at[CO_STACK]);
        limit = stack->at + stack->head.count;
        if (--vm->fuel < 0)
            goto fuel;
        if (vm->heap.full)
            goto collect;
        continue;

    fuel:
        vm->retried = false;
        suspend(vm, (uint32_t)(at - code), r);
    give_way:
        if (vm->heap.full) {
            heap_collect(vm, false);
            vm->heap.full = vm->retried; /* what is done again is over when the instruction is */
        }
        return vm->heap.dead ? out_of_heap(vm) : STOP_FUEL;

    collect:
        vm->retried = false;
        suspend(vm, (uint32_t)(at - code), r);
        heap_collect(vm, false);
        if (vm->heap.dead)
            return out_of_heap(vm);
        goto reload;

    not_entered: /* the stack may have grown all the same */
        r = vm->base;
    fault:
        suspend(vm, (uint32_t)(at - code), r);
        switch (vm->fault) {
        case FAULT_AGAIN: goto give_way;
        case FAULT_MEMORY:
            if (vm->retried)
                return out_of_heap(vm);
            heap_collect(vm, true);
            if (vm->heap.dead)
                return out_of_heap(vm);
            vm->retried = vm->heap.full = true;
            goto reload;
        case FAULT_RAISED:
            vm->fault = FAULT_NONE;
            vm->work = UNDEF;
            if (frame_unwind(vm)) {
                vm->retried = false;
                at = code + vm->at;
                r = vm->base;
                if (vm->heap.full)
                    goto collect;
                continue;
            }
            if (vm->fault == FAULT_MEMORY) {
                if (vm->retried)
                    return out_of_heap(vm);
                heap_collect(vm, true);
                if (vm->heap.dead)
                    return out_of_heap(vm);
                vm->retried = true;
                stack = stack_of(values_of(vm->running)->at[CO_STACK]);
                r = stack->at + small_of(values_of(vm->running)->at[CO_BASE]);
                limit = stack->at + stack->head.count;
                vm->fault = FAULT_RAISED;
                goto fault;
            }
            vm->panic = PANIC_RAISED;
            return STOP_PANIC;
        default: vm->panic = PANIC_STACK; return STOP_PANIC;
        }

    reload:
        running = values_of(vm->running);
        stack = stack_of(running->at[CO_STACK]);
        r = stack->at + small_of(running->at[CO_BASE]);
        limit = stack->at + stack->head.count;
        if (vm->fuel < 0)
            return STOP_FUEL;
    }
}

enum stop run(struct vm *vm)
{
    for (;;) {
        if (vm->running == NIL) {
            vm->running = coroutine_dequeue(vm);
            if (vm->running == NIL)
                return STOP_WAITS;
        }
        if (vm->fuel < 0)
            return STOP_FUEL;
        enum stop stop = interpret(vm);
        if (stop == STOP_FUEL || stop == STOP_PANIC)
            return stop;
        vm->running = NIL;
        if (vm->heap.full) {
            heap_collect(vm, false);
            if (vm->heap.dead)
                return out_of_heap(vm);
        }
        if (stop != STOP_WAITS)
            return stop;
        vm->fuel--;
    }
}
