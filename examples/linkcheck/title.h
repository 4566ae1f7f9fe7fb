/* title.h: the title of an HTML page. */
#ifndef TITLE_H
#define TITLE_H

#include "mix.h"

#define MOST_TITLE 200 /* bytes that are kept */

typedef struct {
    char text[MOST_TITLE];
    size_t size; /* 0 where there is no title */
} title;

/* The text of the first <title>, with runs of white space as one space, and the entities that titles have
 * decoded. Looks at the first 64 KiB of the page. The bytes are the page's own, UTF-8 or not. */
title find_title(mix_text page);

#endif
