/* Built-ins for JSON, by the rules of the house: no repeated keys, no lone surrogates, at most 256 levels. */
#include "array.h"
#include "builtin.h"
#include "compare.h"
#include "intern.h"
#include "made.h"
#include "map.h"
#include "number.h"
#include "operator.h"
#include "work.h"

struct parser {
    struct vm *vm;
    const char *text;
    size_t size, at;
    struct buffer letters; /* of the string that is being read */
    bool wrong;            /* the text is no JSON: what is raised is the answer */
};

static Value wrong(struct parser *parser, const char *what)
{
    parser->wrong = true;
    return raise_text(parser->vm, "byte %d: %s", (int64_t)parser->at, what);
}

static void skip_space(struct parser *parser)
{
    while (parser->at < parser->size) {
        char c = parser->text[parser->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return;
        parser->at++;
    }
}

static char peek(const struct parser *parser) { return parser->at < parser->size ? parser->text[parser->at] : 0; }

static bool take(struct parser *parser, const char *word)
{
    size_t size = 0;
    while (word[size] != 0)
        size++;
    if (parser->size - parser->at < size || memcmp(parser->text + parser->at, word, size) != 0)
        return false;
    parser->at += size;
    return true;
}

static bool put_letters(struct parser *parser, const char *bytes, size_t size)
{
    struct buffer *letters = &parser->letters;
    if (size == 0)
        return true;
    if (!buffer_room(parser->vm, letters, size))
        return false;
    memcpy(letters->bytes + letters->size, bytes, size);
    letters->size += size;
    return true;
}

/* Four hexadecimal digits; -1 if they are none. */
static int32_t four_digits(struct parser *parser)
{
    int32_t code = 0;
    if (parser->size - parser->at < 4)
        return -1;
    for (unsigned index = 0; index < 4; index++) {
        char c = parser->text[parser->at + index];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    parser->at += 4;
    return code;
}

static bool put_escape(struct parser *parser)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = peek(parser), bytes[4];
    parser->at++;
    for (unsigned index = 0; index < sizeof from - 1; index++)
        if (c == from[index])
            return put_letters(parser, to + index, 1);
    int32_t code = c == 'u' ? four_digits(parser) : -1;
    if (code < 0) {
        parser->at--;
        wrong(parser, "unknown escape in a string");
        return false;
    }
    if (code >= 0xD800 && code < 0xDC00 && take(parser, "\\u")) {
        int32_t low = four_digits(parser);
        code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : 0xD800;
    }
    if (code >= 0xD800 && code < 0xE000) {
        wrong(parser, "a lone surrogate in a string");
        return false;
    }
    return put_letters(parser, bytes, utf8_encode((uint32_t)code, bytes));
}

static Value parse_string(struct parser *parser, bool is_key)
{
    size_t start = ++parser->at;
    parser->letters.size = 0;
    bool escaped = false;
    for (;;) {
        if (parser->at >= parser->size)
            return wrong(parser, "a string that does not end");
        char c = parser->text[parser->at];
        if (c == '"')
            break;
        if ((uint8_t)c < 0x20)
            return wrong(parser, "a control character in a string");
        parser->at++;
        if (c != '\\')
            continue;
        if (!put_letters(parser, parser->text + start, parser->at - 1 - start) || !put_escape(parser))
            return FAILED;
        escaped = true;
        start = parser->at;
    }
    size_t end = parser->at++;
    if (!escaped && is_key) {
        Value known = intern(parser->vm, parser->text + start, end - start);
        if (known != UNDEF)
            return known;
    }
    if (!escaped)
        return text_new(parser->vm, STRING, parser->text + start, end - start);
    if (!put_letters(parser, parser->text + start, end - start))
        return FAILED;
    return text_new(parser->vm, STRING, parser->letters.size == 0 ? "" : parser->letters.bytes, parser->letters.size);
}

static size_t digits(struct parser *parser)
{
    size_t start = parser->at;
    while (peek(parser) >= '0' && peek(parser) <= '9')
        parser->at++;
    return parser->at - start;
}

static Value parse_number(struct parser *parser)
{
    size_t start = parser->at;
    if (peek(parser) == '-')
        parser->at++;
    char first = peek(parser);
    size_t whole = digits(parser);
    bool good = whole == 1 || (whole > 1 && first != '0');
    if (good && peek(parser) == '.') {
        parser->at++;
        good = digits(parser) > 0;
    }
    if (good && (peek(parser) | 0x20) == 'e') {
        parser->at++;
        if (peek(parser) == '+' || peek(parser) == '-')
            parser->at++;
        good = digits(parser) > 0;
    }
    int64_t integer;
    double number;
    if (!good)
        return wrong(parser, "expected a value");
    if (number_parse(parser->text + start, parser->at - start, &integer, &number) == IS_INT)
        return value_of_int(parser->vm, integer);
    if (number - number != 0)
        return wrong(parser, "a number beyond a double");
    return of_double(number);
}

/* An array or a map that is being read. */
struct level {
    bool list;
    Value made, key; /* of a map */
    size_t start;    /* of the key */
    struct array_builder builder;
};

static struct level levels[MAX_DEPTH + 1];

static bool parse_key(struct parser *parser, struct level *level)
{
    skip_space(parser);
    if (peek(parser) != '"') {
        wrong(parser, "expected a key in quotes");
        return false;
    }
    level->start = parser->at;
    level->key = parse_string(parser, true);
    if (level->key == FAILED)
        return false;
    skip_space(parser);
    if (take(parser, ":"))
        return true;
    wrong(parser, "expected : after a key");
    return false;
}

static bool level_add(struct parser *parser, struct level *level, Value value)
{
    struct vm *vm = parser->vm;
    if (level->list)
        return builder_push(&level->builder, value);
    Value made = map_set(vm, level->made, level->key, value);
    if (made == FAILED)
        return false;
    if (map_count(made) == map_count(level->made)) {
        parser->at = level->start;
        wrong(parser, "a key that is there already");
        return false;
    }
    level->made = made;
    return true;
}

static Value level_made(struct level *level) { return level->list ? builder_close(&level->builder) : level->made; }

/* Where the budget is used up, what is kept: the byte, then of each level its four values. */
enum { LEVEL_LIST, LEVEL_MADE, LEVEL_KEY, LEVEL_START, LEVEL_SIZE };

static Value parse_keep(struct parser *parser, unsigned depth)
{
    static Value kept[1 + (MAX_DEPTH + 1) * LEVEL_SIZE];
    kept[0] = of_small((int64_t)parser->at);
    for (unsigned index = 0; index < depth; index++) {
        Value *to = kept + 1 + index * LEVEL_SIZE;
        to[LEVEL_LIST] = of_bool(levels[index].list);
        to[LEVEL_MADE] = levels[index].list ? builder_keep(&levels[index].builder) : levels[index].made;
        to[LEVEL_KEY] = levels[index].list ? UNDEF : levels[index].key;
        to[LEVEL_START] = of_small((int64_t)levels[index].start);
        if (to[LEVEL_MADE] == FAILED)
            return FAILED;
    }
    Value work = made_values(parser->vm, SLOTS, 1 + depth * LEVEL_SIZE, kept);
    if (work == FAILED)
        return FAILED;
    parser->vm->work = work;
    return failed(parser->vm, FAULT_AGAIN);
}

/* How many levels are open in what was kept. */
static unsigned parse_resume(struct parser *parser)
{
    const struct values *kept = values_of(parser->vm->work);
    unsigned depth = (kept->head.count - 1) / LEVEL_SIZE;
    parser->at = (size_t)small_of(kept->at[0]);
    for (unsigned index = 0; index < depth; index++) {
        const Value *from = kept->at + 1 + index * LEVEL_SIZE;
        levels[index].list = from[LEVEL_LIST] == TRUE;
        if (levels[index].list)
            builder_go_on(&levels[index].builder, parser->vm, from[LEVEL_MADE]);
        else
            levels[index].made = from[LEVEL_MADE];
        levels[index].key = from[LEVEL_KEY];
        levels[index].start = (size_t)small_of(from[LEVEL_START]);
    }
    return depth;
}

/* A value that has no others in it. */
static Value parse_simple(struct parser *parser)
{
    switch (peek(parser)) {
    case '"': return parse_string(parser, false);
    case 't': return take(parser, "true") ? TRUE : wrong(parser, "expected a value");
    case 'f': return take(parser, "false") ? FALSE : wrong(parser, "expected a value");
    case 'n': return take(parser, "null") ? NIL : wrong(parser, "expected a value");
    default: return parse_number(parser);
    }
}

/* Begins an array or a map: true if it is open, else *value is what it was: empty, or FAILED. */
static bool parse_open(struct parser *parser, struct level *level, Value *value)
{
    level->list = peek(parser) == '[';
    level->start = 0;
    level->made = level->list ? UNDEF : map_empty(parser->vm);
    builder_open(&level->builder, parser->vm);
    parser->at++;
    skip_space(parser);
    if (level->made == FAILED || take(parser, level->list ? "]" : "}")) {
        *value = level_made(level);
        return false;
    }
    *value = FAILED;
    return level->list || parse_key(parser, level);
}

static Value parse_value(struct parser *parser)
{
    struct vm *vm = parser->vm;
    unsigned depth = vm->work == UNDEF ? 0 : parse_resume(parser);
    for (;;) {
        size_t before = parser->at;
        Value value;
        if (depth > MAX_DEPTH)
            return wrong(parser, "nesting above 256");
        skip_space(parser);
        if (peek(parser) != '[' && peek(parser) != '{') {
            value = parse_simple(parser);
        } else if (parse_open(parser, &levels[depth], &value)) {
            depth++;
            continue;
        }
        if (value == FAILED)
            return FAILED;
        for (; depth > 0; depth--) {
            struct level *level = &levels[depth - 1];
            if (!level_add(parser, level, value))
                return FAILED;
            skip_space(parser);
            if (take(parser, ",")) {
                if (!level->list && !parse_key(parser, level))
                    return FAILED;
                break;
            }
            if (!take(parser, level->list ? "]" : "}"))
                return wrong(parser, level->list ? "expected , or ] in an array" : "expected , or } in an object");
            value = level_made(level);
            if (value == FAILED)
                return FAILED;
        }
        charge(vm, (parser->at - before) / 4);
        if (depth == 0)
            return value;
        if (vm->fuel < 0)
            return parse_keep(parser, depth);
    }
}

Value builtin_json_parse(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    struct parser parser = {.vm = vm, .text = text->bytes, .size = text->head.count};
    Value value = parse_value(&parser);
    if (value != FAILED) {
        skip_space(&parser);
        if (parser.at != parser.size)
            value = wrong(&parser, "expected the end");
    }
    buffer_free(vm, &parser.letters);
    bool good = value != FAILED;
    if (!good && (!parser.wrong || vm->fault != FAULT_RAISED))
        return FAILED;
    struct tagged *answer = heap_new(vm, CASE, sizeof(struct tagged));
    if (answer == NULL)
        return FAILED;
    answer->name = good ? vm->ok_name : vm->error_name;
    answer->argument = good ? value : vm->raised;
    vm->raised = UNDEF;
    vm->fault = FAULT_NONE;
    return of_object(answer);
}

/* What is being written. When the budget is used up it stays, and the same value is gone on with where it was left. */
static struct writer {
    struct vm *vm;
    Value whole;
    unsigned left; /* so many levels were being written */
    /* Of each level, from the outside in: the index of the part that is being written, where the parts of a map are its keys and
     * values in turn; of a string the byte. */
    uint32_t at[MAX_DEPTH + 2];
} writer;

static bool put(const char *bytes, size_t size) { return work_write(writer.vm, bytes, size); }

enum start { FRESH, BEFORE, INSIDE };

/* How a level is begun: as a fresh one, before the part writer.at[depth], or inside of that. */
static enum start start_at(unsigned depth)
{
    if (writer.left <= depth) {
        writer.at[depth] = 0;
        return FRESH;
    }
    if (writer.left > depth + 1)
        return INSIDE;
    writer.left = 0;
    return BEFORE;
}

/* Before a part: false if the budget is used up, and the level is left there. */
static bool goes_to(unsigned depth, size_t index)
{
    writer.at[depth] = (uint32_t)index;
    if (writer.vm->fuel >= 0)
        return true;
    writer.left = depth + 1;
    writer.vm->fault = FAULT_AGAIN;
    return false;
}

static bool put_escape_of(uint8_t c)
{
    static const char escaped[] = "\"\\\n\r\t\b\f", names[] = "\"\\nrtbf";
    for (unsigned index = 0; index < sizeof escaped - 1; index++)
        if (c == (uint8_t)escaped[index])
            return put((char[]){'\\', names[index]}, 2);
    return put((char[]){'\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]}, 6);
}

static bool put_letters_of(const char *bytes, size_t size)
{
    size_t start = 0;
    charge(writer.vm, size / 4);
    for (size_t at = 0; at < size; at++) {
        uint8_t c = (uint8_t)bytes[at];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        if (!put(bytes + start, at - start) || !put_escape_of(c))
            return false;
        charge(writer.vm, 2);
        start = at + 1;
    }
    return put(bytes + start, size - start);
}

#define AT_ONCE 4096 /* bytes of a string */

static bool put_string(const struct text *text, unsigned depth)
{
    size_t size = text->head.count;
    if (start_at(depth) == FRESH && !put("\"", 1))
        return false;
    for (size_t at = writer.at[depth]; at < size;) {
        size_t part = size - at < AT_ONCE ? size - at : AT_ONCE;
        if (!put_letters_of(text->bytes + at, part))
            return false;
        at += part;
        if (at < size && !goes_to(depth, at))
            return false;
    }
    return put("\"", 1);
}

/* Raises what JSON has not, with the path to it. */
static bool not_in_json(Value found, unsigned depth)
{
    char digits[NUMBER_TEXT];
    Value from = writer.whole;
    writer.vm->written.size = 0;
    bool done = put("$", 1);
    for (unsigned level = 0; done && level < depth; level++) {
        uint32_t index = writer.at[level];
        if (is_array(from)) {
            done = put("[", 1) && put(digits, number_of_int(index, digits)) && put("]", 1);
            from = array_get(from, index);
            continue;
        }
        struct map_cursor cursor;
        Value key = UNDEF;
        cursor_seek(&cursor, from, index / 2);
        cursor_next(&cursor, &key, &from);
        done = put(".", 1) && put(text_of(key)->bytes, text_of(key)->head.count);
    }
    Value text = done ? text_new(writer.vm, STRING, writer.vm->written.bytes, writer.vm->written.size) : FAILED;
    if (text != FAILED) {
        const char *what = is_double(found) ? "a number that is not finite" : kind_name(kind_of(found));
        raise_text(writer.vm, "json_format: expected what JSON has, found %s at %t", what, text);
    }
    return false;
}

/* A large whole number is marked as a float, or it would be read back as another int. */
static bool put_double(double number)
{
    char digits[NUMBER_TEXT];
    size_t size = number_of_double(number, digits);
    bool large = number >= 9007199254740992.0 || number <= -9007199254740992.0;
    for (size_t index = 0; index < size; index++)
        large = large && digits[index] != 'e';
    return put(digits, size) && (!large || put(".0", 2));
}

static bool put_value(Value value, unsigned depth);

/* An array or a map. */
static bool put_parts(Value whole, unsigned depth)
{
    bool list = is_array(whole), is_key = false;
    uint32_t count = list ? array_count(whole) : map_count(whole) * 2;
    enum start start = start_at(depth);
    uint32_t index = writer.at[depth];
    struct map_cursor cursor;
    Value key = UNDEF, item = UNDEF;
    if (!list)
        cursor_seek(&cursor, whole, index / 2);
    if (!list && index % 2 != 0)
        cursor_next(&cursor, &key, &item);
    if (start == FRESH && !put(list ? "[" : "{", 1))
        return false;
    for (; index < count; index++) {
        if (!list) {
            is_key = index % 2 == 0;
            if (is_key)
                cursor_next(&cursor, &key, &item);
        }
        if (start != INSIDE && index > 0 && !put(list || is_key ? "," : ":", 1))
            return false;
        start = BEFORE;
        writer.at[depth] = index;
        if (!put_value(list ? array_get(whole, index) : is_key ? key : item, depth + 1))
            return false;
        charge(writer.vm, 2);
        if (!goes_to(depth, index + 1))
            return false;
    }
    return put(list ? "]" : "}", 1);
}

static bool put_value(Value value, unsigned depth)
{
    char digits[NUMBER_TEXT];
    if (depth > MAX_DEPTH) {
        raise_text(writer.vm, "json_format: expected a value of at most 256 levels, found more");
        return false;
    }
    switch (kind_of(value)) {
    case KIND_NULL: return put("null", 4);
    case KIND_BOOL: return value == TRUE ? put("true", 4) : put("false", 5);
    case KIND_INT: return put(digits, number_of_int(int_of(value), digits));
    case KIND_NUMBER:
        if (double_of(value) - double_of(value) != 0)
            return not_in_json(value, depth);
        return put_double(double_of(value));
    case KIND_STRING: {
        struct text *text = text_flat(writer.vm, value);
        return text != NULL && put_string(text, depth);
    }
    case KIND_ARRAY:
    case KIND_MAP: return put_parts(value, depth);
    default: return not_in_json(value, depth);
    }
}

Value builtin_json_format(struct vm *vm, const Value *arguments)
{
    writer.vm = vm;
    writer.whole = arguments[0];
    if (vm->work == UNDEF) {
        writer.left = 0;
        vm->written.size = 0;
    }
    vm->work = TRUE;
    return work_written(vm, STRING, put_value(arguments[0], 0));
}
