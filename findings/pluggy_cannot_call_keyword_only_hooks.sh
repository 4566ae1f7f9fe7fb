#!/usr/bin/env bash
# pluggy 1.7.0 takes a hook implementation whose parameters are keyword-only, though it always passes them by position: one
# with a default keeps the default whatever the caller passes, and one without fails at its first call, not when it is
# registered.
# Seen: (1, 'default') for a call with two='given', and a TypeError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pluggy==1.7.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import pluggy

print("pluggy", pluggy.__version__)
specification, implementation = pluggy.HookspecMarker("probe"), pluggy.HookimplMarker("probe")

class Specs:
    @specification
    def make(self, one, two): ...

class Defaulted:
    @implementation
    def make(self, one, *, two="default"):
        return one, two

class Required:
    @implementation
    def make(self, *, one):
        return one

def call(plugin):
    manager = pluggy.PluginManager("probe")
    manager.add_hookspecs(Specs)
    manager.register(plugin)
    manager.check_pending()
    try:
        return manager.hook.make(one=1, two="given")[0]
    except TypeError as exc:
        return type(exc).__name__

seen = [call(Defaulted()), call(Required())]
print(seen)
assert seen == [(1, "default"), "TypeError"], "it has changed"
PYTHON
