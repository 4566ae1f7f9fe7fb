/* guest.c: the border to the host. Exports and imports are those of the guest interface; what ends a run is panic.c. */
#include <string.h>

#include "words.h"

#define EXPORT(NAME) __attribute__((export_name(NAME)))

IMPORT("ffi") uint32_t host_ffi(const char *name, size_t name_size, const void *args, size_t size);
IMPORT("take") void host_take(void *to);
IMPORT("log") void host_log(int32_t level, const char *message, size_t size);
IMPORT("now") double host_now(void);
IMPORT("random") void host_random(void *bytes, size_t size);

#define MOST_RANDOM (1u << 20) /* bytes that the host gives at once */

/* The linker collects what MIX_ENTRY defines; a guest may have none. */
extern const mix_entry __start_mix_entries[] __attribute__((weak));
extern const mix_entry __stop_mix_entries[] __attribute__((weak));

static bool running;  /* an entry is at work */
static bool answered; /* the last call's memory is still in use, by its answer */

double mix_now(void) { return host_now(); }

void mix_random(void *bytes, size_t size) {
    for (char *at = bytes; size > 0;) {
        size_t part = size < MOST_RANDOM ? size : MOST_RANDOM;
        host_random(at, part);
        at += part;
        size -= part;
    }
}

void mix_log_text(mix_level level, mix_text message) { host_log((int32_t)level, message.at, message.size); }
void mix_log(mix_level level, const char *message) { mix_log_text(level, mix_text_of(message)); }

/* What came in, checked. `what` says in a panic what it was. */
static mix_value received(const char *what, const void *bytes, size_t size) {
    mix_value value;
    mix_fault fault;
    if (!mix_decode(bytes, size, &value, &fault)) mix_panic_join(what, " cannot be read: ", fault.message, NULL);
    return value;
}

mix_value mix_ffi_with(const char *name, const mix_value *args, size_t count) {
    mix_scope sending = mix_enter();
    mix_out out = {0};
    mix_put_array(&out);
    for (size_t i = 0; i < count; i++) mix_put_value(&out, args[i]);
    mix_end(&out);
    mix_text packed = mix_encoded(mix_done(&out));
    size_t size = host_ffi(name, strlen(name), packed.at, packed.size);
    mix_leave(sending);
    void *answer = mix_take(size);
    host_take(answer);
    return received(name, answer, size);
}

EXPORT("mix_alloc") void *mix_alloc(size_t size) {
    if (answered) {
        mix_memory_reset();
        answered = false;
    }
    return mix_take(size);
}

uint64_t mix_run(mix_value (*function)(mix_value), const void *args, size_t size) {
    if (running) mix_panic("an entry was called while another one is at work");
    running = true;
    mix_text answer = mix_encoded(function(received("the parameters", args, size)));
    running = false;
    answered = true;
    return (uint64_t)(uintptr_t)answer.at << 32 | answer.size;
}

EXPORT("mix_call") uint64_t mix_call(const char *name, size_t name_size, const void *args, size_t size) {
    for (const mix_entry *entry = __start_mix_entries; entry < __stop_mix_entries; entry++)
        if (mix_text_is((mix_text){name, name_size}, entry->name)) return mix_run(entry->function, args, size);
    mix_panic("no such entry");
}

void mix_run_init(void (*function)(mix_value), const void *env, size_t size) {
    function(received("the environment", env, size));
    mix_memory_keep();
}

void mix_run_resume(void (*function)(const unsigned char seed[MIX_SEED_SIZE]), const void *seed) {
    function(seed);
    mix_memory_reset();
}
