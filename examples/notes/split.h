/* split.h: the words of a text. */
#ifndef SPLIT_H
#define SPLIT_H

#include "mix.h"

#define MOST_WORD 64 /* bytes of a word; longer ones are left out */

typedef struct {
    mix_text *at;
    size_t count;
} words;

/* The different words in the order of their bytes. A word is a run of ASCII letters and digits and of anything
 * beyond ASCII, with ASCII letters in lower case. */
words split(mix_text text);

void sort_texts(mix_text *at, size_t count);

#endif
