"""What can go wrong, by what the caller can do about it.

Every error of mixkit is a `MixError`. The message says what was expected, what was found, where, and what to
do; attributes carry the same as data. Plugins derive from these leaves and add attributes, not layers.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "AnswerError",
    "CancelledRun",
    "CodecError",
    "Conflict",
    "EngineError",
    "FFIError",
    "FileConflict",
    "FileError",
    "FilesFull",
    "GrantError",
    "GuestError",
    "InternalError",
    "KeyRingError",
    "LimitExceeded",
    "MessagePackError",
    "MixError",
    "NotFound",
    "PackageError",
    "PathError",
    "PluginError",
    "ProfileError",
    "RunError",
    "TaggedJSONError",
    "ValueKindError",
    "guest_text",
    "printable",
]

MAX_MESSAGE: Final = 16_384
_MAX_REASON: Final = 4_096
MAX_NAME: Final = 256
"""Characters of an error's message, of what a guest says of its failure, and of a name or a frame."""
_MAX_FRAMES: Final = 200


def printable(text: str) -> str:
    """The text on one line, what cannot be printed escaped, so that no stranger forges lines of a log.

    Line and paragraph separators, control characters and those that turn the direction of writing are escaped
    as Python writes them; tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


def guest_text(text: str, most: int) -> str:
    """What a guest wrote, on one line, what cannot be printed escaped, with about `most` characters at most."""
    return printable(shortened(text, most))


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and how much more there was, if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} characters more)"


class MixError(Exception):
    """Root of all errors of mixkit. `code` is a stable short name for programs, the message is for people.

    A message has at most `MAX_MESSAGE` characters and a note of how many were cut off: what is quoted in it may be
    a stranger's, and each message is kept, logged and sent.
    """

    code = "error"

    def __init__(self, *args: object) -> None:
        super().__init__(*(shortened(arg, MAX_MESSAGE) if isinstance(arg, str) else arg for arg in args))


class ValueKindError(MixError, TypeError):
    """A Python object is not a Value. `path` is where it was found, as `$.items[3].when`."""

    code = "value"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(f"{message} at {path}")
        self.path = path


class CodecError(MixError, ValueError):
    """Bytes are not a canonical codec value. `offset` counts 32-bit words from the start of the buffer."""

    code = "codec"

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at word {offset}")
        self.offset = offset


class TaggedJSONError(MixError, ValueError):
    """Text is not tagged JSON, or a value cannot be written as JSON. `path` names the offending place."""

    code = "json"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(f"{message} at {path}")
        self.path = path


class MessagePackError(MixError, ValueError):
    """Bytes are not the MessagePack form of a Value. `path` names the offending place."""

    code = "msgpack"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(f"{message} at {path}")
        self.path = path


class ProfileError(MixError):
    """A profile or a setting is wrong. `where` names the file (or variable, or option) and the key path."""

    code = "profile"

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class PluginError(MixError):
    """A plugin is missing, fails to import, or registers something that it may not. `plugin` is its name."""

    code = "plugin"

    def __init__(self, message: str, plugin: str) -> None:
        super().__init__(f"plugin {plugin!r}: {message}")
        self.plugin = plugin


class RecordError(MixError, ValueError):
    """A record or an id that a database does not take. `path` names the place, as `$[3].owner`."""

    code = "record"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(f"{message} at {path}")
        self.path = path


class Conflict(MixError):
    """A record is no longer as it was when whoever saves or deletes it read it. Nothing of the call is stored.

    Args:
        id: of the record.
        expected: `_rmx_rev` of the version that was read; None if there was none.
        found: that of the newest version; None if the record is unknown.
        path: its place in what was given, as `$[3]`.
    """

    code = "conflict"

    def __init__(self, id: str, expected: str | None, found: str | None, path: str = "$") -> None:
        versions = ["none" if rev is None else f"that of {rev}" for rev in (expected, found)]
        super().__init__(
            f"expected as the newest version of record {id[:80]!r} {versions[0]}, found {versions[1]} at {path}; "
            "somebody else has changed it: read it again and repeat"
        )
        self.id = id
        self.expected = expected
        self.found = found
        self.path = path


class QueryError(MixError):
    """A query that cannot be run: it is malformed or too large, or a parameter is missing or of a wrong kind."""

    code = "query"


class QueryTimeout(QueryError):
    """A query took longer than it may. `seconds` is what it had."""

    code = "query_timeout"

    def __init__(self, seconds: float, remedy: str = "") -> None:
        super().__init__(f"expected the query to end within {seconds:g} s{'; ' if remedy else ''}{remedy}")
        self.seconds = seconds


class QueryTooLarge(QueryError):
    """A query would hold more in memory than it may. `most` is how many bytes that are."""

    code = "query_too_large"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"expected the query to hold at most {most} bytes of rows at once; narrow its filter, or put limit behind "
            "order"
        )
        self.most = most


class QueryCancelled(QueryError):
    """A query was cancelled, or its database closed, while it ran."""

    code = "query_cancelled"


class StorageError(MixError):
    """A database cannot be opened, read or written; the message says what is wrong and what to do."""

    code = "storage"


class DatabaseGone(StorageError):
    """A database that was open has been removed, because its app was deleted. What is asked of it is not done."""

    code = "not_found"

    def __init__(self) -> None:
        super().__init__(
            "the database is closed and gone, as when its app is deleted; look the app up again, there may be another"
        )


class QuotaExceeded(StorageError):
    """A database is as large as it may become; nothing is stored. The message says what is taken, and what is allowed.

    `used` and `allowed` are in bytes.
    """

    code = "quota"

    def __init__(self, used: int, more: int, allowed: int, setting: str) -> None:
        super().__init__(
            f"expected a database of at most {allowed} bytes, found {used}, and {more} that are to be stored; "
            f"delete records and compact it without history, or raise {setting} in the profile"
        )
        self.used = used
        self.allowed = allowed


class FileError(MixError):
    """A file cannot be read or written, or is refused; the message says what is wrong and what to do."""

    code = "file"


class PathError(FileError, ValueError):
    """A path that no file of an app can have; see `mixkit.paths`."""

    code = "path"


class FileConflict(FileError):
    """A file is not, or not any more, as whoever reads or writes it wants it to be. Nothing is done.

    Args:
        path: of the file.
        expected: its ETag; empty if there should be none.
        found: that of the file that is there; None if there is none, or it is not known.
    """

    code = "conflict"

    def __init__(self, path: str, expected: str, found: str | None) -> None:
        wanted = (
            f"the file {path!r:.200} with the ETag {expected!r:.80}" if expected else f"no file {path!r:.200}"
        )
        there = f"one with the ETag {found!r:.80}" if found else "none, or another one"
        super().__init__(
            f"expected {wanted}, found {there if expected else 'one'}; "
            + ("read it again and repeat" if expected else "take another path, or replace it with force")
        )
        self.path = path
        self.expected = expected
        self.found = found


class FilesFull(FileError):
    """An app has as much in files as it may have; nothing is stored.

    `used` and `allowed` are in `unit`: bytes, or files.
    """

    code = "quota"

    def __init__(self, used: int, more: int, allowed: int, unit: str, setting: str) -> None:
        super().__init__(
            f"expected at most {allowed} {unit} in the files of the app, found {used}, and {more} that are to be "
            f"stored; delete files, or raise {setting} in the profile"
        )
        self.used = used
        self.allowed = allowed
        self.unit = unit


class KeyRingError(MixError):
    """A master key is missing, unusable, or not the one that something was sealed with. No message shows a key."""

    code = "keyring"


class PackageError(MixError):
    """A `.remix` package is refused. `entry` names the part of it that is wrong, where there is one."""

    code = "package"

    def __init__(self, message: str, entry: str = "") -> None:
        super().__init__(f"{entry}: {message}" if entry else message)
        self.entry = entry


class AnswerError(MixError):
    """Code answered what its manifest does not declare: the result is not of the type of its `outParams`."""

    code = "answer"


class EngineError(MixError):
    """Code that an engine cannot compile, link or instantiate: it is malformed or asks for too much."""

    code = "engine"


class NotFound(MixError):
    """A name that does not exist here: an entry, an app, a profile, an FFI. The message lists what exists."""

    code = "not_found"


class FFIError(MixError):
    """A host function refuses or fails. FFIs raise it with a message that is meant for the agent."""

    code = "ffi"


class GrantError(MixError):
    """An agent called for a power that its package did not request or its installation did not grant."""

    code = "grant"


class LimitExceeded(MixError):
    """A run used up one of its limits.

    Args:
        limit: name of the limit, a field of `mixkit.limits.Limits`.
        value: what the limit is set to, in its own unit.
        unit: that unit, for the message.
    """

    code = "limit"

    def __init__(self, limit: str, value: float, unit: str = "", detail: str = "") -> None:
        extra = f" ({detail})" if detail else ""
        shown = f"{value:g}" if isinstance(value, float) else f"{value}"
        super().__init__(
            f"limit {limit} of {shown}{' ' + unit if unit else ''} exceeded{extra}; "
            f"raise it with limits.{limit} in the profile or MIXKIT_LIMITS_{limit.upper()}"
        )
        self.limit = limit
        self.value = value


class CancelledRun(MixError):
    """The run was cancelled from outside, because its caller went away or the server is stopping."""

    code = "cancelled"


class GuestError(MixError):
    """The guest itself failed: it trapped, broke the guest interface, or answered something unreadable.

    `trap` is the engine's name for the trap (`"unreachable"`, `"stack_overflow"` …) or None; `backtrace` is a
    list of frames, innermost first. Message and frames are one line each and short, whatever the guest wrote.
    """

    code = "guest"

    def __init__(self, message: str, *, trap: str | None = None, backtrace: list[str] | None = None) -> None:
        super().__init__(guest_text(message, _MAX_REASON))
        self.trap = trap
        self.backtrace = _frames(backtrace)


class RunError(MixError):
    """A run ended in a Panic. The cause (`__cause__`) is the error that ended it.

    `agent` names the entry, `panic_code` is the cause's `code`, `backtrace` the guest's frames if known.
    """

    code = "run_error"

    def __init__(
        self, message: str, *, agent: str, panic_code: str, backtrace: list[str] | None = None
    ) -> None:
        super().__init__(message)
        self.agent = agent
        self.panic_code = panic_code
        self.backtrace = _frames(backtrace)

    def to_dict(self) -> dict[str, Any]:
        """The `run_error` object of the server's error format (server-api, "Conventions")."""
        return {
            "message": str(self),
            "code": self.panic_code,
            "backtrace": list(self.backtrace),
            "agent": self.agent,
        }


def _frames(backtrace: list[str] | None) -> list[str]:
    return [guest_text(frame, MAX_NAME) for frame in (backtrace or ())[:_MAX_FRAMES]]


class InternalError(MixError):
    """A fault of mixkit or of a plugin, not of the caller: an illegal transition, an unexpected exception."""

    code = "internal"
