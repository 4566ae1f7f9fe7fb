/* chat: joins a room of a feed over WebSocket, follows it for a while, and keeps what is said there. */
#include "mix.h"

MIX_MANIFEST({
    "version": 1,
    "name": "chat",
    "description": "Follows a feed over WebSocket and keeps what it says",
    "entries": {
        "follow": {
            "description": "Sends `hello`, keeps each text that comes, and ends with the feed, after `count` messages or after `seconds`.",
            "inParams": {"url": "string", "hello?": "string", "count?": "int", "seconds?": "number"},
            "outParams": {"kept": "int", "skipped": "int", "end": "string", "code": "option(int)"}
        }
    },
    "grants": {"ffis": ["$db_save_one", "$ws_close", "$ws_connect", "$ws_receive", "$ws_send"]}
})

#define TYPE "chat_message"
#define DEFAULT_COUNT 100
#define MOST_COUNT 10000
#define DEFAULT_SECONDS 10.0
#define MOST_SECONDS 50.0 /* less than the package's limit of time, so that the feed is told of the end */

typedef struct {
    int64_t kept, skipped, code;
    const char *end; /* why it ended, null before */
} seen;

static mix_value joined(mix_value url, mix_value hello) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "url"), mix_put_value(&out, url);
    mix_end(&out);
    mix_value answer = mix_expect_ok(mix_ffi("$ws_connect", mix_done(&out)));
    mix_value socket = mix_need(answer, "socket", MIX_TOKEN);
    if (mix_kind_of(hello) == MIX_STRING) mix_expect_ok(mix_ffi("$ws_send", socket, hello));
    return socket;
}

/* One record for each message, at once: what was seen is kept although the run may end badly. */
static void keep(mix_value url, mix_value text) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "_rmx_type"), mix_put_string(&out, TYPE);
    mix_key(&out, "url"), mix_put_value(&out, url);
    mix_key(&out, "text"), mix_put_value(&out, text);
    mix_key(&out, "at"), mix_put_int(&out, (int64_t)(mix_now() * 1000));
    mix_end(&out);
    mix_ffi("$db_save_one", mix_null(), mix_done(&out));
}

static void look(seen *seen, mix_value socket, mix_value url, double left) {
    mix_value next = mix_ffi("$ws_receive", socket, mix_number(left * 1000));
    mix_text what = mix_as_text(next);
    mix_value found = mix_case_arg(next);
    if (mix_text_is(what, "closed")) {
        seen->end = "closed";
        seen->code = mix_as_int(mix_need(found, "code", MIX_INT), 0);
    } else if (mix_text_is(what, "timeout")) {
        seen->end = "time";
    } else if (mix_kind_of(found) == MIX_STRING) {
        keep(url, found);
        seen->kept++;
    } else {
        seen->skipped++;
    }
}

static mix_value follow(mix_value params) {
    mix_value url = mix_need(params, "url", MIX_STRING);
    int64_t count = mix_as_int(mix_get(params, "count"), DEFAULT_COUNT);
    double seconds = mix_as_number(mix_get(params, "seconds"), DEFAULT_SECONDS);
    if (count < 1 || count > MOST_COUNT) mix_panic("count: expected 1 to 10000");
    if (!(seconds >= 0 && seconds <= MOST_SECONDS)) mix_panic("seconds: expected 0 to 50");

    double until = mix_now() + seconds;
    mix_value socket = joined(url, mix_get(params, "hello"));
    seen seen = {0};
    while (seen.end == NULL) {
        double left = until - mix_now();
        if (seen.kept + seen.skipped == count) {
            seen.end = "count";
        } else if (left <= 0) {
            seen.end = "time";
        } else {
            mix_scope message = mix_enter();
            look(&seen, socket, url, left);
            mix_leave(message);
        }
    }
    mix_ffi("$ws_close", socket);

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "kept"), mix_put_int(&out, seen.kept);
    mix_key(&out, "skipped"), mix_put_int(&out, seen.skipped);
    mix_key(&out, "end"), mix_put_string(&out, seen.end);
    mix_key(&out, "code");
    if (seen.code)
        mix_put_int(&out, seen.code);
    else
        mix_put_null(&out);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("follow", follow)
