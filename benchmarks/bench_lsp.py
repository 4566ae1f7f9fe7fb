"""The language server of Mix, as an editor sees it: from a keystroke in 1,000 lines to diagnostics, and to completions.

Prints the median and the slowest of some, in milliseconds. The server is a process of its own, over pipes.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from mix_dev.testing import Client

FUNCTION = """  def f{n}(a, b) =
    let x = a + {n};
    let y = array.map(n -> n * x + b, [1, 2, 3]);
    if (x > {n})
      {{sum: x, all: y, name: "f{n}"}}
    else
      {{sum: b, all: [], name: string.length("abc")}}

"""
LINES = 1_000
TIMES = 30


def main() -> None:
    functions = [FUNCTION.format(n=number) for number in range(LINES // FUNCTION.count("\n"))]
    head, end = (
        "module big(p: data)\n  import array\n  import string\n",
        "  cell output = f1(1, 2)\nmodule end\n",
    )
    text = "".join([head, *functions, end])
    line = text[: text.index("let x = a + 60;")].count("\n")
    position = {"line": line, "character": len("    let x = a + 60")}
    checks, completions = [], []
    with TemporaryDirectory() as folder, Client() as client:
        uri = f"file://{Path(folder)}/big.mix"
        client.open(uri, text)
        for version in range(2, TIMES + 2):
            began = time.perf_counter()
            typed = " + string." if version == 2 else "x"
            client.change(uri, version, {"range": {"start": position, "end": position}, "text": typed})
            position = {"line": line, "character": position["character"] + len(typed)}
            client.ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": position})
            completions.append(time.perf_counter() - began)
            began = time.perf_counter()
            client.change(uri, version + 1000, {"range": {"start": position, "end": position}, "text": "y"})
            position = {"line": line, "character": position["character"] + 1}
            client.checked(uri, version + 1000)
            checks.append(time.perf_counter() - began)
            # What the server does after that is no part of the next keystroke.
            time.sleep(0.2)
    for name, found in (("diagnostics", checks), ("completion", completions)):
        print(f"{name}: {statistics.median(found) * 1000:.1f} ms, at most {max(found) * 1000:.1f} ms")


if __name__ == "__main__":
    main()
