/* textstats: counts in a text of some megabytes. Pure computing; it asks for no host function but randomness. */
#include <string.h>

#include "mix.h"

MIX_MANIFEST({
    "version": 1,
    "name": "textstats",
    "description": "Counts lines, words and characters of a text",
    "entries": {
        "stats": {
            "description": "Counts of a text, and its most frequent words. A word is a run of letters and digits, with ASCII letters in lower case.",
            "inParams": {"text": "string", "top?": "int"},
            "outParams": {
                "bytes": "int",
                "codePoints": "int",
                "lines": "int",
                "words": "int",
                "distinctWords": "int",
                "averageWordLength": "number",
                "longestLine": "{number: int, codePoints: int, start: string}",
                "top": "array({word: string, count: int})"
            }
        }
    },
    "grants": {"ffis": []}
})

#define DEFAULT_TOP 10
#define MOST_TOP 1000
#define LINE_SHOWN 80 /* code points of the longest line in the answer */

/* ---- Characters -------------------------------------------------------------------------------------------- */

static size_t code_points(const char *at, size_t size) {
    size_t count = 0;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t eight;
        memcpy(&eight, at, 8);
        /* A continuation byte has its top bit set and the next one not; every other byte begins a code point. */
        count += 8 - (size_t)__builtin_popcountll(eight & ~(eight << 1) & 0x8080808080808080u);
    }
    for (; size > 0; at++, size--) count += (*at & 0xC0) != 0x80;
    return count;
}

/* Length of the part of the text with at most that many code points. */
static size_t prefix(mix_text text, size_t points) {
    size_t at = 0;
    while (at < text.size && points-- > 0)
        do at++;
        while (at < text.size && (text.at[at] & 0xC0) == 0x80);
    return at;
}

static unsigned char folded[256]; /* in lower case, or 0 where a byte separates words */
static uint64_t noise[256];       /* of the folded byte, for the hash; 0 where it separates words or may do so */
static uint64_t multiplier;

/* The hash is seeded, so that nobody can write a text whose words all meet in one place of the table. */
static void prepare(void) {
    uint64_t seeds[256];
    mix_random(seeds, sizeof seeds);
    multiplier = seeds[0] | 1;
    for (int byte = 1; byte < 256; byte++) {
        bool upper = byte >= 'A' && byte <= 'Z', lower = byte >= 'a' && byte <= 'z';
        bool digit = byte >= '0' && byte <= '9';
        bool word = upper || lower || digit || byte >= 0x80;
        folded[byte] = (unsigned char)(!word ? 0 : upper ? byte + 32 : byte);
    }
    for (int byte = 1; byte < 256; byte++) noise[byte] = folded[byte] ? seeds[folded[byte]] | 1 : 0;
    noise[0xC2] = noise[0xE2] = noise[0xE3] = 0;
}

/* Length of the space or punctuation at `at` beyond ASCII, 0 if it is a letter: U+00A0, U+2000 to U+206F,
 * U+3000 to U+303F. All other characters beyond ASCII count as letters. */
static size_t wide_separator(const unsigned char *at, size_t left) {
    if (left >= 2 && at[0] == 0xC2 && at[1] == 0xA0) return 2;
    if (left < 3 || at[0] < 0xE2 || at[0] > 0xE3) return 0;
    if (at[0] == 0xE3) return at[1] == 0x80 ? 3 : 0;
    return at[1] == 0x80 || (at[1] == 0x81 && at[2] <= 0xAF) ? 3 : 0;
}

/* ---- The table of words ------------------------------------------------------------------------------------ */

typedef struct {
    const unsigned char *at; /* where the word stands first; null in a free place */
    uint32_t hash, size, count;
} word;

typedef struct {
    word *places;
    size_t mask, used; /* a power of two less one; places taken */
} table;

static word *new_places(size_t count) {
    word *places = mix_take(count * sizeof *places);
    return memset(places, 0, count * sizeof *places);
}

static bool same_word(const word *known, const unsigned char *at, size_t size) {
    if (known->size != size) return false;
    for (size_t i = 0; i < size; i++)
        if (known->at[i] != at[i] && folded[known->at[i]] != folded[at[i]]) return false;
    return true;
}

static void enlarge(table *words) {
    size_t mask = 2 * words->mask + 1;
    word *places = new_places(mask + 1);
    for (size_t i = 0; i <= words->mask; i++) {
        if (words->places[i].at == NULL) continue;
        size_t place = words->places[i].hash & mask;
        while (places[place].at) place = (place + 1) & mask;
        places[place] = words->places[i];
    }
    words->places = places;
    words->mask = mask;
}

static void count_word(table *words, uint32_t hash, const unsigned char *at, size_t size) {
    size_t place = hash & words->mask;
    for (;; place = (place + 1) & words->mask) {
        word *found = &words->places[place];
        if (found->at == NULL) break;
        if (found->hash == hash && same_word(found, at, size)) {
            found->count++;
            return;
        }
    }
    words->places[place] = (word){at, hash, (uint32_t)size, 1};
    if (++words->used > words->mask / 2) enlarge(words);
}

typedef struct {
    size_t words, letters;
} totals;

static totals count_words(table *words, mix_text text) {
    const unsigned char *at = (const unsigned char *)text.at, *end = at + text.size;
    totals total = {0};
    while (at < end) {
        const unsigned char *start = at;
        uint64_t hash = 0;
        unsigned char seen = 0;
        for (; at < end; at++) {
            uint64_t change = noise[*at];
            if (change == 0) {
                if (folded[*at] == 0 || wide_separator(at, (size_t)(end - at))) break;
                change = *at;
            }
            hash = (hash ^ change) * multiplier;
            seen |= *at;
        }
        if (at > start) {
            size_t size = (size_t)(at - start);
            /* The high bits depend on all of the word; a product's low ones do not. */
            count_word(words, (uint32_t)(hash >> 32), start, size);
            total.words++;
            total.letters += seen < 0x80 ? size : code_points((const char *)start, size);
        }
        if (at < end) {
            size_t wide = wide_separator(at, (size_t)(end - at));
            at += wide ? wide : 1;
        }
    }
    return total;
}

/* ---- The most frequent ------------------------------------------------------------------------------------- */

/* Whether a stands before b in the answer: more frequent, or as frequent and smaller by its bytes. */
static bool before(const word *a, const word *b) {
    if (a->count != b->count) return a->count > b->count;
    size_t shorter = a->size < b->size ? a->size : b->size;
    for (size_t i = 0; i < shorter; i++)
        if (folded[a->at[i]] != folded[b->at[i]]) return folded[a->at[i]] < folded[b->at[i]];
    return a->size < b->size;
}

/* A heap with the last of the best at its root. */
static void sift(const word **heap, size_t root, size_t count) {
    const word *moved = heap[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && before(heap[child], heap[child + 1])) child++;
        if (!before(moved, heap[child])) break;
        heap[root] = heap[child];
    }
    heap[root] = moved;
}

/* The best words in order, at most `most`; answers how many. */
static size_t best_words(const table *words, const word **best, size_t most) {
    size_t count = 0;
    for (size_t i = 0; i <= words->mask; i++) {
        const word *next = &words->places[i];
        if (next->at == NULL || most == 0) continue;
        if (count < most) {
            best[count++] = next;
            if (count == most)
                for (size_t root = count / 2; root-- > 0;) sift(best, root, count);
        } else if (before(next, best[0])) {
            best[0] = next;
            sift(best, 0, count);
        }
    }
    if (count < most)
        for (size_t root = count / 2; root-- > 0;) sift(best, root, count);
    for (size_t last = count; last-- > 1;) {
        const word *worst = best[0];
        best[0] = best[last];
        best[last] = worst;
        sift(best, 0, last);
    }
    return count;
}

static void put_word(mix_out *out, const word *word) {
    char *text = mix_take(word->size);
    for (size_t i = 0; i < word->size; i++) text[i] = (char)folded[word->at[i]];
    mix_put_map(out);
    mix_key(out, "word"), mix_put_text(out, (mix_text){text, word->size});
    mix_key(out, "count"), mix_put_int(out, word->count);
    mix_end(out);
}

/* ---- Lines ------------------------------------------------------------------------------------------------- */

typedef struct {
    size_t count, longest_number, longest_points;
    mix_text longest;
} lines;

/* The next line feed, or `end`. */
static const char *line_end(const char *at, const char *end) {
    for (; end - at >= 8; at += 8) {
        uint64_t eight, zero_where_found;
        memcpy(&eight, at, 8);
        zero_where_found = eight ^ 0x0A0A0A0A0A0A0A0Au;
        if ((zero_where_found - 0x0101010101010101u) & ~zero_where_found & 0x8080808080808080u) break;
    }
    while (at < end && *at != '\n') at++;
    return at;
}

static lines count_lines(mix_text text) {
    lines found = {.longest = {text.at, 0}};
    const char *at = text.at, *end = at + text.size;
    while (at < end) {
        const char *stop = line_end(at, end);
        mix_text line = {at, (size_t)(stop - at)};
        if (line.size && line.at[line.size - 1] == '\r') line.size--;
        found.count++;
        /* A line has at least as many bytes as code points, so most need no counting. */
        if (line.size > found.longest_points || found.count == 1) {
            size_t points = code_points(line.at, line.size);
            if (points > found.longest_points || found.count == 1) {
                found.longest = line;
                found.longest_points = points;
                found.longest_number = found.count;
            }
        }
        at = stop < end ? stop + 1 : end;
    }
    return found;
}

static mix_value stats(mix_value params) {
    mix_text text = mix_as_text(mix_need(params, "text", MIX_STRING));
    int64_t top = mix_as_int(mix_get(params, "top"), DEFAULT_TOP);
    if (top < 0 || top > MOST_TOP) mix_panic("top: expected 0 to 1000");

    prepare();
    table words = {.places = new_places(1024), .mask = 1023};
    lines lines = count_lines(text);
    totals total = count_words(&words, text);
    const word **best = mix_take((size_t)top * sizeof *best);
    size_t best_count = best_words(&words, best, (size_t)top);
    double average = total.words ? (double)total.letters / (double)total.words : 0;

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "bytes"), mix_put_int(&out, (int64_t)text.size);
    mix_key(&out, "codePoints"), mix_put_int(&out, (int64_t)code_points(text.at, text.size));
    mix_key(&out, "lines"), mix_put_int(&out, (int64_t)lines.count);
    mix_key(&out, "words"), mix_put_int(&out, (int64_t)total.words);
    mix_key(&out, "distinctWords"), mix_put_int(&out, (int64_t)words.used);
    mix_key(&out, "averageWordLength"), mix_put_number(&out, average);
    mix_key(&out, "longestLine"), mix_put_map(&out);
    mix_key(&out, "number"), mix_put_int(&out, (int64_t)lines.longest_number);
    mix_key(&out, "codePoints"), mix_put_int(&out, (int64_t)lines.longest_points);
    mix_key(&out, "start"), mix_put_text(&out, (mix_text){lines.longest.at, prefix(lines.longest, LINE_SHOWN)});
    mix_end(&out);
    mix_key(&out, "top"), mix_put_array(&out);
    for (size_t i = 0; i < best_count; i++) put_word(&out, best[i]);
    mix_end(&out);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("stats", stats)
