/* The machine as the host sees it. */
#include "machine.h"

#include "array.h"
#include "builtin.h"
#include "codec.h"
#include "coroutine.h"
#include "frame.h"
#include "load.h"
#include "random.h"
#include "run.h"

#define DEFAULT_MEMORY ((size_t)64 << 20)
#define DEFAULT_STACK (UINT32_C(1) << 17)

static struct vm machine;
static struct buffer input;
static bool is_open, is_over;

static bool open_machine(void)
{
    struct vm *vm = &machine;
    if (is_open)
        return true;
    vm->raised = vm->work = vm->globals = vm->pending = vm->caught = UNDEF;
    vm->ok_name = vm->error_name = UNDEF;
    vm->running = vm->first = vm->last = vm->entry = NIL;
    vm->result = UNDEF;
    vm->stack_limit = DEFAULT_STACK;
    builtins_open();
    random_seed(vm, 0);
    is_open = heap_open(&vm->heap, DEFAULT_MEMORY);
    return is_open;
}

size_t vm_roots(struct vm *vm, size_t index, bool major, Value **first)
{
    switch (index) {
    case 0:
        *first = &vm->raised; /* to result, see vm.h */
        return (size_t)(&vm->error_name - &vm->raised) + 1;
    case 1:
        *first = vm->code.constants;
        return major && vm->code.constants != NULL ? vm->code.constant_count : 0;
    case 2:
        *first = vm->code.closures;
        return major && vm->code.closures != NULL ? vm->code.function_count : 0;
    default: return 0;
    }
}

static uint32_t word(const char *words, size_t index)
{
    uint32_t found;
    memcpy(&found, words + index * 4, 4);
    return found;
}

/* REFUSED, with what was raised. */
static void refuse(struct vm *vm)
{
    Value text = vm->fault == FAULT_RAISED && is_string(vm->raised) ? vm->raised : UNDEF;
    vm->fault = FAULT_NONE;
    vm->out.size = 0;
    if (!codec_word(vm, &vm->out, EVENT_REFUSED))
        return;
    if (text == UNDEF || !codec_encode(vm, &vm->out, text))
        vm->out.size = 4; /* without a text: out of memory */
    vm->raised = UNDEF;
}

static void refuse_text(struct vm *vm, const char *text)
{
    raise_text(vm, "%s", text);
    refuse(vm);
}

static void answer_pair(struct vm *vm, uint64_t number)
{
    codec_word(vm, &vm->out, (uint32_t)number);
    codec_word(vm, &vm->out, (uint32_t)(number >> 32));
}

static void panic(struct vm *vm)
{
    struct address found[MOST_ADDRESSES];
    uint32_t count = vm->heap.dead || vm->running == NIL ? 0 : backtrace(vm, found);
    is_over = true;
    vm->out.size = 0;
    codec_word(vm, &vm->out, EVENT_PANIC);
    codec_word(vm, &vm->out, vm->panic);
    codec_word(vm, &vm->out, count);
    for (uint32_t index = 0; index < count; index++) {
        codec_word(vm, &vm->out, found[index].function);
        codec_word(vm, &vm->out, found[index].at);
        codec_word(vm, &vm->out, found[index].tailed);
    }
    size_t size = vm->out.size;
    if (vm->panic != PANIC_RAISED || !codec_encode(vm, &vm->out, vm->raised)) {
        vm->out.size = size;
        codec_word(vm, &vm->out, KIND_NULL);
    }
}

static bool idle(struct vm *vm, bool ended)
{
    vm->out.size = 0;
    return codec_word(vm, &vm->out, EVENT_IDLE) &&
           codec_word(vm, &vm->out, (ended ? ENDED_NOW : 0) | (vm->pending_count > 0 ? AWAITS : 0) |
                                        (vm->first != NIL ? GOES_ON_NOW : 0));
}

static void go_on(struct vm *vm)
{
    enum stop stop = run(vm);
    switch (stop) {
    case STOP_FUEL:
        vm->out.size = 0;
        codec_word(vm, &vm->out, EVENT_RUNNING);
        return;
    case STOP_FFI: return;
    case STOP_WAITS:
        if (vm->entry != NIL && vm->pending_count == 0) {
            vm->panic = PANIC_DEADLOCK;
            panic(vm);
            return;
        }
        idle(vm, vm->result != UNDEF);
        if (vm->result != UNDEF)
            codec_encode(vm, &vm->out, vm->result);
        vm->result = UNDEF;
        return;
    case STOP_DONE:
        if (idle(vm, true) && codec_encode(vm, &vm->out, vm->result)) {
            vm->result = UNDEF;
            return;
        }
        vm->panic = vm->fault == FAULT_RAISED ? PANIC_RAISED : PANIC_MEMORY;
        panic(vm);
        return;
    case STOP_PANIC: panic(vm); return;
    }
}

static void enter(struct vm *vm, uint32_t function, const char *words, size_t size)
{
    if (!vm->loaded || function >= vm->code.function_count || vm->code.functions[function].captures != 0) {
        refuse_text(vm, "expected the index of a function that captures nothing");
        return;
    }
    if (vm->entry != NIL) {
        refuse_text(vm, "the entry before has not ended");
        return;
    }
    for (bool again = false;; again = true) {
        Value arguments = codec_decode(vm, words, size, true);
        if (arguments != FAILED && !is_array(arguments))
            arguments = raise_text(vm, "expected an array of arguments");
        uint32_t params = vm->code.functions[function].params;
        if (arguments != FAILED && array_count(arguments) != params)
            arguments = raise_text(vm, "expected %d arguments, found %d", (int64_t)params, (int64_t)array_count(arguments));
        Value flat[MAX_PARAMS];
        for (uint32_t index = 0; arguments != FAILED && index < params; index++)
            flat[index] = array_get(arguments, index);
        Value made = arguments == FAILED ? FAILED : coroutine_new(vm, vm->code.closures[function], flat);
        if (made != FAILED) {
            vm->entry = made;
            coroutine_enqueue(vm, made);
            go_on(vm);
            return;
        }
        if (vm->fault != FAULT_MEMORY || again) {
            refuse(vm);
            return;
        }
        heap_collect(vm, true);
    }
}

static void answer(struct vm *vm, uint32_t call, const char *words, size_t size, bool raises)
{
    for (bool again = false;; again = true) {
        Value value = codec_decode(vm, words, size, true);
        if (value != FAILED) {
            Value coroutine = coroutine_of_call(vm, call);
            if (coroutine != NIL)
                coroutine_answer(vm, coroutine, value, raises);
            go_on(vm);
            return;
        }
        if (vm->fault != FAULT_MEMORY || again) {
            refuse(vm);
            return;
        }
        heap_collect(vm, true);
    }
}

static void done(struct vm *vm)
{
    vm->out.size = 0;
    codec_word(vm, &vm->out, EVENT_DONE);
}

static void load_code(struct vm *vm, const char *bytes, size_t size)
{
    if (vm->loaded || is_over) {
        refuse_text(vm, "code was given already");
    } else if (load(vm, bytes, size) == FAILED) {
        is_over = true;
        refuse(vm);
    } else {
        done(vm);
    }
}

static void echo(struct vm *vm, const char *words, size_t size)
{
    Value value = codec_decode(vm, words, size, false);
    done(vm);
    if (value == FAILED || !codec_encode(vm, &vm->out, value))
        refuse(vm);
    if (vm->heap.full && !vm->loaded)
        heap_collect(vm, true);
}

static void stats(struct vm *vm)
{
    done(vm);
    answer_pair(vm, heap_used(&vm->heap));
    answer_pair(vm, vm->heap.collections);
    answer_pair(vm, vm->heap.majors);
    answer_pair(vm, vm->heap.allocations);
}

/* How many words a command has before what is in codec words or bytes. */
static const size_t heads[] = {[STEP] = 2,   [LOAD] = 1,  [INIT] = 2,    [ENTER] = 5, [ANSWER] = 3, [FAIL] = 3,
                               [LIMITS] = 3, [STATS] = 1, [COLLECT] = 1, [CODEC] = 1, [TEST] = 4};

static void command(struct vm *vm, const char *words, size_t size)
{
    uint32_t which = size < 4 ? UINT32_MAX : word(words, 0);
    if (which > TEST || size < heads[which] * 4) {
        refuse_text(vm, "expected a command with all of its words");
        return;
    }
    size_t head = heads[which] * 4;
    vm->fuel = head > 4 ? word(words, 1) : INT32_MAX;
    switch ((enum command)which) {
    case LOAD: load_code(vm, words + head, size - head); return;
    case LIMITS:
        vm->heap.limit = word(words, 1);
        vm->stack_limit = word(words, 2);
        done(vm);
        return;
    case STATS: stats(vm); return;
    case COLLECT:
        if (vm->running == NIL && !is_over)
            heap_collect(vm, true);
        done(vm);
        return;
    case CODEC: echo(vm, words + head, size - head); return;
    case TEST:
        vm->heap.stress = word(words, 1) != 0;
        vm->heap.fail_from = word(words, 2) == 0 ? UINT64_MAX : vm->heap.allocations + word(words, 2);
        vm->heap.fail_until = vm->heap.allocations + word(words, 3);
        done(vm);
        return;
    default: break;
    }
    if (is_over) {
        refuse_text(vm, "the machine has panicked");
        return;
    }
    switch ((enum command)which) {
    case STEP: go_on(vm); return;
    case INIT:
        if (vm->code.init == NO_FUNCTION)
            done(vm);
        else
            enter(vm, vm->code.init, "\x09\0\0\0", 4);
        return;
    case ENTER:
        random_seed(vm, word(words, 3) | (uint64_t)word(words, 4) << 32);
        enter(vm, word(words, 2), words + head, size - head); return;
    case ANSWER: answer(vm, word(words, 2), words + head, size - head, false); return;
    default: answer(vm, word(words, 2), words + head, size - head, true); return;
    }
}

char *machine_room(size_t size)
{
    if (!open_machine())
        return NULL;
    input.size = 0;
    return buffer_room(&machine, &input, size + 8) ? input.bytes : NULL;
}

const char *machine_step(const char *words, size_t size, size_t *answered)
{
    static const uint32_t no_memory = EVENT_REFUSED;
    if (!open_machine()) {
        *answered = 4;
        return (const char *)&no_memory;
    }
    machine.out.size = 0;
    command(&machine, words, size);
    if (machine.out.size == 0) {
        /* There was not even room for an event. */
        is_over = true;
        *answered = 4;
        return (const char *)&no_memory;
    }
    *answered = machine.out.size;
    return machine.out.bytes;
}

#ifdef __wasm__

__attribute__((export_name("mix_alloc"))) char *mix_alloc(size_t size)
{
    return machine_room(size); /* NULL tells the host that there is no room */
}

__attribute__((export_name("mix_step"))) uint64_t mix_step(const char *words, size_t size)
{
    size_t answered;
    const char *answer = machine_step(words, size, &answered);
    return (uint64_t)(uintptr_t)answer << 32 | answered;
}

#endif
