/* mix.h: what a guest of mixkit written in C compiles against.
 *
 * A guest is a Wasm module with entries. Each takes one value, its parameters, and answers one:
 *
 *     #include "mix.h"
 *
 *     MIX_MANIFEST({"version": 1, "entries": {"greet": {"inParams": {"name": "string"}, "outParams": "string"}}})
 *
 *     static mix_value greet(mix_value params) {
 *         mix_text name = mix_as_text(mix_need(params, "name", MIX_STRING));
 *         return mix_format("Good day, %.*s", (int)name.size, name.at);
 *     }
 *     MIX_ENTRY("greet", greet)
 *
 * What a guest cannot go on after (a parameter missing, memory used up) is a panic: it ends the run with a
 * message, so that nothing here answers an error code. What it can go on after is a value like any other.
 *
 * Everything that the library allocates lives until the call has been answered; see "Memory" for long calls.
 */
#ifndef MIX_H
#define MIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Values ------------------------------------------------------------------------------------------------ */

typedef enum {
    MIX_UNDEF,
    MIX_NULL,
    MIX_BOOL,
    MIX_INT,
    MIX_NUMBER,
    MIX_STRING,
    MIX_REF,
    MIX_BINARY,
    MIX_ARRAY,
    MIX_MAP,
    MIX_CASE,
    MIX_TOKEN,
} mix_kind;

/* A value: a place in a buffer that was checked when it arrived, or that this library wrote. Copied freely. */
typedef struct {
    const uint32_t *word;
} mix_value;

/* Bytes, UTF-8 where they are text; not closed by a zero byte. `at` is null where there is no text at all. */
typedef struct {
    const char *at;
    size_t size;
} mix_text;

#define MIX_TEXT(LITERAL) ((mix_text){"" LITERAL, sizeof(LITERAL) - 1})

mix_text mix_text_of(const char *string);
bool mix_text_is(mix_text text, const char *string);

/* Below, equal to or above 0 as `a` stands before, with or behind `b`, by their bytes: for UTF-8 that is the order of
 * the code points, which is that of the keys of a map. */
int mix_text_order(mix_text a, mix_text b);

/* ---- Reading ----------------------------------------------------------------------------------------------- */

mix_kind mix_kind_of(mix_value value);
const char *mix_kind_name(mix_kind kind);

/* The field of a map, or undefined when there is none or `map` is no map: chains of gets need no checks. */
mix_value mix_get(mix_value map, const char *key);
mix_value mix_get_text(mix_value map, mix_text key);

/* The field of a map, of that kind; a panic that names the key otherwise. A MIX_NUMBER may be an int, and a
 * MIX_INT a number without a fraction. */
mix_value mix_need(mix_value map, const char *key, mix_kind kind);

/* The item of an array, or undefined. It walks: loops use mix_each. */
mix_value mix_at(mix_value array, size_t index);

/* Items of an array, pairs of a map, 0 for everything else. */
size_t mix_count(mix_value value);

/* The content, or `fallback` when the value is of another kind. Ints and numbers stand for each other where
 * nothing is lost. */
bool mix_as_bool(mix_value value, bool fallback);
int64_t mix_as_int(mix_value value, int64_t fallback);
double mix_as_number(mix_value value, double fallback);

/* The bytes of a string, ref, binary or token, the name of a case; {NULL, 0} for everything else. */
mix_text mix_as_text(mix_value value);

/* What a case carries, or undefined. */
mix_value mix_case_arg(mix_value value);

/* The value in ok(value); a panic with the message of error(message). For FFIs that answer a result. */
mix_value mix_expect_ok(mix_value result);

/* for (mix_items each = mix_each(value); mix_next(&each);) … each.value, and each.key of a map. */
typedef struct {
    mix_value value;
    mix_text key;
    size_t index;       /* of this item, from 0 */
    const uint32_t *at; /* private from here on */
    size_t left;
    bool keyed;
} mix_items;

mix_items mix_each(mix_value value);
bool mix_next(mix_items *items);

/* ---- Writing ----------------------------------------------------------------------------------------------- */

/* Small values at once. Strings must be UTF-8 (see mix_clean). */
mix_value mix_null(void);
mix_value mix_bool(bool value);
mix_value mix_int(int64_t value);
mix_value mix_number(double value);
mix_value mix_string(const char *string);
mix_value mix_text_value(mix_text text);
mix_value mix_binary(const void *bytes, size_t size);
mix_value mix_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Larger ones piece by piece. Keys may come in any order, once each.
 *
 *     mix_out out = {0};
 *     mix_put_map(&out);
 *       mix_key(&out, "total"), mix_put_int(&out, 3);
 *       mix_key(&out, "names"), mix_put_array(&out);
 *         mix_put_string(&out, "a");
 *       mix_end(&out);
 *     mix_end(&out);
 *     return mix_done(&out);
 *
 * A misuse (a value without a key, the same key twice, an end too many) is a panic that says which. */
typedef struct {
    uint32_t *words; /* all private */
    size_t used, capacity;
    struct mix_frame *frames;
    size_t depth, frame_capacity;
    unsigned scope;
    bool complete;
} mix_out;

void mix_put_null(mix_out *out);
void mix_put_bool(mix_out *out, bool value);
void mix_put_int(mix_out *out, int64_t value);
void mix_put_number(mix_out *out, double value);
void mix_put_string(mix_out *out, const char *string);
void mix_put_text(mix_out *out, mix_text text);
void mix_put_ref(mix_out *out, mix_text id);
void mix_put_binary(mix_out *out, const void *bytes, size_t size);
void mix_put_value(mix_out *out, mix_value value);

void mix_put_array(mix_out *out);
void mix_put_map(mix_out *out);
void mix_put_case(mix_out *out, mix_text name); /* then nothing, or the one value that it carries */
void mix_key(mix_out *out, const char *key);
void mix_key_text(mix_out *out, mix_text key);
void mix_end(mix_out *out); /* of the innermost array, map or case */

/* The finished value. `out` is empty again and may be used for another one. */
mix_value mix_done(mix_out *out);

/* ---- Bytes from outside ------------------------------------------------------------------------------------ */

/* Index of the first byte that is not part of well-formed UTF-8, or `text.size` when all is well. */
size_t mix_utf8_fault(mix_text text);

/* The text itself if it is UTF-8, otherwise a copy with U+FFFD in place of what is not. */
mix_text mix_clean(mix_text text);

/* A value in the u32 codec, checked: anything but the one canonical form is refused, and nothing outside of
 * the buffer is read. `bytes` lie on a word boundary. On failure `fault` says what and at which word. */
typedef struct {
    const char *message;
    size_t offset;
} mix_fault;

bool mix_decode(const void *bytes, size_t size, mix_value *value, mix_fault *fault);

/* The codec words of the value, as they lie in memory. */
mix_text mix_encoded(mix_value value);

/* ---- The host ---------------------------------------------------------------------------------------------- */

/* Call a host function: mix_ffi("$http_do", request). The guest waits; the host answers one value. */
#define mix_ffi(NAME, ...)                                                                                  \
    mix_ffi_with(NAME, (const mix_value[]){__VA_ARGS__}, sizeof((const mix_value[]){__VA_ARGS__}) / sizeof(mix_value))
mix_value mix_ffi_with(const char *name, const mix_value *args, size_t count);

typedef enum { MIX_DEBUG, MIX_INFO, MIX_WARNING, MIX_ERROR } mix_level;

void mix_log(mix_level level, const char *message);
void mix_log_text(mix_level level, mix_text message);

/* End the run with this message. */
_Noreturn void mix_panic(const char *message);
_Noreturn void mix_panic_text(mix_text message);

double mix_now(void); /* seconds since 1970, UTC */
void mix_random(void *bytes, size_t size);

/* ---- Memory ------------------------------------------------------------------------------------------------ */

/* `size` bytes on an 8-byte boundary, not cleared, until the call is answered. Panics when memory is used up. */
void *mix_take(size_t size);

/* A longer block with the first `old_size` bytes of the old one; in place where possible. */
void *mix_extend(void *block, size_t old_size, size_t size);

/* What was allocated since mix_enter (answers of FFIs, values, blocks) is given back by mix_leave: for loops
 * that handle much data. A mix_out is written in the scope that it was begun in, or the guest panics. */
typedef struct {
    struct mix_chunk *chunk; /* all private */
    char *at;
    unsigned id, parent;
} mix_scope;

mix_scope mix_enter(void);
void mix_leave(mix_scope scope);

/* ---- Entries and manifest ---------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    mix_value (*function)(mix_value params);
} mix_entry;

/* Answer calls of the entry NAME with FUNCTION. Stands after the function, once for each entry. */
#define MIX_ENTRY(NAME, FUNCTION)                                                                           \
    __attribute__((used, retain, section("mix_entries"))) static const mix_entry mix_entry_of_##FUNCTION = { \
        NAME, FUNCTION};                                                                                    \
    __attribute__((export_name("mix_entry_" NAME))) uint64_t mix_entry_##FUNCTION(const void *args, size_t size) { \
        return mix_run(FUNCTION, args, size);                                                               \
    }
uint64_t mix_run(mix_value (*function)(mix_value), const void *args, size_t size);

/* Call FUNCTION(env) once, before any entry. What it allocates stays. */
#define MIX_INIT(FUNCTION)                                                                                  \
    __attribute__((export_name("mix_init"))) void mix_init(const void *env, size_t size) {                  \
        mix_run_init(FUNCTION, env, size);                                                                  \
    }
void mix_run_init(void (*function)(mix_value), const void *env, size_t size);

/* Call FUNCTION before the entry of every run, with 32 random bytes that are valid until it returns: to seed what must
 * not be the same in all runs, which start from one copy of the memory that init has left. A guest that has read a clock
 * or drawn random numbers in its init is otherwise initialised anew for every run, since it may have seeded itself. */
#define MIX_SEED_SIZE 32
#define MIX_RESUME(FUNCTION)                                                                                \
    __attribute__((export_name("mix_resume"))) void mix_resume(const void *seed) { mix_run_resume(FUNCTION, seed); }
void mix_run_resume(void (*function)(const unsigned char seed[MIX_SEED_SIZE]), const void *seed);

/* The manifest, as JSON, straight into the source. It becomes the custom section "mix.manifest". */
#define MIX_MANIFEST(...)                                                                                   \
    __asm__(".section .custom_section.mix.manifest,\"\",@\n.ascii " MIX_QUOTED(#__VA_ARGS__) "\n");
#define MIX_QUOTED(...) #__VA_ARGS__

#endif
