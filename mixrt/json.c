/* Built-ins for JSON, by the rules of the house: no repeated keys, no lone surrogates, at most 256 levels. */
#include "array.h"
#include "builtin.h"
#include "compare.h"
#include "intern.h"
#include "map.h"
#include "number.h"
#include "operator.h"

/* Where a value stands in the whole: of each level the key, or the index of an element. */
struct path {
    Value key[MAX_DEPTH + 1];
    uint32_t index[MAX_DEPTH + 1];
};

static struct path path;

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

static Value parse_value(struct parser *parser, unsigned depth);

static Value parse_array(struct parser *parser, unsigned depth)
{
    struct array_builder builder;
    builder_open(&builder, parser->vm);
    parser->at++;
    skip_space(parser);
    if (take(parser, "]"))
        return builder_close(&builder);
    for (;;) {
        Value element = parse_value(parser, depth + 1);
        if (element == FAILED || !builder_push(&builder, element))
            return FAILED;
        skip_space(parser);
        if (take(parser, "]"))
            return builder_close(&builder);
        if (!take(parser, ","))
            return wrong(parser, "expected , or ] in an array");
    }
}

static Value parse_map(struct parser *parser, unsigned depth)
{
    Value map = map_empty(parser->vm);
    parser->at++;
    skip_space(parser);
    if (map == FAILED || take(parser, "}"))
        return map;
    for (uint32_t count = 1;; count++) {
        skip_space(parser);
        if (peek(parser) != '"')
            return wrong(parser, "expected a key in quotes");
        size_t start = parser->at;
        Value key = parse_string(parser, true);
        if (key == FAILED)
            return FAILED;
        skip_space(parser);
        if (!take(parser, ":"))
            return wrong(parser, "expected : after a key");
        Value value = parse_value(parser, depth + 1);
        map = value == FAILED ? FAILED : map_set(parser->vm, map, key, value);
        if (map == FAILED)
            return FAILED;
        if (map_count(map) != count) {
            parser->at = start;
            return wrong(parser, "a key that is there already");
        }
        skip_space(parser);
        if (take(parser, "}"))
            return map;
        if (!take(parser, ","))
            return wrong(parser, "expected , or } in an object");
    }
}

static Value parse_value(struct parser *parser, unsigned depth)
{
    if (depth > MAX_DEPTH)
        return wrong(parser, "nesting above 256");
    skip_space(parser);
    switch (peek(parser)) {
    case '{': return parse_map(parser, depth);
    case '[': return parse_array(parser, depth);
    case '"': return parse_string(parser, false);
    case 't': return take(parser, "true") ? TRUE : wrong(parser, "expected a value");
    case 'f': return take(parser, "false") ? FALSE : wrong(parser, "expected a value");
    case 'n': return take(parser, "null") ? NIL : wrong(parser, "expected a value");
    default: return parse_number(parser);
    }
}

Value builtin_json_parse(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[0]);
    struct parser parser = {.vm = vm, .text = text->bytes, .size = text->head.count};
    Value value = parse_value(&parser, 0);
    if (value != FAILED) {
        skip_space(&parser);
        if (parser.at != parser.size)
            value = wrong(&parser, "expected the end");
    }
    buffer_free(vm, &parser.letters);
    charge(vm, parser.size / 4);
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

struct writer {
    struct vm *vm;
    struct buffer out;
};

static bool put(struct writer *writer, const char *bytes, size_t size)
{
    if (size == 0)
        return true;
    if (writer->out.size + size > MAX_TEXT) {
        writer->vm->fault = FAULT_MEMORY;
        return false;
    }
    if (!buffer_room(writer->vm, &writer->out, size))
        return false;
    memcpy(writer->out.bytes + writer->out.size, bytes, size);
    writer->out.size += size;
    return true;
}

static bool put_string(struct writer *writer, const struct text *text)
{
    const char *bytes = text->bytes;
    size_t size = text->head.count, start = 0;
    if (!put(writer, "\"", 1))
        return false;
    for (size_t at = 0; at < size; at++) {
        uint8_t c = (uint8_t)bytes[at];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escape[6] = {'\\', (char)c};
        size_t length = 2;
        switch (c) {
        case '"':
        case '\\': break;
        case '\n': escape[1] = 'n'; break;
        case '\r': escape[1] = 'r'; break;
        case '\t': escape[1] = 't'; break;
        case '\b': escape[1] = 'b'; break;
        case '\f': escape[1] = 'f'; break;
        default:
            memcpy(escape, "\\u00", 4);
            escape[4] = "0123456789abcdef"[c >> 4];
            escape[5] = "0123456789abcdef"[c & 15];
            length = 6;
            break;
        }
        if (!put(writer, bytes + start, at - start) || !put(writer, escape, length))
            return false;
        start = at + 1;
    }
    return put(writer, bytes + start, size - start) && put(writer, "\"", 1);
}

/* Raises what JSON has not, with the path to it. */
static bool not_in_json(struct writer *writer, Value value, unsigned depth)
{
    struct buffer where = {0};
    struct writer name = {.vm = writer->vm, .out = where};
    bool done = put(&name, "$", 1);
    for (unsigned level = 0; done && level < depth; level++) {
        char digits[NUMBER_TEXT];
        if (path.key[level] == UNDEF)
            done = put(&name, "[", 1) && put(&name, digits, number_of_int(path.index[level], digits)) && put(&name, "]", 1);
        else
            done = put(&name, ".", 1) && put(&name, text_of(path.key[level])->bytes, text_of(path.key[level])->head.count);
    }
    Value text = done ? text_new(writer->vm, STRING, name.out.bytes, name.out.size) : FAILED;
    buffer_free(writer->vm, &name.out);
    if (text != FAILED) {
        const char *what = is_double(value) ? "a number that is not finite" : kind_name(kind_of(value));
        raise_text(writer->vm, "json_format: expected what JSON has, found %s at %t", what, text);
    }
    return false;
}

/* A large whole number is marked as a float, or it would be read back as another int. */
static bool put_double(struct writer *writer, double number)
{
    char digits[NUMBER_TEXT];
    size_t size = number_of_double(number, digits);
    bool large = number >= 9007199254740992.0 || number <= -9007199254740992.0;
    for (size_t index = 0; index < size; index++)
        large = large && digits[index] != 'e';
    return put(writer, digits, size) && (!large || put(writer, ".0", 2));
}

static bool put_value(struct writer *writer, Value value, unsigned depth)
{
    char digits[NUMBER_TEXT];
    if (depth > MAX_DEPTH) {
        raise_text(writer->vm, "json_format: expected a value of at most 256 levels, found more");
        return false;
    }
    switch (kind_of(value)) {
    case KIND_NULL: return put(writer, "null", 4);
    case KIND_BOOL: return value == TRUE ? put(writer, "true", 4) : put(writer, "false", 5);
    case KIND_INT: return put(writer, digits, number_of_int(int_of(value), digits));
    case KIND_NUMBER:
        if (double_of(value) - double_of(value) != 0)
            return not_in_json(writer, value, depth);
        return put_double(writer, double_of(value));
    case KIND_STRING: {
        struct text *text = text_flat(writer->vm, value);
        return text != NULL && put_string(writer, text);
    }
    case KIND_ARRAY: {
        uint32_t count = array_count(value);
        if (!put(writer, "[", 1))
            return false;
        for (uint32_t index = 0; index < count; index++) {
            path.key[depth] = UNDEF;
            path.index[depth] = index;
            if ((index > 0 && !put(writer, ",", 1)) || !put_value(writer, array_get(value, index), depth + 1))
                return false;
        }
        return put(writer, "]", 1);
    }
    case KIND_MAP: {
        struct map_cursor cursor;
        Value key, item;
        bool first = true;
        cursor_open(&cursor, value);
        if (!put(writer, "{", 1))
            return false;
        while (cursor_next(&cursor, &key, &item)) {
            path.key[depth] = key;
            if ((!first && !put(writer, ",", 1)) || !put_string(writer, text_of(key)) || !put(writer, ":", 1) ||
                !put_value(writer, item, depth + 1))
                return false;
            first = false;
        }
        return put(writer, "}", 1);
    }
    default: return not_in_json(writer, value, depth);
    }
}

Value builtin_json_format(struct vm *vm, const Value *arguments)
{
    struct writer writer = {.vm = vm};
    Value result = FAILED;
    if (put_value(&writer, arguments[0], 0))
        result = text_new(vm, STRING, writer.out.bytes, writer.out.size);
    charge(vm, writer.out.size / 4);
    buffer_free(vm, &writer.out);
    return result;
}
