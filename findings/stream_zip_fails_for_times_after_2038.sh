#!/usr/bin/env bash
# stream-zip 0.0.84: a time of a member is kept as that of MS-DOS, which reaches to 2107, and as the signed 32 bits
# of the extended timestamp beside it, which end in January 2038. A later time is an error of `struct`, in the midst
# of the archive, unless extended_timestamps=False leaves them away; zipfile writes and reads such a time.
# Seen: struct.error for 2040, 2040-01-01 for the same with extended_timestamps=False, and from zipfile.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check stream-zip==0.0.84
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import io, struct, zipfile
from datetime import datetime
from importlib.metadata import version

from stream_zip import ZIP_32, stream_zip

print("stream-zip", version("stream-zip"))

def time(moment, **options):
    try:
        archive = b"".join(stream_zip([("a", moment, 0o100644, ZIP_32, [b"text"])], **options))
    except struct.error as exc:
        return f"struct.error: {exc}"
    return zipfile.ZipFile(io.BytesIO(archive)).infolist()[0].date_time[:3]

late = datetime(2040, 1, 1)
seen = [time(datetime(2037, 12, 31)), time(late), time(late, extended_timestamps=False)]
other = io.BytesIO()
with zipfile.ZipFile(other, "w") as archive:
    archive.writestr(zipfile.ZipInfo("a", late.timetuple()[:6]), b"text")
seen.append(zipfile.ZipFile(other).infolist()[0].date_time[:3])
print(seen)
assert seen[1].startswith("struct.error"), "it has changed"
assert [seen[0], *seen[2:]] == [(2037, 12, 31), (2040, 1, 1), (2040, 1, 1)], "it has changed"
PYTHON
