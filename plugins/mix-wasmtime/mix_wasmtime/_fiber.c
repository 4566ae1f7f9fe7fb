/* Fibers: calls of the guest that can be left half done and gone on with later, from any thread.
 *
 * Wasmtime gives such a call a stack of its own, which the store keeps for its next call. No Python runs on it, so that it
 * may be small: a host function that the guest calls only leaves there what it was called with, and is called when the
 * fiber has been left.
 */
#include "_instance.h"

#include <string.h>

static uint8_t kind_of(char type) {
    switch (type) {
    case 'i': return 0;
    case 'I': return 1;
    case 'f': return 2;
    default: return 3;
    }
}

/* no GIL, on the fiber */
static bool is_answered(void *env) {
    Fiber *fiber = env;
    if (!fiber->answered) return false;
    fiber->host = NULL;
    return true;
}

/* no GIL, on the fiber */
void fiber_host_call(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args, size_t arg_count,
                     wasmtime_val_t *results, size_t result_count, wasm_trap_t **trap,
                     wasmtime_async_continuation_t *continuation) {
    Instance *self = wt.wasmtime_context_get_data(wt.wasmtime_caller_context(caller));
    Fiber *fiber = self->fiber;
    /* First of all: Wasmtime aborts the process where it finds none. */
    continuation->callback = is_answered;
    continuation->env = fiber;
    continuation->finalizer = NULL;
    (void)arg_count, (void)result_count;
    fiber->answered = false;
    fiber->host = env;
    fiber->host_args = args;
    fiber->host_result = results;
    fiber->host_trap = trap;
    atomic_store(&self->passed, false);
}

/* no GIL */
void fiber_begin(Instance *self, size_t slot, const wasmtime_val_raw_t *values) {
    Fiber *fiber = self->fiber;
    const Function *function = &self->linked->functions[slot];
    size_t arity = strlen(function->params);
    for (size_t i = 0; i < arity; i++) {
        fiber->args[i].kind = kind_of(function->params[i]);
        fiber->args[i].of.raw = values[i];
    }
    fiber->trap = NULL;
    fiber->failure = NULL;
    fiber->host = NULL;
    fiber->future = wt.wasmtime_func_call_async(self->context, &self->funcs[slot], fiber->args, arity, &fiber->result,
                                                function->result != 0, &fiber->trap, &fiber->failure);
}

/* no GIL, between begin and end */
FiberEvent fiber_go(Instance *self, wasmtime_val_raw_t *value) {
    Fiber *fiber = self->fiber;
    if (!wt.wasmtime_call_future_poll(fiber->future)) return fiber->host != NULL ? FIBER_IN_HOST : FIBER_GAVE_WAY;
    wt.wasmtime_call_future_delete(fiber->future);
    fiber->future = NULL;
    fiber->host = NULL;
    if (fiber->trap == NULL && fiber->failure == NULL) {
        *value = fiber->result.of.raw;
        return FIBER_DONE;
    }
    self->trap = fiber->trap;
    self->failure = fiber->failure;
    return FIBER_FAILED;
}

static void make_trap(Fiber *fiber) {
    *fiber->host_trap = wt.wasmtime_trap_new_code(TRAP_UNREACHABLE);
    fiber->answered = true;
}

void fiber_answer(Instance *self, const wasmtime_val_raw_t *value) {
    Fiber *fiber = self->fiber;
    if (atomic_load(&self->interrupted)) {
        make_trap(fiber);
        return;
    }
    if (fiber->host->result != 0) {
        fiber->host_result->kind = kind_of(fiber->host->result);
        fiber->host_result->of.raw = *value;
    }
    fiber->answered = true;
}

void fiber_fail(Instance *self) {
    trap_keep(self);
    make_trap(self->fiber);
}

HostEnd fiber_call_host(Instance *self) {
    Fiber *fiber = self->fiber;
    const HostCall *host = fiber->host;
    wasmtime_val_raw_t values[MAX_PARAMS + 1];
    if (atomic_load(&self->interrupted)) {
        make_trap(fiber);
        return HOST_FAILED;
    }
    for (size_t i = 0; i < host->arity; i++) values[i] = fiber->host_args[i].of.raw;
    HostEnd end = host_call(self, host, values);
    if (end == HOST_ANSWERED) fiber_answer(self, &values[0]);
    else if (end == HOST_FAILED) fiber_fail(self);
    return end;
}

void fiber_drop(Instance *self) {
    Fiber *fiber = self->fiber;
    if (fiber == NULL || fiber->future == NULL) return;
    /* Unwinds what is on the fiber's stack. */
    wt.wasmtime_call_future_delete(fiber->future);
    fiber->future = NULL;
    fiber->host = NULL;
    if (fiber->trap != NULL) wt.wasm_trap_delete(fiber->trap);
    if (fiber->failure != NULL) wt.wasmtime_error_delete(fiber->failure);
    fiber->trap = NULL;
    fiber->failure = NULL;
    self->finished = true;
}

/* no GIL */
bool fiber_run(Instance *self, size_t slot, wasmtime_val_raw_t *values) {
    fiber_begin(self, slot, values);
    for (;;) {
        switch (fiber_go(self, &values[0])) {
        case FIBER_DONE: return true;
        case FIBER_FAILED: return false;
        case FIBER_IN_HOST:
            PyEval_RestoreThread(self->thread_state);
            fiber_call_host(self);
            self->thread_state = PyEval_SaveThread();
            break;
        case FIBER_GAVE_WAY: break;
        }
    }
}

/* no GIL. No guest code runs in it, so it never waits. */
bool fiber_instantiate(Instance *self, wasm_trap_t **trap, wasmtime_error_t **error) {
    wasmtime_call_future_t *future = wt.wasmtime_instance_pre_instantiate_async(self->linked->pre, self->context,
                                                                                &self->instance, trap, error);
    bool done = wt.wasmtime_call_future_poll(future);
    wt.wasmtime_call_future_delete(future);
    return done;
}
