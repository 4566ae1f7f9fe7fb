"""A secret read by `$secrets_get`, through the dispatch of FFIs, beside AESGCM over a row of SQLite by hand, and beside
Fernet over the same row.

    python benchmarks/bench_secrets.py [--json] [--repeats N]

The contenders take turns, all of one table comes from one run. The goal: 50 µs.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mixkit import Kernel, codec
from mixkit.environment import Env
from mixkit.grants import ALL
from mixkit.limits import Budget
from mixkit.state import State
from mixkit.storage import Place

SECRETS = 1_000
READS = 900  # a run holds 1,000 handles
GOAL = 50.0
VALUE = b"sk_live_" + b"x" * 32


def by_hand(folder: Path, seal: Callable[[bytes], bytes]) -> sqlite3.Connection:
    """A table of sealed values, as anybody would make one."""
    db = sqlite3.connect(folder / f"{id(seal)}.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute("CREATE TABLE secrets (user TEXT, name TEXT, sealed BLOB, PRIMARY KEY (user, name))")
    rows = [("ada", f"name{number}", seal(VALUE)) for number in range(SECRETS)]
    with db:
        db.executemany("INSERT INTO secrets VALUES (?, ?, ?)", rows)
    return db


def timed(read: Callable[[int], Any]) -> float:
    """Microseconds of one read."""
    began = time.perf_counter()
    for number in range(READS):
        read(number % SECRETS)
    return (time.perf_counter() - began) / READS * 1e6


def measure(folder: Path, repeats: int) -> dict[str, float]:
    home = folder / "main" / "shop.1" / "data"
    home.parent.mkdir(parents=True)
    cipher, fernet = AESGCM(os.urandom(32)), Fernet(Fernet.generate_key())

    def seal(value: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + cipher.encrypt(nonce, value, b"ada")

    aesgcm_db, fernet_db = by_hand(folder, seal), by_hand(folder, fernet.encrypt)
    query = "SELECT sealed FROM secrets WHERE user = ? AND name = ?"
    with Kernel("all") as kernel:
        kernel.keep_keys(folder)
        names = [f"name{number}" for number in range(SECRETS)]
        words = [codec.encode([name]) for name in names]

        def state() -> State:
            place = Place("main", "shop", home)
            env = Env(user="ada", workspace="main", app="shop")
            return State(env=env, services=kernel, place=place, grants=ALL, budget=Budget(kernel.limits))

        from mix_secrets.vaults import name_of, vault_of

        first = state()
        for name in names:
            vault_of(first).put(name_of(first, "secret", name), VALUE)

        def ours() -> float:
            run = state()
            return timed(lambda number: kernel.ffis.dispatch(run, b"$secrets_get", words[number]))

        def aesgcm(number: int) -> bytes:
            (sealed,) = aesgcm_db.execute(query, ("ada", names[number])).fetchone()
            return cipher.decrypt(sealed[:12], sealed[12:], b"ada")

        def with_fernet(number: int) -> bytes:
            (sealed,) = fernet_db.execute(query, ("ada", names[number])).fetchone()
            return fernet.decrypt(sealed)

        contenders: dict[str, Callable[[], float]] = {
            "$secrets_get": ours,
            "AESGCM and sqlite3 by hand": lambda: timed(aesgcm),
            "Fernet and sqlite3 by hand": lambda: timed(with_fernet),
        }
        found: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(repeats):
            for name, contender in contenders.items():
                found[name].append(contender())
    aesgcm_db.close()
    fernet_db.close()
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="A secret read, beside the same by hand.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.repeats)
    if options.json:
        print(json.dumps({"microseconds": found, "goal": GOAL}))
        return
    for name, microseconds in found.items():
        print(f"{name:30} {microseconds:8.1f} µs")
    print(f"goal: {GOAL:.0f} µs, {'met' if found['$secrets_get'] <= GOAL else 'missed'}")


if __name__ == "__main__":
    main()
