/* The end of every translated module, behind what wasm2c wrote: its runtime, on that of the host. */

static const mix_runtime *mix_rt;

void mix_trap(int what) { mix_rt->trap(what); }

void mix_stop(void) { mix_rt->stop(); }

/* ---- what wasm2c's own code calls (wasm-rt.h) ------------------------------------------------------------ */

void wasm_rt_trap(wasm_rt_trap_t what) {
    switch (what) {
    case WASM_RT_TRAP_OOB: mix_trap(MIX_MEMORY_OUT_OF_BOUNDS);
    case WASM_RT_TRAP_INT_OVERFLOW: mix_trap(MIX_INTEGER_OVERFLOW);
    case WASM_RT_TRAP_DIV_BY_ZERO: mix_trap(MIX_DIVISION_BY_ZERO);
    case WASM_RT_TRAP_INVALID_CONVERSION: mix_trap(MIX_BAD_CONVERSION);
    case WASM_RT_TRAP_CALL_INDIRECT: mix_trap(MIX_BAD_SIGNATURE);
    case WASM_RT_TRAP_NULL_REF: mix_trap(MIX_NULL_REFERENCE);
    case WASM_RT_TRAP_EXHAUSTION: mix_trap(MIX_STACK_OVERFLOW);
    default: mix_trap(MIX_UNREACHABLE);
    }
}

void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint64_t pages, uint64_t most, bool is64, uint32_t page) {
    (void)is64;
    memory->data = mix_rt->memory(memory, pages * page, most * page);
    if (memory->data == NULL) mix_trap(MIX_NO_ROOM);
    memory->page_size = page;
    memory->pages = pages;
    memory->max_pages = most;
    memory->size = pages * page;
}

uint64_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint64_t more) {
    uint64_t before = memory->pages, after = before + more;
    if (more > UINT32_MAX || after > memory->max_pages || !mix_rt->grow(memory, after * memory->page_size)) return UINT64_MAX;
    memory->pages = after;
    memory->size = after * memory->page_size;
    return before;
}

void wasm_rt_free_memory(wasm_rt_memory_t *memory) { (void)memory; /* the host's, which views may keep alive */ }

void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint32_t count, uint32_t most) {
    if (!mix_rt->elements(count)) mix_trap(MIX_NO_ROOM);
    table->data = calloc(count > 0 ? count : 1, sizeof *table->data);
    if (table->data == NULL) mix_trap(MIX_NO_ROOM);
    table->size = count;
    table->max_size = most;
}

uint32_t wasm_rt_grow_funcref_table(wasm_rt_funcref_table_t *table, uint32_t more, wasm_rt_funcref_t init) {
    uint32_t before = table->size;
    if (more > table->max_size - before || !mix_rt->elements(more)) return UINT32_MAX;
    size_t room = (size_t)before + more;
    wasm_rt_funcref_t *data = realloc(table->data, (room > 0 ? room : 1) * sizeof *data);
    if (data == NULL) return UINT32_MAX; /* what was counted stays so, which errs on the safe side */
    for (size_t at = before; at < room; at++) data[at] = init;
    table->data = data;
    table->size = (uint32_t)room;
    return before;
}

void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table) { free(table->data); }
