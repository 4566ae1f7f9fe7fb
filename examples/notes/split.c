#include "split.h"

#include <stdlib.h>

static int compare(const void *left, const void *right) {
    return mix_text_order(*(const mix_text *)left, *(const mix_text *)right);
}

void sort_texts(mix_text *at, size_t count) { qsort(at, count, sizeof *at, compare); }

static bool part_of_word(unsigned char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte >= 0x80;
}

words split(mix_text text) {
    words found = {mix_take((text.size / 2 + 1) * sizeof(mix_text)), 0};
    char *lower = mix_take(text.size);
    for (size_t i = 0; i < text.size; i++) {
        bool upper = text.at[i] >= 'A' && text.at[i] <= 'Z';
        lower[i] = (char)(upper ? text.at[i] + 32 : text.at[i]);
    }
    for (size_t start = 0, end; start < text.size; start = end + 1) {
        for (end = start; end < text.size && part_of_word((unsigned char)lower[end]);) end++;
        if (end > start && end - start <= MOST_WORD) found.at[found.count++] = (mix_text){lower + start, end - start};
    }
    sort_texts(found.at, found.count);
    size_t kept = 0;
    for (size_t i = 0; i < found.count; i++)
        if (kept == 0 || mix_text_order(found.at[kept - 1], found.at[i]) != 0) found.at[kept++] = found.at[i];
    found.count = kept;
    return found;
}
