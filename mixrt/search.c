/* Built-ins for regular expressions: the threads of a program, one step of all for each character.
 *
 * A thread is a place in the program with the offsets that it has saved. Of two threads in the same place the one that started
 * earlier, or else was there first, stays. So there are never more than the program has steps. A search that takes long is
 * left between two characters and gone on with when the built-in is called again: all of it lies in `search`.
 */
#include "array.h"
#include "builtin.h"
#include "regex.h"

#define NOWHERE UINT32_MAX

struct threads {
    uint32_t count;
    uint32_t place[MAX_PROGRAM];   /* in order */
    uint32_t index[MAX_PROGRAM];   /* of a place: where it stands in `place`, if it does */
    uint32_t *saved;               /* `slots` of each */
};

struct wait {
    uint32_t place, slot, old; /* a place to go to; or, if it is NOWHERE, what a slot held */
};

/* Taken when it is first used: most programs never do. */
struct search {
    struct regex regex;
    struct threads now, next;
    struct wait waiting[MAX_PROGRAM * 2];
    uint32_t slots;
    size_t at;      /* the offset that is looked at */
    bool matched;
    uint32_t found[MAX_GROUPS * 2];
    size_t from;    /* where the next search of all starts */
    uint32_t counted_chars;
    size_t counted; /* the offset up to which characters are counted */
    struct buffer saved;
    struct buffer pattern; /* of the program that is there */
    bool compiled;
};

static struct search *search;

static bool open_search(struct vm *vm)
{
    size_t units;
    if (search != NULL)
        return true;
    search = heap_take(vm, sizeof(struct search), &units);
    if (search != NULL)
        memset(search, 0, sizeof(struct search));
    return search != NULL;
}

static bool compile(struct vm *vm, const struct text *pattern)
{
    struct buffer room = {0};
    search->compiled = false;
    if (!buffer_room(vm, &room, regex_room))
        return false;
    bool right = regex_compile(&search->regex, pattern->bytes, pattern->head.count, room.bytes);
    buffer_free(vm, &room);
    charge(vm, pattern->head.count * 4);
    if (!right)
        raise_text(vm, "regular expression, byte %d: %s", (int64_t)search->regex.at, search->regex.wrong);
    return right;
}

static bool is_word(int c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_'; }

static bool holds(const struct regex_step *step, const struct text *text, size_t at)
{
    size_t size = text->head.count;
    bool lines = search->regex.lines;
    switch ((enum step)step->op) {
    case STEP_BEGIN: return at == 0 || (lines && text->bytes[at - 1] == '\n');
    case STEP_END: return at == size || (lines && text->bytes[at] == '\n');
    default: {
        bool before = at > 0 && is_word((uint8_t)text->bytes[at - 1]);
        bool after = at < size && is_word((uint8_t)text->bytes[at]);
        return (before != after) == (step->op == STEP_WORD);
    }
    }
}

static bool has(const struct threads *threads, uint32_t place)
{
    return threads->index[place] < threads->count && threads->place[threads->index[place]] == place;
}

/* Puts a thread, and all to which it gets without a character, into a list. `saved` is changed and restored. */
static void add(struct threads *threads, uint32_t place, const struct text *text, size_t at, uint32_t *saved)
{
    uint32_t depth = 0;
    search->waiting[depth++] = (struct wait){.place = place};
    while (depth > 0) {
        struct wait wait = search->waiting[--depth];
        if (wait.place == NOWHERE) {
            saved[wait.slot] = wait.old;
            continue;
        }
        if (has(threads, wait.place))
            continue;
        threads->index[wait.place] = threads->count;
        threads->place[threads->count] = wait.place;
        uint32_t *kept = threads->saved + (size_t)threads->count * search->slots;
        threads->count++;
        const struct regex_step *step = &search->regex.step[wait.place];
        switch ((enum step)step->op) {
        case STEP_JUMP: search->waiting[depth++] = (struct wait){.place = step->x}; break;
        case STEP_SPLIT:
            search->waiting[depth++] = (struct wait){.place = step->y};
            search->waiting[depth++] = (struct wait){.place = step->x};
            break;
        case STEP_BEGIN:
        case STEP_END:
        case STEP_WORD:
        case STEP_NO_WORD:
            if (holds(step, text, at))
                search->waiting[depth++] = (struct wait){.place = wait.place + 1};
            break;
        case STEP_SAVE:
            search->waiting[depth++] = (struct wait){.place = NOWHERE, .slot = step->x, .old = saved[step->x]};
            saved[step->x] = (uint32_t)at;
            search->waiting[depth++] = (struct wait){.place = wait.place + 1};
            break;
        default: memcpy(kept, saved, search->slots * sizeof(uint32_t)); break;
        }
    }
}

static void start_at(size_t at)
{
    search->at = at;
    search->matched = false;
    search->now.count = search->next.count = 0;
}

/* Goes on to the end of the search, which has `matched` or not. False if the budget is used up before. */
static bool go_on(struct vm *vm, const struct text *text)
{
    size_t size = text->head.count;
    const struct regex_step *first = &search->regex.step[0];
    bool literal = first->op == STEP_CHAR && first->x < 0x80 && !search->regex.fold;
    for (;;) {
        if (search->now.count == 0 && search->matched)
            return true;
        if (search->now.count == 0 && literal) {
            const char *next = search->at < size ? memchr(text->bytes + search->at, (int)first->x, size - search->at) : NULL;
            if (next == NULL)
                return true;
            charge(vm, ((size_t)(next - text->bytes) - search->at) / 8);
            search->at = (size_t)(next - text->bytes);
        }
        size_t at = search->at;
        if (!search->matched) {
            uint32_t saved[MAX_GROUPS * 2];
            for (uint32_t slot = 0; slot < search->slots; slot++)
                saved[slot] = NOWHERE;
            saved[0] = (uint32_t)at;
            add(&search->now, 0, text, at, saved);
        }
        uint32_t code = at < size ? utf8_decode(text->bytes + at) : NOWHERE;
        size_t after = at < size ? at + utf8_size((uint8_t)text->bytes[at]) : at;
        search->next.count = 0;
        for (uint32_t index = 0; index < search->now.count; index++) {
            uint32_t place = search->now.place[index];
            uint32_t *saved = search->now.saved + (size_t)index * search->slots;
            const struct regex_step *step = &search->regex.step[place];
            if (step->op == STEP_MATCH) {
                if (!search->matched || saved[0] < search->found[0] || (saved[0] == search->found[0] && at > search->found[1])) {
                    memcpy(search->found, saved, search->slots * sizeof(uint32_t));
                    search->found[1] = (uint32_t)at;
                    search->matched = true;
                }
            } else if (step->op <= STEP_CLASS && code != NOWHERE && regex_takes(&search->regex, step, code)) {
                if (!search->matched || saved[0] <= search->found[0])
                    add(&search->next, place + 1, text, after, saved);
            }
        }
        charge(vm, search->now.count / 2 + 1);
        if (at == size)
            return true;
        search->at = after;
        /* The lists change places: their big parts by what they point to, the small ones in turn. */
        struct threads *now = &search->now, *next = &search->next;
        uint32_t *saved = now->saved;
        now->saved = next->saved;
        next->saved = saved;
        memcpy(now->place, next->place, next->count * sizeof(uint32_t));
        for (uint32_t index = 0; index < next->count; index++)
            now->index[now->place[index]] = index;
        now->count = next->count;
        if (vm->fuel < 0)
            return false;
    }
}

/* Compiles the pattern, unless it is the one of the last call. False if it FAILED. */
static bool prepare(struct vm *vm, const struct text *pattern)
{
    size_t size = pattern->head.count;
    if (!open_search(vm))
        return false;
    if (search->compiled && search->pattern.size == size && memcmp(search->pattern.bytes, pattern->bytes, size) == 0)
        return true;
    if (!compile(vm, pattern))
        return false;
    charge(vm, search->regex.count);
    search->slots = search->regex.groups * 2 + 2;
    search->pattern.size = search->saved.size = 0;
    size_t room = (size_t)search->regex.count * search->slots * sizeof(uint32_t);
    if (!buffer_room(vm, &search->pattern, size + 1) || !buffer_room(vm, &search->saved, room * 2))
        return false;
    memcpy(search->pattern.bytes, pattern->bytes, size);
    search->pattern.size = size;
    search->now.saved = (uint32_t *)(void *)search->saved.bytes;
    search->next.saved = search->now.saved + room / sizeof(uint32_t);
    search->compiled = true;
    return true;
}

/* The index of the character at an offset, counted on from the last one where that is before it. */
static int64_t character_at(const struct text *text, uint32_t offset)
{
    if (offset == NOWHERE)
        return -1;
    if (text->head.aux & ASCII)
        return offset;
    size_t at = 0;
    uint32_t chars = 0;
    if (search->counted <= offset) {
        at = search->counted;
        chars = search->counted_chars;
    }
    for (; at < offset; at++)
        chars += ((uint8_t)text->bytes[at] & 0xC0) != 0x80;
    return chars;
}

/* The offsets of the match as indices of characters, in an array. */
static Value match_of(struct vm *vm, const struct text *text)
{
    Value indices[MAX_GROUPS * 2];
    int64_t start = character_at(text, search->found[0]);
    search->counted_chars = (uint32_t)start;
    search->counted = search->found[0];
    for (uint32_t slot = 0; slot < search->slots; slot++)
        indices[slot] = of_small(character_at(text, search->found[slot]));
    charge(vm, search->found[1] - search->found[0]);
    return array_of_values(vm, indices, search->slots);
}

Value builtin_regex_check(struct vm *vm, const Value *arguments)
{
    if (!open_search(vm))
        return FAILED;
    if (compile(vm, text_of(arguments[0])))
        return UNDEF;
    if (vm->fault != FAULT_RAISED)
        return FAILED;
    vm->fault = FAULT_NONE;
    Value message = vm->raised;
    vm->raised = UNDEF;
    return message;
}

/* What is done so far is of no use when the instruction is done once more for want of memory. */
static Value given_up(struct vm *vm)
{
    if (vm->fault == FAULT_MEMORY)
        vm->work = UNDEF;
    return FAILED;
}

Value builtin_regex_find(struct vm *vm, const Value *arguments)
{
    const struct text *text = text_of(arguments[2]);
    if (vm->work == UNDEF) {
        int64_t start = whole_of(arguments[1]);
        if (!prepare(vm, text_of(arguments[0])))
            return FAILED;
        if (start < 0 || start > text->chars)
            return UNDEF;
        /* Characters are counted on from there: who looks for one match behind the other counts each once. */
        search->counted_chars = (uint32_t)start;
        search->counted = (uint32_t)text_offset(vm, text, (uint32_t)start);
        start_at(search->counted);
        vm->work = TRUE;
    }
    if (!go_on(vm, text))
        return failed(vm, FAULT_AGAIN);
    Value match = search->matched ? match_of(vm, text) : UNDEF;
    return match == FAILED ? given_up(vm) : match;
}

/* All matches that follow each other, each as `made` has it. */
static Value find_all(struct vm *vm, const Value *arguments, Value (*made)(struct vm *, Value))
{
    const struct text *text = text_of(arguments[2]);
    int64_t most = whole_of(arguments[1]);
    if (vm->work == UNDEF) {
        if (!prepare(vm, text_of(arguments[0])))
            return FAILED;
        Value nothing = UNDEF, none = array_of_values(vm, &nothing, 0);
        if (none == FAILED)
            return FAILED;
        search->counted = search->counted_chars = 0;
        search->from = 0;
        start_at(0);
        vm->work = none;
    }
    while (most < 0 || array_count(vm->work) < most) {
        if (!go_on(vm, text))
            return failed(vm, FAULT_AGAIN);
        if (!search->matched)
            break;
        bool empty = search->found[0] == search->found[1];
        /* An empty match right behind the one before is none of its own. */
        if (!empty || search->found[1] != search->from || array_count(vm->work) == 0) {
            Value match = made(vm, arguments[2]);
            Value more = match == FAILED ? FAILED : array_push(vm, vm->work, match);
            if (more == FAILED)
                return given_up(vm);
            vm->work = more;
        }
        size_t end = search->found[1];
        search->from = end;
        if (empty) {
            if (end == text->head.count)
                break;
            end += utf8_size((uint8_t)text->bytes[end]);
        }
        start_at(end);
        if (vm->fuel < 0)
            return failed(vm, FAULT_AGAIN);
    }
    return vm->work;
}

static Value indices_of(struct vm *vm, Value text) { return match_of(vm, text_of(text)); }

/* The texts of the match and of its groups in an array, null for a group that took no part. */
static Value texts_of(struct vm *vm, Value text)
{
    Value texts[MAX_GROUPS + 1];
    for (uint32_t group = 0; group < search->slots / 2; group++) {
        uint32_t from = search->found[group * 2], to = search->found[group * 2 + 1];
        texts[group] = from == NOWHERE || to == NOWHERE ? NIL : text_part(vm, text, from, to);
        if (texts[group] == FAILED)
            return FAILED;
    }
    charge(vm, search->found[1] - search->found[0]);
    return array_of_values(vm, texts, search->slots / 2);
}

Value builtin_regex_find_all(struct vm *vm, const Value *arguments) { return find_all(vm, arguments, indices_of); }

Value builtin_regex_texts(struct vm *vm, const Value *arguments) { return find_all(vm, arguments, texts_of); }
