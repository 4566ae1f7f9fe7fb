#!/usr/bin/env bash
# prometheus-client 0.26.0: a histogram that observes NaN adds it to the sum, which is NaN for ever, and to no bucket, not
# even +Inf; so its count, which is that of +Inf, does not grow. Of a summary the count grows.
# Seen: histogram count 1 after two observations, summary 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prometheus-client==0.26.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
from prometheus_client import CollectorRegistry, Histogram, Summary

print("prometheus-client", version("prometheus-client"))
registry = CollectorRegistry()
for name, kind in (("h", Histogram), ("s", Summary)):
    metric = kind(name, "help", registry=registry)
    metric.observe(1)
    metric.observe(float("nan"))
seen = {name: registry.get_sample_value(name) for name in ("h_count", "h_sum", "s_count", "s_sum")}
print(seen, "+Inf:", registry.get_sample_value("h_bucket", {"le": "+Inf"}))
assert (seen["h_count"], seen["s_count"]) == (1, 2) and seen["h_sum"] != seen["h_sum"], "it has changed"
PYTHON
