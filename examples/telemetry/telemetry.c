/* telemetry: takes readings from a topic, aggregates them with SQL, and keeps a record of each sensor. */
#include <string.h>

#include "mix.h"

MIX_MANIFEST({
    "version": 1,
    "name": "telemetry",
    "description": "Readings of sensors, summed up and kept",
    "entries": {
        "collect": {
            "description": "Takes readings until there are `count`, or `seconds` have passed, and keeps a summary of each sensor.",
            "inParams": {"count?": "int", "seconds?": "number"},
            "outParams": {
                "taken": "int",
                "skipped": "int",
                "missed": "int",
                "sensors": "array({sensor: string, readings: int, low: number, high: number, mean: number})"
            }
        },
        "report": {
            "description": "Publishes a reading, as a sensor does.",
            "inParams": {"sensor": "string", "value": "number"},
            "outParams": "null"
        }
    },
    "grants": {
        "ffis": ["$db_save_ar", "$duckdb_query", "$mqtt_next", "$mqtt_publish", "$mqtt_subscribe"],
        "options": {"duckdb.files": [], "mqtt.topics": ["sensors/+"]}
    }
})

#define PREFIX "sensors/"
#define TYPE "sensor_summary"
#define DEFAULT_COUNT 100
#define MOST_COUNT 1000
#define DEFAULT_SECONDS 10.0
#define MOST_SECONDS 50.0 /* less than the package's limit of time: what was taken is still to be kept */
#define MOST_NAME 100     /* bytes of a sensor's name */
#define MOST_NUMBER 40    /* bytes of a reading */

/* A reading that is no number counts as none; which is one is for SQL to say, as it makes the numbers. */
static const char SUMMARY[] =
    "with readings as (select unnest($readings, recursive := true)), "
    "numbers as (select sensor, try_cast(text as double) as value from readings) "
    "select sensor, count(*) as readings, min(value) as low, max(value) as high, avg(value) as mean "
    "from numbers where isfinite(value) group by sensor order by sensor";

/* ---- Taking ------------------------------------------------------------------------------------------------ */

/* What is kept of a message: plain memory, as the message itself is given back. */
typedef struct {
    char sensor[MOST_NAME], text[MOST_NUMBER];
    size_t sensor_size, text_size;
} reading;

typedef struct {
    reading *at;
    size_t count, taken, missed;
} readings;

static void keep(readings *readings, mix_value message) {
    mix_text topic = mix_as_text(mix_need(message, "topic", MIX_STRING));
    mix_text sensor = {topic.at + sizeof PREFIX - 1, topic.size - (sizeof PREFIX - 1)};
    mix_value payload = mix_get(message, "payload");
    mix_text text = mix_as_text(payload);
    readings->taken++;
    if (mix_kind_of(payload) != MIX_STRING || text.size > MOST_NUMBER || sensor.size > MOST_NAME) return;
    reading *next = &readings->at[readings->count++];
    memcpy(next->sensor, sensor.at, next->sensor_size = sensor.size);
    memcpy(next->text, text.at, next->text_size = text.size);
}

/* Takes one message; false when there will be none before `until`. */
static bool take(readings *readings, mix_value subscription, double until) {
    double left = until - mix_now();
    if (left <= 0) return false;
    mix_value next = mix_ffi("$mqtt_next", subscription, mix_number(left * 1000));
    mix_text what = mix_as_text(next);
    if (mix_text_is(what, "message"))
        keep(readings, mix_case_arg(next));
    else if (mix_text_is(what, "missed"))
        readings->missed++;
    else
        return false; /* "timeout", "closed" */
    return true;
}

/* ---- Summing up -------------------------------------------------------------------------------------------- */

static mix_value summed_up(const readings *readings) {
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "readings"), mix_put_array(&out);
    for (const reading *each = readings->at; each < readings->at + readings->count; each++) {
        mix_put_map(&out);
        mix_key(&out, "sensor"), mix_put_text(&out, (mix_text){each->sensor, each->sensor_size});
        mix_key(&out, "text"), mix_put_text(&out, (mix_text){each->text, each->text_size});
        mix_end(&out);
    }
    mix_end(&out);
    mix_end(&out);
    mix_value answer = mix_expect_ok(mix_ffi("$duckdb_query", mix_null(), mix_string(SUMMARY), mix_done(&out)));
    /* There are at most MOST_COUNT sensors: as many rows as are answered at once, unless settings say fewer. */
    if (mix_kind_of(mix_get(answer, "next")) != MIX_NULL) mix_panic("more sensors than duckdb.batch_rows: lower count");
    return mix_need(answer, "rows", MIX_ARRAY);
}

static void save(mix_value sensors, double now) {
    mix_out out = {0};
    mix_put_array(&out);
    for (mix_items row = mix_each(sensors); mix_next(&row);) {
        mix_put_map(&out);
        mix_key(&out, "_rmx_type"), mix_put_string(&out, TYPE);
        mix_key(&out, "at"), mix_put_int(&out, (int64_t)(now * 1000));
        for (mix_items field = mix_each(row.value); mix_next(&field);)
            mix_key_text(&out, field.key), mix_put_value(&out, field.value);
        mix_end(&out);
    }
    mix_end(&out);
    mix_ffi("$db_save_ar", mix_null(), mix_done(&out));
}

/* ---- The entries ------------------------------------------------------------------------------------------- */

static mix_value collect(mix_value params) {
    int64_t count = mix_as_int(mix_get(params, "count"), DEFAULT_COUNT);
    double seconds = mix_as_number(mix_get(params, "seconds"), DEFAULT_SECONDS);
    if (count < 1 || count > MOST_COUNT) mix_panic("count: expected 1 to 1000");
    if (!(seconds >= 0 && seconds <= MOST_SECONDS)) mix_panic("seconds: expected 0 to 50");

    readings readings = {.at = mix_take((size_t)count * sizeof(reading))};
    mix_value subscription = mix_expect_ok(mix_ffi("$mqtt_subscribe", mix_string(PREFIX "+")));
    double until = mix_now() + seconds;
    for (bool more = true; more && readings.taken < (size_t)count;) {
        mix_scope message = mix_enter();
        more = take(&readings, subscription, until);
        mix_leave(message);
    }

    int64_t used = 0;
    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "sensors");
    if (readings.count) {
        mix_value sensors = summed_up(&readings);
        for (mix_items row = mix_each(sensors); mix_next(&row);) used += mix_as_int(mix_get(row.value, "readings"), 0);
        if (used) save(sensors, mix_now());
        mix_put_value(&out, sensors);
    } else {
        mix_put_array(&out), mix_end(&out);
    }
    mix_key(&out, "taken"), mix_put_int(&out, (int64_t)readings.taken);
    mix_key(&out, "skipped"), mix_put_int(&out, (int64_t)readings.taken - used);
    mix_key(&out, "missed"), mix_put_int(&out, (int64_t)readings.missed);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("collect", collect)

static mix_value report(mix_value params) {
    mix_text sensor = mix_as_text(mix_need(params, "sensor", MIX_STRING));
    double value = mix_as_number(mix_need(params, "value", MIX_NUMBER), 0);
    if (sensor.size == 0) mix_panic("sensor: expected a name, found none");
    mix_value topic = mix_format(PREFIX "%.*s", (int)sensor.size, sensor.at);
    mix_expect_ok(mix_ffi("$mqtt_publish", topic, mix_format("%.17g", value)));
    return mix_null();
}
MIX_ENTRY("report", report)
