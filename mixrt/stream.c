/* Streams: lazy, read once. */
#include "stream.h"

#include "array.h"
#include "builtin.h"
#include "operator.h"

static Value new_stream(struct vm *vm, enum stream_form form, Value a, Value b, Value c)
{
    struct values *stream = heap_new(vm, STREAM, sizeof(struct values) + 3 * sizeof(Value));
    if (stream == NULL)
        return FAILED;
    stream->head.count = 3;
    stream->head.aux = (uint16_t)form;
    stream->at[0] = a;
    stream->at[1] = b;
    stream->at[2] = c;
    return of_object(stream);
}

Value stream_part(struct vm *vm, Value array, uint32_t from, uint32_t to)
{
    return new_stream(vm, PART, array, of_small(from), of_small(to));
}

Value stream_ints(struct vm *vm, int64_t first, int64_t last)
{
    return new_stream(vm, INTS, of_small(first), of_small(last), UNDEF);
}

Value stream_made(struct vm *vm, Value function) { return new_stream(vm, MADE, function, UNDEF, UNDEF); }

Value stream_of(struct vm *vm, Value v)
{
    if (is_object(v, STREAM) || v == UNDEF)
        return v;
    if (is_array(v))
        return stream_part(vm, v, 0, array_count(v));
    Value one = array_of_values(vm, &v, 1);
    return one == FAILED ? FAILED : stream_part(vm, one, 0, 1);
}

Value stream_join(struct vm *vm, Value left, Value right)
{
    left = stream_of(vm, left);
    right = left == FAILED ? FAILED : stream_of(vm, right);
    if (right == FAILED || left == UNDEF || right == UNDEF)
        return right == FAILED ? FAILED : UNDEF;
    return new_stream(vm, PAIR, left, right, UNDEF);
}

/* The first part of a stream that is neither a pair nor goes on elsewhere; NULL if it FAILED. */
static struct values *leftmost(struct vm *vm, Value stream)
{
    struct values *at = values_of(stream);
    for (;;) {
        charge(vm, 1);
        if (at->head.aux == GOES_ON) {
            struct values *next = values_of(at->at[0]);
            if (next->head.aux == GOES_ON && next != at) {
                at->at[0] = next->at[0];
                heap_wrote(vm, at);
            }
            at = next;
        } else if (at->head.aux == PAIR) {
            struct values *left = values_of(at->at[0]);
            if (left->head.aux == EMPTY) {
                at->head.aux = GOES_ON;
                at->at[0] = at->at[1];
                at->at[1] = UNDEF;
                heap_wrote(vm, at);
            } else if (left->head.aux == GOES_ON) {
                at->at[0] = left->at[0];
                heap_wrote(vm, at);
            } else if (left->head.aux == PAIR) {
                /* (a ++ b) ++ c is read as a ++ (b ++ c), so that a long chain is gone through once. */
                Value rest = new_stream(vm, PAIR, left->at[1], at->at[1], UNDEF);
                if (rest == FAILED)
                    return NULL;
                at->at[0] = left->at[0];
                at->at[1] = rest;
                heap_wrote(vm, at);
            } else {
                return left;
            }
        } else {
            return at;
        }
        /* Streams that were joined with themselves may go round in a ring. */
        if (vm->fuel < 0) {
            vm->fault = FAULT_AGAIN;
            return NULL;
        }
    }
}

Value stream_next(struct vm *vm, Value stream, Value *function)
{
    *function = UNDEF;
    for (;;) {
        struct values *at = leftmost(vm, stream);
        if (at == NULL)
            return FAILED;
        switch ((enum stream_form)at->head.aux) {
        case PART: {
            int64_t index = small_of(at->at[1]);
            if (index < small_of(at->at[2])) {
                at->at[1] = of_small(index + 1);
                return array_get(at->at[0], (uint32_t)index);
            }
            break;
        }
        case INTS: {
            int64_t number = small_of(at->at[0]);
            if (number <= small_of(at->at[1])) {
                at->at[0] = of_small(number + 1);
                return of_small(number);
            }
            break;
        }
        case MADE: *function = at->at[0]; return FAILED;
        default:
            if (at == values_of(stream))
                return END;
            break;
        }
        at->head.aux = EMPTY;
        at->at[0] = at->at[1] = at->at[2] = UNDEF;
        if (at == values_of(stream))
            return END;
        if (values_of(stream)->head.aux == GOES_ON && leftmost(vm, stream) == at)
            return END;
    }
}

void stream_ended(struct vm *vm, Value stream)
{
    struct values *at = leftmost(vm, stream);
    if (at == NULL || at->head.aux != MADE)
        return;
    at->head.aux = EMPTY;
    at->at[0] = UNDEF;
}

Value builtin_stream_unread(struct vm *vm, const Value *arguments)
{
    struct values *at = values_of(arguments[1]);
    Value one = array_of_values(vm, arguments, 1);
    Value front = one == FAILED ? FAILED : stream_part(vm, one, 0, 1);
    Value rest = front == FAILED ? FAILED : new_stream(vm, (enum stream_form)at->head.aux, at->at[0], at->at[1], at->at[2]);
    if (rest == FAILED)
        return FAILED;
    at->head.aux = PAIR;
    at->at[0] = front;
    at->at[1] = rest;
    at->at[2] = UNDEF;
    heap_wrote(vm, at);
    return arguments[1];
}
