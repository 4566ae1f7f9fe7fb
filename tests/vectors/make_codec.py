"""Writes tests/vectors/codec.json, or with --check says whether it is what would be written.

The valid vectors are encoded by the Python reference. The words and offsets of the invalid ones stand here by
hand, and the script ends with an error if the reference does not find exactly that.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from mixkit import _codec_py as reference
from mixkit import tagged_json
from mixkit.errors import CodecError
from mixkit.value import INT64_MAX, INT64_MIN, MAX_DEPTH, UNDEF, Case, Ref

VECTORS = Path(__file__).with_name("codec.json")


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


VALID: dict[str, Any] = {
    "undef": UNDEF,
    "null": None,
    "false": False,
    "true": True,
    "int zero": 0,
    "int minus one": -1,
    "int largest small": 2**23 - 1,
    "int smallest small": -(2**23),
    "int64 just above small": 2**23,
    "int64 just below small": -(2**23) - 1,
    "int64 low word all ones": 2**32 - 1,
    "int64 high word only": 2**32,
    "int64 largest": INT64_MAX,
    "int64 smallest": INT64_MIN,
    "number zero": 0.0,
    "number minus zero": -0.0,
    "number one": 1.0,
    "number smallest subnormal": 5e-324,
    "number largest": sys.float_info.max,
    "number beyond 2^53": 2.0**53,
    "number nan": math.nan,
    "number posinf": math.inf,
    "number neginf": -math.inf,
    "string empty": "",
    "string 1 byte": "a",
    "string 3 bytes": "abc",
    "string 4 bytes": "abcd",
    "string 5 bytes": "abcde",
    "string with zero byte": "a\x00b",
    "string 2-byte character": "é",
    "string 3-byte character": "€",
    "string 4-byte character": "𝄞",
    "string around the surrogates": "\ud7ff\ue000",
    "string that looks like an old ref": "{ref}r1",
    "ref": Ref("r1"),
    "ref empty": Ref(""),
    "binary empty": b"",
    "binary": b"\x00\xff\x80",
    "binary not utf-8": b"\xc3\x28\xa0\xa1",
    "array empty": [],
    "array": [1, 2.5, "x", None, True],
    "array of arrays": [[], [[]], [1, [2]]],
    "map empty": {},
    "map of one": {"a": 1},
    "map keys by utf-8 bytes": {"z": 1, "": 0, "é": 2, "a": 3, "ab": 4, "\uffff": 5, "𝄞": 6},
    "map with marked key": {"_rmx_type": "{tag}int", "_rmx_value": "{str}"},
    "case": Case("none"),
    "case with arg": Case("ok", {"id": Ref("r1")}),
    "case with null arg": Case("some", None),
    "case empty name": Case(""),
    "case in case": Case("error", Case("ok", [])),
    "record": {"id": Ref("r1"), "n": 7, "price": 9.5, "tags": ["a", "b"], "blob": b"\x01", "big": 2**40},
    "deepest": nested(MAX_DEPTH),
}

INVALID: dict[str, tuple[str, int]] = {
    "empty": ("", 0),
    "half a word": ("0100", 0),
    "a word and a byte": ("01000000 00", 1),
    "tag 13": ("0d000000", 0),
    "tag 255": ("ff000000", 0),
    "undef with aux": ("00010000", 0),
    "null with aux": ("01010000", 0),
    "bool 2": ("02020000", 0),
    "int64 with aux": ("04010000 00000000 01000000", 0),
    "int64 of small zero": ("04000000 00000000 00000000", 0),
    "int64 of largest small": ("04000000 ffff7f00 00000000", 0),
    "int64 of smallest small": ("04000000 000080ff ffffffff", 0),
    "int64 truncated": ("04000000 00000000", 0),
    "number with aux": ("05010000 00000000 00000000", 0),
    "number truncated": ("05000000", 0),
    "nan negative": ("05000000 00000000 0000f8ff", 0),
    "nan with payload": ("05000000 01000000 0000f87f", 0),
    "nan signalling": ("05000000 01000000 0000f07f", 0),
    "string truncated": ("06050000 61626364", 0),
    "string padding not zero": ("06010000 61000001", 0),
    "string of lone byte": ("06010000 80000000", 0),
    "string overlong": ("06020000 c0800000", 0),
    "string surrogate": ("06030000 eda08000", 0),
    "string beyond unicode": ("06040000 f4908080", 0),
    "string cut character": ("06020000 e2820000", 0),
    "string long form of short length": ("06ffffff 04000000 61626364", 0),
    "string long form without length": ("06ffffff", 0),
    "string long form truncated": ("06ffffff ffffff00 00000000", 0),
    "string of 4 GiB": ("06ffffff ffffffff 00000000", 0),
    "ref not utf-8": ("07010000 ff000000", 0),
    "binary padding not zero": ("08020000 00000100", 0),
    "array truncated": ("09020000 01000000", 0),
    "array of 2^24-2": ("09feffff 01000000", 0),
    "array of 2^32-1": ("09ffffff ffffffff 01000000", 0),
    "array item short of words": ("09020000 06010000 01000000", 1),
    "array counts promise the same words": ("09020000 09020000 01000000 01000000", 1),
    "array of undef": ("09010000 00000000", 1),
    "map truncated": ("0a010000 06000000", 0),
    "map of 2^32-1": ("0affffff ffffffff 06000000 01000000", 0),
    "map key not a string": ("0a010000 03010000 01000000", 1),
    "map key not utf-8": ("0a010000 06010000 ff000000 01000000", 1),
    "map keys repeated": ("0a020000 06010000 61000000 01000000 06010000 61000000 01000000", 4),
    "map keys unsorted": ("0a020000 06010000 62000000 01000000 06010000 61000000 01000000", 4),
    "map keys prefix last": ("0a020000 06020000 61620000 01000000 06010000 61000000 01000000", 4),
    "map of undef": ("0a010000 06000000 00000000", 2),
    "case aux 2": ("0b020000 06000000 01000000", 0),
    "case without name": ("0b000000", 0),
    "case without arg": ("0b010000 06000000", 0),
    "case name not a string": ("0b000000 07000000", 1),
    "case of undef": ("0b010000 06000000 00000000", 2),
    "token": ("0c010000 01000000", 0),
    "trailing word": ("01000000 01000000", 1),
    "trailing words after array": ("09010000 01000000 01000000 01000000", 2),
    "too deep": ("09010000 " * (MAX_DEPTH + 1) + "01000000", MAX_DEPTH + 1),
}


def hex_words(octets: bytes) -> str:
    return octets.hex(" ", 4) if octets else ""


def vectors() -> dict[str, Any]:
    """The whole file."""
    valid = [
        {"name": name, "value": tagged_json.to_json(value), "hex": hex_words(reference.encode(value))}
        for name, value in VALID.items()
    ]
    for vector in valid:
        assert reference.encode(reference.decode(bytes.fromhex(vector["hex"]))).hex(" ", 4) == vector["hex"]
    invalid = []
    for name, (words, offset) in INVALID.items():
        try:
            reference.decode(bytes.fromhex(words))
        except CodecError as exc:
            if exc.offset != offset:
                raise SystemExit(f"{name}: expected offset {offset}, the reference says {exc}") from None
        else:
            raise SystemExit(f"{name}: expected an error, the reference accepts it")
        invalid.append({"name": name, "hex": words.strip(), "offset": offset})
    return {
        "about": "Vectors of the u32 codec, see docs/values.md. hex: the bytes in order. value: tagged JSON. "
        "offset: the word that a decoder names. Written by make_codec.py.",
        "valid": valid,
        "invalid": invalid,
    }


def text() -> str:
    """The file's text: a vector a line."""
    content = vectors()
    rows = {
        part: ",\n".join(json.dumps(row, ensure_ascii=True) for row in content[part])
        for part in ("valid", "invalid")
    }
    return (
        f'{{"about": {json.dumps(content["about"])},\n"valid": [\n{rows["valid"]}\n],\n'
        f'"invalid": [\n{rows["invalid"]}\n]}}\n'
    )


def main() -> None:
    if "--check" not in sys.argv[1:]:
        VECTORS.write_text(text())
    elif VECTORS.read_text() != text():
        raise SystemExit(f"{VECTORS} is not what {__file__} writes; run it without --check")


if __name__ == "__main__":
    main()
