/* text.c: texts and UTF-8. */
#include <string.h>

#include "words.h"

mix_text mix_text_of(const char *string) { return (mix_text){string, strlen(string)}; }

bool mix_text_is(mix_text text, const char *string) {
    return text.at && text.size == strlen(string) && memcmp(text.at, string, text.size) == 0;
}

int mix_text_order(mix_text a, mix_text b) { return compare_texts(a, b); }

/* Length of the well-formed sequence at `at` (Unicode, table 3-7), or 0; `part` gets the length of the longest
 * start of one, which is what one U+FFFD stands for. */
static size_t sequence(const unsigned char *at, const unsigned char *end, size_t *part) {
    unsigned char first = *at, low = 0x80, high = 0xBF;
    size_t length;
    *part = 1;
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0;
    length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (first == 0xE0) low = 0xA0;  /* shorter forms exist below */
    if (first == 0xED) high = 0x9F; /* surrogates */
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F; /* above U+10FFFF */
    for (; *part < length; ++*part) {
        if (at + *part == end || at[*part] < low || at[*part] > high) return 0;
        low = 0x80, high = 0xBF;
    }
    return length;
}

size_t mix_utf8_fault(mix_text text) {
    const unsigned char *start = (const unsigned char *)text.at, *end = start + text.size, *at = start;
    while (at < end) {
        uint64_t eight[2];
        while (end - at >= 16 && (memcpy(eight, at, 16), ((eight[0] | eight[1]) & 0x8080808080808080u) == 0)) at += 16;
        if (at == end) break;
        size_t part, length = sequence(at, end, &part);
        if (length == 0) return (size_t)(at - start);
        at += length;
    }
    return text.size;
}

mix_text mix_clean(mix_text text) {
    if (mix_utf8_fault(text) == text.size) return text;
    if (text.size > SIZE_MAX / 3) mix_panic("mix_clean: the text is too long");
    /* The worst byte becomes the three of U+FFFD. */
    char *copy = mix_take(3 * text.size), *to = copy;
    const unsigned char *at = (const unsigned char *)text.at, *end = at + text.size;
    while (at < end) {
        size_t part, length = sequence(at, end, &part);
        if (length) {
            memcpy(to, at, length);
            to += length;
            at += length;
        } else {
            memcpy(to, "\xEF\xBF\xBD", 3);
            to += 3;
            at += part;
        }
    }
    return (mix_text){copy, (size_t)(to - copy)};
}
