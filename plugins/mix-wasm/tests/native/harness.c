/* Runs the portable files of the library natively, under the sanitizers, over buffers that end where their
 * memory ends: inside a Wasm memory a read beyond a buffer would go unseen.
 *
 * stdin: for each buffer its size (32 bits) and its bytes. stdout: for each the offset of its fault (64 bits),
 * or -1 if it is a value, which is then also read and written again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../guests/echo.c"

_Noreturn void mix_panic_text(mix_text message) {
    fprintf(stderr, "panic: %.*s\n", (int)message.size, message.at);
    abort();
}
_Noreturn void mix_panic(const char *message) { mix_panic_text(mix_text_of(message)); }
_Noreturn void mix_panic_join(const char *first, ...) { mix_panic(first); }

/* Every block is of exactly the size asked for, and a block that was extended is gone. */
void *mix_take(size_t size) { return malloc(size); }
void *mix_extend(void *block, size_t old_size, size_t size) {
    void *longer = malloc(size);
    if (block) memcpy(longer, block, old_size);
    free(block);
    return longer;
}
mix_scope mix_enter(void) { return (mix_scope){0}; }
void mix_leave(mix_scope scope) { (void)scope; }
unsigned mix_scope_id(void) { return 0; }
uint64_t mix_run(mix_value (*function)(mix_value), const void *args, size_t size) {
    (void)function, (void)args, (void)size;
    return 0;
}

int main(void) {
    uint32_t size;
    while (fread(&size, 4, 1, stdin) == 1) {
        char *bytes = malloc(size);
        if (fread(bytes, 1, size, stdin) != size) return 2;
        mix_value value;
        mix_fault fault;
        int64_t answer = -1;
        if (mix_decode(bytes, size, &value, &fault)) {
            mix_out out = {0};
            copy(&out, value);
            mix_text again = mix_encoded(mix_done(&out));
            if (again.size != size || memcmp(again.at, bytes, size) != 0) mix_panic("another value was written");
            free((void *)(uintptr_t)again.at);
        } else {
            answer = (int64_t)fault.offset;
        }
        fwrite(&answer, 8, 1, stdout);
        mix_text text = mix_clean((mix_text){bytes, size});
        if (mix_utf8_fault(text) != text.size) mix_panic("mix_clean left something");
        if (text.at != bytes) free((void *)(uintptr_t)text.at);
        free(bytes);
    }
    return 0;
}
