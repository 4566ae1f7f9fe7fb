/* Regular expressions: from a pattern to a program, whose threads all read the text once, side by side. So a search takes
 * time by the length of the text times that of the pattern, whatever either is.
 *
 *     x . [a-z] [^…] \d \w \s \D \W \S     characters; . is any but a line's end
 *     ^ $ \b \B                            start and end of the text (with (?m) of each line), borders of words
 *     (…) (?:…) | * + ? {n} {n,} {n,m}     groups, choices, repetitions (a ? behind one changes nothing: the longest match counts)
 *     \n \t \r \f \v \xHH \x{H…} \.        escapes
 *     (?i) (?m) (?im)                      at the start: case does not matter, lines count
 */
#ifndef MIXRT_REGEX_H
#define MIXRT_REGEX_H

#include "text.h"

#define MAX_PROGRAM 3000u
#define MAX_GROUPS 64u

enum step { STEP_CHAR, STEP_ANY, STEP_CLASS, STEP_BEGIN, STEP_END, STEP_WORD, STEP_NO_WORD, STEP_SAVE, STEP_SPLIT, STEP_JUMP, STEP_MATCH };

/* x, y: the character; first range and number of them; slot; targets. */
struct regex_step {
    uint8_t op, negated;
    uint16_t ranges;
    uint32_t x, y;
};

struct range {
    uint32_t first, last;
};

struct regex {
    struct regex_step step[MAX_PROGRAM];
    struct range range[MAX_PROGRAM];
    uint32_t count, ranges, groups;
    bool fold, lines;
    const char *wrong; /* NULL, or what is wrong with the pattern */
    size_t at;         /* and where, in bytes */
};

/* Compiles a pattern, with so much room to work in; false if it is wrong. */
extern const size_t regex_room;
bool regex_compile(struct regex *regex, const char *pattern, size_t size, void *room);
/* Whether a character is what a step takes. */
bool regex_takes(const struct regex *regex, const struct regex_step *step, uint32_t code);

/* The simple case folding of a character. */
uint32_t letter_fold(uint32_t code);
uint32_t letter_upper(uint32_t code);
uint32_t letter_lower(uint32_t code);

#endif
