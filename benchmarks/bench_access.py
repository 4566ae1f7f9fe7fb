"""What it costs to admit a request: a token that was seen, one that was not, and the grants of 10,000 subjects.

    python benchmarks/bench_access.py

Beside it: the verification of the signature alone, by `cryptography` and by joserfc. Processor time of this process.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey
from mix_server.auth import admit
from mix_server.caller import Permission, Resource
from mix_server.server import Server

from mixkit.kernel import Kernel
from mixkit.storage import SaveOptions

SUBJECTS = 10_000
ROUNDS = 5
TOKENS = 400
ABOUT = Resource("w", "app77", "agent")


def best(work: Callable[[], Any], times: int) -> float:
    """Microseconds of one call, the best of some rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - began) / times * 1e6)
    return min(found)


def provider(key: ECKey) -> str:
    """A key set on loopback; answers its URL."""
    body = json.dumps({"keys": [key.as_dict(private=False)]}).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def filled(server: Server) -> None:
    """A workspace with a grant for each of many users."""
    server.store.create("w")
    records = [
        {"_rmx_id": f"grant:{n:016x}", "_rmx_type": "grant", "subject": f"user/u{n}@example.org", "role": "runner",
         "resource": f"agent/app{n % 100}/agent"}
        for n in range(SUBJECTS)
    ]  # fmt: skip
    with server.store.workspace("w").writing() as database:
        database.save(records, SaveOptions(original_id_always=True))


def main() -> None:
    key = ECKey.generate_key("P-256", {"kid": "one"})

    def token(number: int) -> str:
        claims = {
            "sub": str(number),
            "email": "u77@example.org",
            "aud": "bench",
            "exp": int(time.time()) + 3600,
        }
        return jwt.encode({"alg": "ES256", "kid": "one"}, claims | {"n": number}, key, algorithms=["ES256"])

    with tempfile.TemporaryDirectory() as folder:
        overrides = {
            "settings.server.ws_dir": folder,
            "settings.server.token": "a-token-of-some-length",
            "settings.server.jwks_url": provider(key),
            "settings.server.jwt_audience": "bench",
        }
        with Kernel("agent_server", overrides=overrides) as kernel:
            server = Server(kernel)
            filled(server)
            loop = asyncio.new_event_loop()

            def ask(text: str) -> Callable[[], Any]:
                request: Any = SimpleNamespace(auth=f"Bearer {text}")
                return lambda: loop.run_until_complete(
                    admit(server.authorizer, request, Permission.RUN, ABOUT)
                )

            began = time.process_time()
            ask(token(0))()
            first = (time.process_time() - began) * 1e3
            nothing = best(lambda: loop.run_until_complete(asyncio.sleep(0)), 2_000)
            seen = best(ask(token(0)), 2_000)
            new = []
            for number in range(TOKENS):
                work = ask(token(number + 1))
                began = time.process_time()
                work()
                new.append((time.process_time() - began) * 1e6)
            operator = best(ask("a-token-of-some-length"), 2_000)

    made = token(0)
    alone = best(lambda: jwt.decode(made, key, algorithms=["ES256"]), 200)
    private = ec.generate_private_key(ec.SECP256R1())
    signature, public = private.sign(b"x" * 200, ec.ECDSA(hashes.SHA256())), private.public_key()
    bare = best(lambda: public.verify(signature, b"x" * 200, ec.ECDSA(hashes.SHA256())), 200)
    print(f"grants of {SUBJECTS} subjects, read for the first time: {first:.0f} ms")
    print(
        f"admitted, JWT seen before: {seen - nothing:.1f} us (of which nothing is the loop's own {nothing:.1f})"
    )
    print(f"admitted, operator's token: {operator - nothing:.1f} us")
    print(
        f"admitted, JWT not seen before (ES256): {sorted(new)[len(new) // 2] - nothing:.0f} us, median of {TOKENS}"
    )
    print(f"jwt.decode of joserfc alone: {alone:.0f} us; verify of cryptography alone: {bare:.0f} us")


if __name__ == "__main__":
    main()
