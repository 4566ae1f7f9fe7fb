/* format.c: apart from the rest because it brings printf in, some ten KiB that many guests do without. */
#include <stdarg.h>
#include <stdio.h>

#include "mix.h"

mix_value mix_format(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    if (size < 0) mix_panic("mix_format: the text cannot be formatted");
    char *text = mix_take((size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    va_end(args);
    return mix_text_value((mix_text){text, (size_t)size});
}
