#!/usr/bin/env bash
# A server must take `GET http://host/path HTTP/1.1` (absolute form, RFC 9112, section 3.2.2), which proxies send. uvicorn
# 0.54.0 with httptools 0.9.0 gives the application /path but refuses http://host without one; with h11 0.16.0, and
# gunicorn 27.0.1 with its own ASGI worker, the whole URL is the path, so no route is found.
# Seen: see EXPECTED.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0 gunicorn==27.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import pathlib, socket, subprocess, sys, time
from importlib.metadata import version

pathlib.Path("probe.py").write_text("""
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind.endswith("shutdown"):
                return
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
""")
SERVERS = {
    "uvicorn httptools": ["-m", "uvicorn", "probe:app", "--http", "httptools", "--port", "{port}"],
    "uvicorn h11": ["-m", "uvicorn", "probe:app", "--http", "h11", "--port", "{port}"],
    "gunicorn asgi": ["-m", "gunicorn", "probe:app", "-k", "asgi", "-b", "127.0.0.1:{port}"],
}
EXPECTED = {
    "uvicorn httptools": ["/path", "Invalid HTTP request received."],
    "uvicorn h11": ["http://host/path", "http://host"],
    "gunicorn asgi": ["http://host/path", "http://host"],
}

def ask(port, target):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()

print(*(f"{name} {version(name)}" for name in ("uvicorn", "httptools", "h11", "gunicorn")))
for name, command in SERVERS.items():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(port=port) for word in command]
    server = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        seen = [ask(port, target) for target in ("http://host/path", "http://host")]
    finally:
        server.terminate()
        server.wait()
    print(name, seen)
    assert seen == EXPECTED[name], "it has changed"
PYTHON
