/* panic.c: the end of a run. It stands below all the others, which may need it. */
#include <stdarg.h>
#include <string.h>

#include "words.h"

IMPORT("panic") _Noreturn void host_panic(const char *message, size_t size);

_Noreturn void mix_panic_text(mix_text message) { host_panic(message.at, message.size); }
_Noreturn void mix_panic(const char *message) { host_panic(message, strlen(message)); }

_Noreturn void mix_panic_join(const char *first, ...) {
    static char message[512]; /* memory may be what is missing */
    size_t used = 0;
    va_list parts;
    va_start(parts, first);
    for (const char *part = first; part; part = va_arg(parts, const char *)) {
        size_t size = strnlen(part, sizeof message - used);
        memcpy(message + used, part, size);
        used += size;
    }
    host_panic(message, used);
}
