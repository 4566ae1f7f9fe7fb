#!/usr/bin/env bash
# croniter 7.0.0: where clocks go back, a job of a fixed hour runs twice, once in each pass of the hour; where half an
# hour is repeated, one of each twenty minutes does not run in the second pass. cron(8), from which the form is: jobs at
# a particular time that fall into the repeated time are not run again, those with `*` in the hour or the minute run as
# time passes. cronsim 2.8 does both so.
# Seen: 30 2 * * * runs twice on 25 October 2026 in Berlin; */20 leaves out 1:40 of the second pass on Lord Howe Island.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8 tzdata==2026.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime
from importlib.metadata import version
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

print("croniter", version("croniter"), "cronsim", version("cronsim"))


def runs(expression, begin, count):
    """The next times of both libraries, with their offsets."""
    first, second = croniter(expression, begin), CronSim(expression, begin)
    found = (
        [f"{first.get_next(datetime):%d %H:%M %z}" for _ in range(count)],
        [f"{next(second):%d %H:%M %z}" for _ in range(count)],
    )
    print(expression, "croniter", found[0], "cronsim", found[1])
    return found


summer = runs("30 2 * * *", datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")), 2)
assert summer[0] == summer[1] == ["01 02:30 +0200", "02 02:30 +0200"]
berlin = runs("30 2 * * *", datetime(2026, 10, 24, 3, tzinfo=ZoneInfo("Europe/Berlin")), 2)
assert berlin[0] == ["25 02:30 +0200", "25 02:30 +0100"], "it has changed"
assert berlin[1] == ["25 02:30 +0200", "26 02:30 +0100"]
howe = runs("*/20 * * * *", datetime(2026, 4, 5, 1, tzinfo=ZoneInfo("Australia/Lord_Howe")), 4)
assert howe[0] == ["05 01:20 +1100", "05 01:40 +1100", "05 02:00 +1030", "05 02:20 +1030"], "it has changed"
assert howe[1] == ["05 01:20 +1100", "05 01:40 +1100", "05 01:40 +1030", "05 02:00 +1030"]
PYTHON
