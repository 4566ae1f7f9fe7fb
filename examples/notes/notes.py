"""Notes in a database, from plain Python: what the guest beside this file does, without a kernel around it.

python notes.py FOLDER add TITLE TEXT [--tag TAG]…
python notes.py FOLDER search [WORD]… [--tag TAG]… [--limit N]
python notes.py FOLDER tag ID [--add TAG]… [--remove TAG]…
python notes.py FOLDER summary
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from mix_db import Database
from mix_db.query.builder import field

from mixkit import Ref, tagged_json

__all__ = ["Notes", "split"]

NOTE = field("_rmx_type") == "note"
MOST_TAGS = 100

_WORD = re.compile(r"[0-9a-z\x80-\U0010ffff]+")
_MOST_WORD = 64
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def split(text: str) -> list[str]:
    """The different words of a text, in order; ASCII letters are in lower case."""
    found = set(_WORD.findall(text.translate(_LOWER)))
    return sorted(word for word in found if len(word.encode()) <= _MOST_WORD)


class Notes:
    """The notes in a database. `id` of a note is a Ref."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, title: str, text: str, tags: Iterable[str] = ()) -> dict[str, Any]:
        """Keep a note, and answer it as it is kept."""
        words = split(f"{title} {text}")
        return _note(
            self._database.save(
                {
                    "_rmx_type": "note",
                    "title": title,
                    "text": text,
                    "tags": _tags(tags),
                    "words": words,
                    "size": len(words),
                    "created": int(time.time() * 1000),
                }
            )
        )

    def search(self, words: str = "", tags: Iterable[str] = (), limit: int = 20) -> list[dict[str, Any]]:
        """Notes that have all these words and tags, the newest first."""
        condition = NOTE
        for word in split(words):
            condition &= field("words").contains(word)
        for tag in tags:
            condition &= field("tags").contains(tag)
        return [_note(row) for row in self._database.query(condition.order_desc("created").limit(limit))]

    def tag(self, id: Ref | str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> dict[str, Any]:
        """Give a note tags, take tags from it, and answer it.

        Raises:
            KeyError: there is no such note.
        """
        note = self._database.get(id)
        if note is None or note.get("_rmx_type") != "note":
            raise KeyError(f"no note {id}")
        gone = set(remove)
        tags = _tags([*(tag for tag in note["tags"] if tag not in gone), *add])
        return _note(self._database.upsert({"_rmx_id": note["_rmx_id"], "tags": tags}))

    def summary(self) -> dict[str, Any]:
        """How many notes there are, how many different words they have on average, how often each tag is used,
        and the titles of the newest."""
        [totals] = self._database.query(NOTE.count().avg("size"))
        tagged = self._database.query(NOTE.project("tags"))
        newest = self._database.query(NOTE.order_desc("created").limit(3).project("title"))
        return {
            "notes": totals["count"],
            "words": totals["avg"],
            "tags": dict(sorted(Counter(tag for row in tagged for tag in row["tags"]).items())),
            "newest": [row["title"] for row in newest],
        }


def _tags(tags: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(tags))
    if len(found) > MOST_TAGS:
        raise ValueError(f"tags: expected at most {MOST_TAGS}, found {len(found)}")
    return found


def _note(record: dict[str, Any]) -> dict[str, Any]:
    return {"id": record["_rmx_id"], **{name: record[name] for name in ("title", "text", "tags")}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", help="of the database; made if it is not there")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add")
    add.add_argument("title")
    add.add_argument("text")
    add.add_argument("--tag", dest="tags", action="append", default=[])
    search = commands.add_parser("search")
    search.add_argument("words", nargs="*")
    search.add_argument("--tag", dest="tags", action="append", default=[])
    search.add_argument("--limit", type=int, default=20)
    tag = commands.add_parser("tag")
    tag.add_argument("id")
    tag.add_argument("--add", action="append", default=[])
    tag.add_argument("--remove", action="append", default=[])
    commands.add_parser("summary")
    options = vars(parser.parse_args())
    folder, command = options.pop("folder"), options.pop("command")
    if "words" in options:
        options["words"] = " ".join(options["words"])
    with Database(folder) as database:
        answer = getattr(Notes(database), command)(**options)
    sys.stdout.write(json.dumps(tagged_json.to_json(answer), ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    main()
