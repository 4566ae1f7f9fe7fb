/* title.c: see title.h. No HTML parser: a title holds no tags, so that finding its two ends is enough. */
#include "title.h"

#include <string.h>

#define SEARCHED (64 * 1024)
#define LONGEST_ENTITY 10 /* characters between & and ; */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool starts_with(const char *at, const char *end, const char *name) {
    for (; *name; at++, name++)
        if (at == end || lower(*at) != *name) return false;
    return true;
}

/* Where the tag or comment `name` begins, or null. */
static const char *find(const char *at, const char *end, const char *name) {
    for (; at < end; at++)
        if (*at == *name && starts_with(at, end, name)) return at;
    return NULL;
}

/* Where the text of the title begins, or null. What stands in a comment is none. */
static const char *title_start(const char *at, const char *end) {
    for (; at < end; at++) {
        if (*at != '<') continue;
        if (starts_with(at, end, "<!--")) {
            const char *close = find(at + 4, end, "-->");
            if (close == NULL) return NULL;
            at = close + 2;
        } else if (starts_with(at, end, "<title") && at + 6 < end && (is_space(at[6]) || at[6] == '>')) {
            const char *close = memchr(at, '>', (size_t)(end - at));
            return close ? close + 1 : NULL;
        }
    }
    return NULL;
}

static size_t put_utf8(char *to, uint32_t point) {
    if (point < 0x80) return to[0] = (char)point, 1;
    if (point < 0x800) return to[0] = (char)(0xC0 | point >> 6), to[1] = (char)(0x80 | (point & 63)), 2;
    if (point < 0x10000) {
        to[0] = (char)(0xE0 | point >> 12), to[1] = (char)(0x80 | (point >> 6 & 63));
        return to[2] = (char)(0x80 | (point & 63)), 3;
    }
    to[0] = (char)(0xF0 | point >> 18), to[1] = (char)(0x80 | (point >> 12 & 63));
    return to[2] = (char)(0x80 | (point >> 6 & 63)), to[3] = (char)(0x80 | (point & 63)), 4;
}

/* The code point of a reference like #39 or #x27; 0 if it is none. */
static uint32_t number_of(mix_text digits) {
    uint32_t base = 10, point = 0;
    size_t i = 1;
    if (digits.size > 1 && lower(digits.at[1]) == 'x') base = 16, i = 2;
    if (i == digits.size) return 0;
    for (; i < digits.size; i++) {
        char c = lower(digits.at[i]);
        uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10 : 99;
        if (digit >= base) return 0;
        point = point * base + digit;
        if (point > 0x10FFFF) return 0;
    }
    return point >= 0xD800 && point <= 0xDFFF ? 0 : point;
}

static uint32_t entity(mix_text name) {
    static const struct {
        const char *name;
        uint32_t point;
    } known[] = {{"amp", '&'},       {"lt", '<'},        {"gt", '>'},         {"quot", '"'},      {"apos", '\''},
                 {"nbsp", ' '},      {"copy", 0xA9},     {"reg", 0xAE},       {"laquo", 0xAB},    {"raquo", 0xBB},
                 {"middot", 0xB7},   {"ndash", 0x2013},  {"mdash", 0x2014},   {"lsquo", 0x2018},  {"rsquo", 0x2019},
                 {"ldquo", 0x201C},  {"rdquo", 0x201D},  {"bull", 0x2022},    {"hellip", 0x2026}};
    if (name.size && name.at[0] == '#') return number_of(name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (mix_text_is(name, known[i].name)) return known[i].point;
    return 0;
}

/* One character of the title, as bytes; moves behind it. */
static size_t next(const char **at, const char *end, char *bytes) {
    if (**at == '&') {
        size_t left = (size_t)(end - *at) - 1;
        const char *name = *at + 1;
        const char *close = memchr(name, ';', left < LONGEST_ENTITY + 1 ? left : LONGEST_ENTITY + 1);
        uint32_t point = close ? entity((mix_text){name, (size_t)(close - name)}) : 0;
        if (point) {
            *at = close + 1;
            return put_utf8(bytes, point);
        }
    }
    size_t size = 0;
    do bytes[size++] = *(*at)++;
    while (size < 4 && *at < end && (**at & 0xC0) == 0x80);
    return size;
}

title find_title(mix_text page) {
    title found = {.size = 0};
    const char *end = page.at + (page.size < SEARCHED ? page.size : SEARCHED);
    const char *at = title_start(page.at, end), *stop = at ? find(at, end, "</title") : NULL;
    if (stop == NULL) return found;
    bool gap = false;
    while (at < stop) {
        char bytes[4];
        size_t size = next(&at, stop, bytes);
        if (size == 1 && (is_space(bytes[0]) || bytes[0] == 0)) {
            gap = found.size > 0;
            continue;
        }
        if (found.size + gap + size > MOST_TITLE) break;
        if (gap) found.text[found.size++] = ' ';
        gap = false;
        memcpy(found.text + found.size, bytes, size);
        found.size += size;
    }
    return found;
}
