/* notes: keeps notes in the app's database, finds them by words and tags, and sums them up. */
#include <string.h>

#include "mix.h"
#include "rows.h"
#include "split.h"

MIX_MANIFEST({
    "version": 1,
    "name": "notes",
    "description": "Keeps notes and finds them by their words and tags",
    "entries": {
        "add": {
            "description": "Keeps a note and answers it as it is kept.",
            "inParams": {"title": "string", "text": "string", "tags?": "array(string)"},
            "outParams": "{id: ref, title: string, text: string, tags: array(string)}"
        },
        "search": {
            "description": "Notes that have all these words and tags, the newest first.",
            "inParams": {"words?": "string", "tags?": "array(string)", "limit?": "int"},
            "outParams": "array({id: ref, title: string, text: string, tags: array(string)})"
        },
        "tag": {
            "description": "Gives a note tags, takes tags from it, and answers it.",
            "inParams": {"id": "ref", "add?": "array(string)", "remove?": "array(string)"},
            "outParams": "{id: ref, title: string, text: string, tags: array(string)}"
        },
        "summary": {
            "description": "How many notes there are, how many different words they have on average, how often each tag is used, and the titles of the newest.",
            "inParams": {},
            "outParams": "{notes: int, words: option(number), tags: map(int), newest: array(string)}"
        }
    },
    "grants": {
        "ffis": ["$db_execute", "$db_execute_close", "$db_execute_next", "$db_get_one", "$db_save_one", "$db_upsert_one"]
    }
})

#define TYPE "note"
#define MOST_TEXT 65536 /* bytes of a note */
#define MOST_TAGS 100
#define MOST_ASKED 100 /* words and tags of a search */
#define DEFAULT_LIMIT 20
#define MOST_LIMIT 1000

static bool same(mix_text a, mix_text b) { return mix_text_order(a, b) == 0; }

static bool has(mix_value array, mix_text text) {
    for (mix_items each = mix_each(array); mix_next(&each);)
        if (same(mix_as_text(each.value), text)) return true;
    return false;
}

/* What callers see of a record. */
static void put_note(mix_out *out, mix_value record) {
    mix_put_map(out);
    mix_key(out, "id"), mix_put_value(out, mix_get(record, "_rmx_id"));
    mix_key(out, "title"), mix_put_value(out, mix_get(record, "title"));
    mix_key(out, "text"), mix_put_value(out, mix_get(record, "text"));
    mix_key(out, "tags"), mix_put_value(out, mix_get(record, "tags"));
    mix_end(out);
}

static mix_value note_of(mix_value record) {
    mix_out out = {0};
    put_note(&out, record);
    return mix_done(&out);
}

/* The tags of `old` without those in `without`, and those of `more`, each once. */
static mix_value joined_tags(mix_value old, mix_value without, mix_value more) {
    mix_out out = {0};
    size_t count = 0;
    mix_put_array(&out);
    for (mix_items each = mix_each(old); mix_next(&each);)
        if (!has(without, mix_as_text(each.value))) mix_put_value(&out, each.value), count++;
    for (mix_items each = mix_each(more); mix_next(&each);) {
        mix_text tag = mix_as_text(each.value);
        bool known = has(old, tag) && !has(without, tag);
        for (size_t before = 0; !known && before < each.index; before++)
            known = same(mix_as_text(mix_at(more, before)), tag);
        if (!known) mix_put_value(&out, each.value), count++;
        if (count > MOST_TAGS) mix_panic("tags: expected at most 100");
    }
    mix_end(&out);
    return mix_done(&out);
}

/* ---- add --------------------------------------------------------------------------------------------------- */

static mix_text joined(mix_text a, mix_text b) {
    char *at = mix_take(a.size + 1 + b.size);
    memcpy(at, a.at, a.size);
    at[a.size] = ' ';
    memcpy(at + a.size + 1, b.at, b.size);
    return (mix_text){at, a.size + 1 + b.size};
}

static mix_value add(mix_value params) {
    mix_text title = mix_as_text(mix_need(params, "title", MIX_STRING));
    mix_text text = mix_as_text(mix_need(params, "text", MIX_STRING));
    if (title.size + text.size > MOST_TEXT) mix_panic("title and text: expected at most 65536 bytes");
    words words = split(joined(title, text));

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "_rmx_type"), mix_put_string(&out, TYPE);
    mix_key(&out, "title"), mix_put_text(&out, title);
    mix_key(&out, "text"), mix_put_text(&out, text);
    mix_key(&out, "tags"), mix_put_value(&out, joined_tags(mix_null(), mix_null(), mix_get(params, "tags")));
    mix_key(&out, "words"), mix_put_array(&out);
    for (size_t i = 0; i < words.count; i++) mix_put_text(&out, words.at[i]);
    mix_end(&out);
    mix_key(&out, "size"), mix_put_int(&out, (int64_t)words.count);
    mix_key(&out, "created"), mix_put_int(&out, (int64_t)(mix_now() * 1000));
    mix_end(&out);
    return note_of(mix_ffi("$db_save_one", mix_null(), mix_done(&out)));
}
MIX_ENTRY("add", add)

/* ---- search ------------------------------------------------------------------------------------------------ */

/* ["comparison", "contains", FIELD, ["param", NAME]]: what is asked for is never part of the query itself. */
static void put_condition(mix_out *query, mix_out *values, const char *field, size_t number, mix_text value) {
    if (number >= MOST_ASKED) mix_panic("words and tags: expected at most 100");
    char digits[] = {'p', (char)('0' + number / 10), (char)('0' + number % 10)};
    mix_text name = {digits, sizeof digits};
    mix_put_array(query);
    mix_put_string(query, "comparison"), mix_put_string(query, "contains"), mix_put_string(query, field);
    mix_put_array(query);
    mix_put_string(query, "param"), mix_put_text(query, name);
    mix_end(query);
    mix_end(query);
    mix_key_text(values, name), mix_put_text(values, value);
}

static mix_value search(mix_value params) {
    words words = split(mix_as_text(mix_get(params, "words")));
    int64_t limit = mix_as_int(mix_get(params, "limit"), DEFAULT_LIMIT);
    if (limit < 1 || limit > MOST_LIMIT) mix_panic("limit: expected 1 to 1000");

    mix_out query = {0}, values = {0};
    size_t count = 0;
    mix_put_map(&values);
    mix_put_array(&query);
    mix_put_string(&query, "query");
    mix_put_array(&query);
    mix_put_string(&query, "and");
    mix_put_array(&query);
    mix_put_array(&query);
    mix_put_string(&query, "comparison"), mix_put_string(&query, "=="), mix_put_string(&query, "_rmx_type");
    mix_put_string(&query, TYPE);
    mix_end(&query);
    for (size_t i = 0; i < words.count; i++) put_condition(&query, &values, "words", count++, words.at[i]);
    for (mix_items each = mix_each(mix_get(params, "tags")); mix_next(&each);)
        put_condition(&query, &values, "tags", count++, mix_as_text(each.value));
    mix_end(&query);
    mix_end(&query);
    mix_put_array(&query);
    mix_put_array(&query);
    mix_put_string(&query, "orderDesc"), mix_put_string(&query, "created");
    mix_end(&query);
    mix_put_array(&query);
    mix_put_string(&query, "limit"), mix_put_int(&query, limit);
    mix_end(&query);
    mix_end(&query);
    mix_end(&query);
    mix_end(&values);

    mix_out out = {0};
    mix_put_array(&out);
    for (rows rows = ask(mix_done(&query), mix_done(&values)); next_row(&rows);) put_note(&out, rows.row);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("search", search)

/* ---- tag --------------------------------------------------------------------------------------------------- */

static mix_value tag(mix_value params) {
    mix_value id = mix_need(params, "id", MIX_REF);
    mix_value note = mix_ffi("$db_get_one", mix_null(), id);
    if (!mix_text_is(mix_as_text(mix_get(note, "_rmx_type")), TYPE)) mix_panic("id: there is no such note");

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "_rmx_id"), mix_put_value(&out, id);
    mix_key(&out, "tags");
    mix_put_value(&out, joined_tags(mix_get(note, "tags"), mix_get(params, "remove"), mix_get(params, "add")));
    mix_end(&out);
    return note_of(mix_ffi("$db_upsert_one", mix_null(), mix_done(&out)));
}
MIX_ENTRY("tag", tag)

/* ---- summary ----------------------------------------------------------------------------------------------- */

#define NOTES "_rmx_type == \"" TYPE "\""

static mix_value nothing(void) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_end(&out);
    return mix_done(&out);
}

static void put_tags(mix_out *out) {
    size_t count = 0, space = 64;
    mix_text *tags = mix_take(space * sizeof *tags);
    for (rows rows = ask(mix_string(NOTES " | { tags }"), nothing()); next_row(&rows);)
        for (mix_items each = mix_each(mix_get(rows.row, "tags")); mix_next(&each);) {
            if (count == space) {
                tags = mix_extend(tags, space * sizeof *tags, 2 * space * sizeof *tags);
                space *= 2;
            }
            tags[count++] = mix_as_text(each.value);
        }
    sort_texts(tags, count);
    mix_put_map(out);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i; next < count && same(tags[next], tags[i]);) next++;
        mix_key_text(out, tags[i]), mix_put_int(out, (int64_t)(next - i));
    }
    mix_end(out);
}

static mix_value summary(mix_value params) {
    (void)params;
    rows totals = ask(mix_string(NOTES " | count() | avg(size)"), nothing());
    if (!next_row(&totals)) mix_panic("count(): expected one row");

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "notes"), mix_put_value(&out, mix_get(totals.row, "count"));
    mix_key(&out, "words"), mix_put_value(&out, mix_get(totals.row, "avg"));
    mix_key(&out, "tags"), put_tags(&out);
    mix_key(&out, "newest"), mix_put_array(&out);
    mix_value newest = mix_string(NOTES " | orderDesc(created) | limit(3) | { title }");
    for (rows rows = ask(newest, nothing()); next_row(&rows);) mix_put_value(&out, mix_get(rows.row, "title"));
    mix_end(&out);
    mix_end(&out);
    close_rows(&totals);
    return mix_done(&out);
}
MIX_ENTRY("summary", summary)
