#!/usr/bin/env bash
# quickjs-ng 0.17.0.2 (the Python package): a function of Python that raises throws in JavaScript, as is right, and a script
# may catch it; the Python error stays set behind it. So the next function of Python that the script calls runs and fails,
# with which nothing is wrong, and a script that calls none ends with a SystemError in place of its result.
# Seen: "Python call failed" of a function that only appends; SystemError "returned a result with an exception set".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check quickjs-ng==0.17.0.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import quickjs


def look_up(name):
    raise KeyError(name)


told = []
context = quickjs.Context()
context.add_callable("lookUp", look_up)
context.add_callable("tell", lambda word: told.append(word))
catches = "let found; try { found = lookUp('a') } catch (error) { found = 'none' } "


def result(script):
    try:
        return "result", context.eval(script)
    except (SystemError, quickjs.JSException) as exc:
        return type(exc).__name__, str(exc).splitlines()[0]


print("quickjs-ng", version("quickjs-ng"))
alone = result("tell('before')")
after = result("{ " + catches + "tell('after') }")
none = result("{ " + catches + "found }")
print("alone:", alone, "- after an error that was caught:", after, "- told:", told)
print("the value of a script that caught one:", none)
assert alone == ("result", None) and "before" in told, "it has changed"
assert after == ("JSException", "InternalError: Python call failed."), "it has changed"
assert none[0] == "SystemError" and "returned a result with an exception set" in none[1], "it has changed"
PYTHON
