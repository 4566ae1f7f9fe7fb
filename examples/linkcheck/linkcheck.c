/* linkcheck: fetches pages and says of each whether it is there, what it holds and what it is called. */
#include <string.h>

#include "mix.h"
#include "title.h"

MIX_MANIFEST({
    "version": 1,
    "name": "linkcheck",
    "description": "Checks links",
    "entries": {
        "check": {
            "description": "Fetches each URL. A link is ok when its status is below 400; what is not known of one is null.",
            "inParams": {"urls": "array(string)", "timeout?": "number"},
            "outParams": {
                "links": "array({url: string, status: option(int), size: option(int), sha256: option(string), title: option(string), error?: string})",
                "ok": "int",
                "failed": "int"
            }
        },
        "summary": {
            "description": "Counts the links of a check by their status.",
            "inParams": {"links": "array({url: string, status: option(int), size: option(int), ...})"},
            "outParams": {"total": "int", "bytes": "int", "statuses": "map(int)"}
        }
    },
    "grants": {"ffis": ["$http_do", "$crypto_sha256"]}
})

#define DEFAULT_TIMEOUT 10.0 /* seconds */
#define MOST_ERROR 200       /* bytes of an error message that are kept */
#define SHA256_SIZE 64       /* in hex */

/* What is kept of a link while the next one is fetched: plain memory, as the page itself is given back. */
typedef struct {
    int64_t status, size;
    char sha256[SHA256_SIZE];
    title title;
    char error[MOST_ERROR];
    size_t error_size;
    bool answered, ok;
} link;

static mix_value request_for(mix_value url, double timeout) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "method"), mix_put_string(&out, "GET");
    mix_key(&out, "url"), mix_put_value(&out, url);
    mix_key(&out, "timeout"), mix_put_number(&out, timeout);
    mix_key(&out, "followRedirects"), mix_put_bool(&out, true);
    mix_key(&out, "returnBinaryResponseBody"), mix_put_bool(&out, true);
    mix_end(&out);
    return mix_done(&out);
}

static void keep_error(link *link, mix_text message) {
    size_t size = message.size < MOST_ERROR ? message.size : MOST_ERROR;
    while (size < message.size && size > 0 && (message.at[size] & 0xC0) == 0x80) size--;
    memcpy(link->error, message.at, size);
    link->error_size = size;
}

static void look_at(link *link, mix_value answer) {
    mix_value error = mix_get(answer, "error"), body = mix_get(answer, "body");
    if (mix_kind_of(error) != MIX_UNDEF) {
        mix_text message = mix_as_text(error);
        keep_error(link, message.size ? message : MIX_TEXT("the request failed"));
        return;
    }
    mix_text page = mix_as_text(body);
    mix_text digest = mix_as_text(mix_ffi("$crypto_sha256", page.at ? body : mix_binary("", 0)));
    if (digest.size != SHA256_SIZE) mix_panic("$crypto_sha256: expected 64 hexadecimal digits");
    link->answered = true;
    link->status = mix_as_int(mix_need(answer, "status", MIX_INT), 0);
    link->ok = link->status >= 200 && link->status < 400;
    link->size = (int64_t)page.size;
    memcpy(link->sha256, digest.at, SHA256_SIZE);
    link->title = find_title(page);
}

static void put_link(mix_out *out, mix_value url, const link *link) {
    mix_put_map(out);
    mix_key(out, "url"), mix_put_value(out, url);
    if (link->answered) {
        mix_key(out, "status"), mix_put_int(out, link->status);
        mix_key(out, "size"), mix_put_int(out, link->size);
        mix_key(out, "sha256"), mix_put_text(out, (mix_text){link->sha256, SHA256_SIZE});
    } else {
        mix_key(out, "status"), mix_put_null(out);
        mix_key(out, "size"), mix_put_null(out);
        mix_key(out, "sha256"), mix_put_null(out);
        mix_key(out, "error"), mix_put_text(out, (mix_text){link->error, link->error_size});
    }
    mix_key(out, "title");
    if (link->title.size)
        mix_put_text(out, mix_clean((mix_text){link->title.text, link->title.size}));
    else
        mix_put_null(out);
    mix_end(out);
}

static mix_value check(mix_value params) {
    mix_value urls = mix_need(params, "urls", MIX_ARRAY);
    double timeout = mix_as_number(mix_get(params, "timeout"), DEFAULT_TIMEOUT);
    size_t count = mix_count(urls), ok = 0;
    link *links = mix_take(count * sizeof *links);
    memset(links, 0, count * sizeof *links);

    for (mix_items each = mix_each(urls); mix_next(&each);) {
        mix_scope page = mix_enter();
        look_at(&links[each.index], mix_ffi("$http_do", request_for(each.value, timeout)));
        mix_leave(page);
        ok += links[each.index].ok;
    }

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "ok"), mix_put_int(&out, (int64_t)ok);
    mix_key(&out, "failed"), mix_put_int(&out, (int64_t)(count - ok));
    mix_key(&out, "links"), mix_put_array(&out);
    for (mix_items each = mix_each(urls); mix_next(&each);) put_link(&out, each.value, &links[each.index]);
    mix_end(&out);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("check", check)

#define STATUSES 1000 /* three digits */

static mix_value summary(mix_value params) {
    mix_value links = mix_need(params, "links", MIX_ARRAY);
    int64_t counts[STATUSES] = {0}, unanswered = 0, bytes = 0;
    for (mix_items each = mix_each(links); mix_next(&each);) {
        int64_t status = mix_as_int(mix_get(each.value, "status"), -1);
        bytes += mix_as_int(mix_get(each.value, "size"), 0);
        if (status < 0 || status >= STATUSES)
            unanswered++;
        else
            counts[status]++;
    }

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "total"), mix_put_int(&out, (int64_t)mix_count(links));
    mix_key(&out, "bytes"), mix_put_int(&out, bytes);
    mix_key(&out, "statuses"), mix_put_map(&out);
    for (int status = 0; status < STATUSES; status++) {
        if (counts[status] == 0) continue;
        char key[] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10)};
        mix_key_text(&out, (mix_text){key, sizeof key});
        mix_put_int(&out, counts[status]);
    }
    if (unanswered) mix_key(&out, "none"), mix_put_int(&out, unanswered);
    mix_end(&out);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("summary", summary)
