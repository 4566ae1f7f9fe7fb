/* Regular expressions: from a pattern to a program.
 *
 * The pattern is read into a tree of nodes, whose children are linked; the program is written from it, since a counted
 * repetition writes its child several times.
 */
#include "regex.h"

#define MAX_NODES 4000u
#define MAX_NESTING 100u
#define MAX_COUNT 1000u
#define MAX_ROW 4u
#define NO_NODE 0u
#define UNBOUNDED UINT32_MAX

enum node_kind { NODE_STEP, NODE_SEQUENCE, NODE_CHOICE, NODE_GROUP, NODE_REPEAT };

struct node {
    uint8_t kind;
    uint32_t next, child;      /* the next of the same parent, the first below */
    struct regex_step step;    /* NODE_STEP */
    uint32_t least, most;      /* NODE_REPEAT; least of a NODE_GROUP: its number, 0 if it has none */
};

struct reader {
    struct regex *regex;
    const char *text;
    size_t size, at;
    unsigned nesting;
};

/* The tree, while a pattern is compiled. */
static struct node *nodes;
static uint32_t node_count;

const size_t regex_room = MAX_NODES * sizeof(struct node);

static uint32_t wrong(struct reader *reader, const char *what)
{
    if (reader->regex->wrong == NULL) {
        reader->regex->wrong = what;
        reader->regex->at = reader->at;
    }
    return NO_NODE;
}

static uint32_t new_node(struct reader *reader, enum node_kind kind)
{
    if (node_count == MAX_NODES)
        return wrong(reader, "the pattern is too long");
    nodes[node_count] = (struct node){.kind = (uint8_t)kind};
    return node_count++;
}

static bool ended(const struct reader *reader) { return reader->at >= reader->size; }
static char peek(const struct reader *reader) { return ended(reader) ? 0 : reader->text[reader->at]; }

static bool take(struct reader *reader, char c)
{
    if (ended(reader) || reader->text[reader->at] != c)
        return false;
    reader->at++;
    return true;
}

static uint32_t take_character(struct reader *reader)
{
    uint32_t code = utf8_decode(reader->text + reader->at);
    reader->at += utf8_size((uint8_t)reader->text[reader->at]);
    return code;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* The character of an escape, behind its backslash. */
static uint32_t take_escape(struct reader *reader)
{
    static const char letters[] = "ntrfv0", meant[] = "\n\t\r\f\v\0";
    if (ended(reader)) {
        wrong(reader, "a backslash at the end");
        return 0;
    }
    char c = peek(reader);
    for (unsigned index = 0; index < sizeof letters - 1; index++)
        if (c == letters[index]) {
            reader->at++;
            return (uint8_t)meant[index];
        }
    if (c == 'x') {
        reader->at++;
        bool braces = take(reader, '{');
        uint32_t code = 0, count = 0;
        while (count < (braces ? 6u : 2u) && hex_digit(peek(reader)) >= 0) {
            code = code << 4 | (uint32_t)hex_digit(reader->text[reader->at++]);
            count++;
        }
        if (count < (braces ? 1u : 2u) || (braces && !take(reader, '}')) || code > 0x10FFFF)
            wrong(reader, "expected hexadecimal digits of a character");
        return code;
    }
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
        wrong(reader, "an escape that is not known");
    return take_character(reader);
}

static void add_range(struct reader *reader, struct regex_step *step, uint32_t first, uint32_t last)
{
    struct regex *regex = reader->regex;
    if (regex->ranges == MAX_PROGRAM) {
        wrong(reader, "the pattern is too long");
        return;
    }
    regex->range[regex->ranges++] = (struct range){first, last};
    step->ranges++;
}

/* The ranges of \d, \w, \s; with an upper letter of all but them. */
static void add_named(struct reader *reader, struct regex_step *step, char name)
{
    static const struct range digit[] = {{'0', '9'}}, space[] = {{'\t', '\r'}, {' ', ' '}};
    static const struct range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    char lower = (char)(name | 0x20);
    const struct range *ranges = lower == 'd' ? digit : lower == 's' ? space : word;
    unsigned count = lower == 'd' ? 1 : lower == 's' ? 2 : 4;
    uint32_t from = 0;
    for (unsigned index = 0; index < count; index++) {
        if (name == lower)
            add_range(reader, step, ranges[index].first, ranges[index].last);
        else if (ranges[index].first > from)
            add_range(reader, step, from, ranges[index].first - 1);
        from = ranges[index].last + 1;
    }
    if (name != lower)
        add_range(reader, step, from, 0x10FFFF);
}

static bool is_named(char c)
{
    c |= 0x20;
    return c == 'd' || c == 'w' || c == 's';
}

static struct regex_step read_class(struct reader *reader)
{
    struct regex_step step = {.op = STEP_CLASS, .x = reader->regex->ranges};
    step.negated = take(reader, '^');
    bool first = true;
    while (!ended(reader) && (first || peek(reader) != ']')) {
        first = false;
        uint32_t from;
        if (take(reader, '\\')) {
            if (is_named(peek(reader))) {
                add_named(reader, &step, reader->text[reader->at++]);
                continue;
            }
            from = take_escape(reader);
        } else {
            from = take_character(reader);
        }
        uint32_t to = from;
        if (reader->at + 1 < reader->size && peek(reader) == '-' && reader->text[reader->at + 1] != ']') {
            reader->at++;
            to = take(reader, '\\') ? take_escape(reader) : take_character(reader);
        }
        if (to < from)
            wrong(reader, "a range whose end is before its start");
        add_range(reader, &step, from, to);
        if (reader->regex->wrong != NULL)
            return step;
    }
    if (!take(reader, ']'))
        wrong(reader, "a class that does not end");
    return step;
}

static uint32_t read_choice(struct reader *reader);

static uint32_t read_group(struct reader *reader)
{
    uint32_t number = 0;
    if (take(reader, '?')) {
        if (!take(reader, ':'))
            return wrong(reader, "expected (?: here; flags stand at the start");
    } else {
        if (reader->regex->groups == MAX_GROUPS - 1)
            return wrong(reader, "too many groups");
        number = ++reader->regex->groups;
    }
    if (reader->nesting == MAX_NESTING)
        return wrong(reader, "groups that are nested too deep");
    uint32_t group = new_node(reader, NODE_GROUP);
    reader->nesting++;
    uint32_t child = read_choice(reader);
    reader->nesting--;
    if (reader->regex->wrong == NULL && !take(reader, ')'))
        return wrong(reader, "a group that does not end");
    nodes[group].child = child;
    nodes[group].least = number;
    return group;
}

static uint32_t read_atom(struct reader *reader)
{
    char c = peek(reader);
    struct regex_step step = {.op = STEP_CHAR};
    if (c == '(') {
        reader->at++;
        return read_group(reader);
    }
    if (c == '[') {
        reader->at++;
        step = read_class(reader);
    } else if (c == '.' || c == '^' || c == '$') {
        reader->at++;
        step.op = c == '.' ? STEP_ANY : c == '^' ? STEP_BEGIN : STEP_END;
    } else if (c == '*' || c == '+' || c == '?') {
        return wrong(reader, "a repetition of nothing");
    } else if (c == '\\') {
        reader->at++;
        char name = peek(reader);
        if (is_named(name)) {
            reader->at++;
            step = (struct regex_step){.op = STEP_CLASS, .x = reader->regex->ranges};
            add_named(reader, &step, name);
        } else if (name == 'b' || name == 'B') {
            reader->at++;
            step.op = name == 'b' ? STEP_WORD : STEP_NO_WORD;
        } else {
            step.x = take_escape(reader);
        }
    } else {
        step.x = take_character(reader);
    }
    uint32_t atom = new_node(reader, NODE_STEP);
    nodes[atom].step = step;
    return atom;
}

static bool take_number(struct reader *reader, uint32_t *number)
{
    size_t start = reader->at;
    *number = 0;
    while (peek(reader) >= '0' && peek(reader) <= '9' && *number <= MAX_COUNT)
        *number = *number * 10 + (uint32_t)(reader->text[reader->at++] - '0');
    return reader->at > start;
}

static uint32_t read_repeat(struct reader *reader)
{
    uint32_t atom = read_atom(reader);
    for (unsigned row = 0; reader->regex->wrong == NULL; row++) {
        uint32_t least, most;
        size_t start = reader->at;
        if (take(reader, '*')) {
            least = 0, most = UNBOUNDED;
        } else if (take(reader, '+')) {
            least = 1, most = UNBOUNDED;
        } else if (take(reader, '?')) {
            least = 0, most = 1;
        } else if (take(reader, '{')) {
            if (!take_number(reader, &least)) {
                /* A brace that counts nothing means itself. */
                reader->at = start;
                return atom;
            }
            most = least;
            if (take(reader, ',') && !take_number(reader, &most))
                most = UNBOUNDED;
            if (!take(reader, '}'))
                return wrong(reader, "a count that does not end");
            if (least > MAX_COUNT || (most != UNBOUNDED && most > MAX_COUNT))
                return wrong(reader, "a count above 1000");
            if (most < least)
                return wrong(reader, "a count whose end is below its start");
        } else {
            return atom;
        }
        if (row == MAX_ROW)
            return wrong(reader, "too many repetitions in a row");
        take(reader, '?');
        uint32_t repeat = new_node(reader, NODE_REPEAT);
        nodes[repeat].child = atom;
        nodes[repeat].least = least;
        nodes[repeat].most = most;
        atom = repeat;
    }
    return NO_NODE;
}

static uint32_t read_sequence(struct reader *reader)
{
    uint32_t sequence = new_node(reader, NODE_SEQUENCE), last = NO_NODE;
    while (reader->regex->wrong == NULL && !ended(reader) && peek(reader) != '|' && peek(reader) != ')') {
        uint32_t part = peek(reader) == '{' ? NO_NODE : read_repeat(reader);
        if (peek(reader) == '{' && part == NO_NODE && reader->regex->wrong == NULL) {
            part = new_node(reader, NODE_STEP);
            nodes[part].step = (struct regex_step){.op = STEP_CHAR, .x = take_character(reader)};
        }
        if (last == NO_NODE)
            nodes[sequence].child = part;
        else
            nodes[last].next = part;
        last = part;
    }
    return sequence;
}

static uint32_t read_choice(struct reader *reader)
{
    uint32_t choice = new_node(reader, NODE_CHOICE), last = read_sequence(reader);
    nodes[choice].child = last;
    while (reader->regex->wrong == NULL && take(reader, '|')) {
        nodes[last].next = read_sequence(reader);
        last = nodes[last].next;
    }
    return choice;
}

static uint32_t emit(struct regex *regex, struct regex_step step)
{
    if (regex->count == MAX_PROGRAM) {
        regex->wrong = "the pattern is too long";
        return 0;
    }
    regex->step[regex->count] = step;
    return regex->count++;
}

static void write(struct regex *regex, uint32_t node);

static void write_repeat(struct regex *regex, const struct node *repeat)
{
    uint32_t last = regex->count;
    for (uint32_t index = 0; index < repeat->least && regex->wrong == NULL; index++) {
        last = regex->count;
        write(regex, repeat->child);
        if (regex->count == last)
            break; /* the child is empty, however often */
    }
    if (repeat->most == UNBOUNDED) {
        if (repeat->least > 0) {
            uint32_t split = emit(regex, (struct regex_step){.op = STEP_SPLIT, .x = last});
            regex->step[split].y = regex->count;
        } else {
            uint32_t split = emit(regex, (struct regex_step){.op = STEP_SPLIT, .x = regex->count + 1});
            write(regex, repeat->child);
            emit(regex, (struct regex_step){.op = STEP_JUMP, .x = split});
            regex->step[split].y = regex->count;
        }
        return;
    }
    uint32_t first = regex->count;
    for (uint32_t index = repeat->least; index < repeat->most && regex->wrong == NULL; index++) {
        emit(regex, (struct regex_step){.op = STEP_SPLIT, .x = regex->count + 1, .y = UINT32_MAX});
        write(regex, repeat->child);
    }
    /* Each may be the last. Splits of what is inside have their targets already. */
    for (uint32_t index = first; index < regex->count; index++)
        if (regex->step[index].op == STEP_SPLIT && regex->step[index].y == UINT32_MAX)
            regex->step[index].y = regex->count;
}

static void write(struct regex *regex, uint32_t index)
{
    const struct node *node = &nodes[index];
    if (regex->wrong != NULL || index == NO_NODE)
        return;
    switch ((enum node_kind)node->kind) {
    case NODE_STEP: emit(regex, node->step); return;
    case NODE_SEQUENCE:
        for (uint32_t part = node->child; part != NO_NODE; part = nodes[part].next)
            write(regex, part);
        return;
    case NODE_CHOICE: {
        /* The jumps to the end are linked through their targets until that is known. */
        uint32_t jumps = UINT32_MAX;
        for (uint32_t part = node->child; part != NO_NODE && regex->wrong == NULL; part = nodes[part].next) {
            if (nodes[part].next == NO_NODE) {
                write(regex, part);
                break;
            }
            uint32_t split = emit(regex, (struct regex_step){.op = STEP_SPLIT, .x = regex->count + 1});
            write(regex, part);
            jumps = emit(regex, (struct regex_step){.op = STEP_JUMP, .x = jumps});
            regex->step[split].y = regex->count;
        }
        while (jumps != UINT32_MAX && regex->wrong == NULL) {
            uint32_t before = regex->step[jumps].x;
            regex->step[jumps].x = regex->count;
            jumps = before;
        }
        return;
    }
    case NODE_GROUP:
        if (node->least != 0)
            emit(regex, (struct regex_step){.op = STEP_SAVE, .x = node->least * 2});
        write(regex, node->child);
        if (node->least != 0)
            emit(regex, (struct regex_step){.op = STEP_SAVE, .x = node->least * 2 + 1});
        return;
    case NODE_REPEAT: write_repeat(regex, node); return;
    }
}

bool regex_compile(struct regex *regex, const char *pattern, size_t size, void *room)
{
    nodes = room;
    struct reader reader = {.regex = regex, .text = pattern, .size = size};
    regex->count = regex->ranges = regex->groups = 0;
    regex->fold = regex->lines = false;
    regex->wrong = NULL;
    nodes[NO_NODE] = (struct node){0};
    node_count = 1;
    if (size > 2 && pattern[0] == '(' && pattern[1] == '?' && (pattern[2] == 'i' || pattern[2] == 'm')) {
        for (reader.at = 2; peek(&reader) == 'i' || peek(&reader) == 'm'; reader.at++)
            *(peek(&reader) == 'i' ? &regex->fold : &regex->lines) = true;
        if (!take(&reader, ')'))
            wrong(&reader, "expected ) after the flags");
    }
    uint32_t root = read_choice(&reader);
    if (regex->wrong == NULL && !ended(&reader))
        wrong(&reader, "a ) without its (");
    if (regex->wrong == NULL) {
        write(regex, root);
        emit(regex, (struct regex_step){.op = STEP_MATCH});
    }
    return regex->wrong == NULL;
}

static bool in_ranges(const struct regex *regex, const struct regex_step *step, uint32_t code)
{
    for (uint32_t index = step->x; index < step->x + step->ranges; index++)
        if (code >= regex->range[index].first && code <= regex->range[index].last)
            return true;
    return false;
}

bool regex_takes(const struct regex *regex, const struct regex_step *step, uint32_t code)
{
    switch ((enum step)step->op) {
    case STEP_CHAR: return step->x == code || (regex->fold && letter_fold(step->x) == letter_fold(code));
    case STEP_ANY: return code != '\n';
    case STEP_CLASS: {
        bool found = in_ranges(regex, step, code);
        if (!found && regex->fold)
            found = in_ranges(regex, step, letter_upper(code)) || in_ranges(regex, step, letter_lower(code));
        return found != (bool)step->negated;
    }
    default: return false;
    }
}
