#!/usr/bin/env bash
# aiohttp 3.14.5: `ClientResponse.links` takes the relations of a link for one name, where RFC 8288 (section 3.3) has a list
# of them between spaces; so who follows `next` stops at the page before the last.
# Seen: rel="next last" is found under the name 'next last' only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import aiohttp
from aiohttp import web

async def main():
    print("aiohttp", aiohttp.__version__)
    async def answer(request):
        return web.Response(headers={"Link": '</1>; rel=prev, </9>; rel="next last"'})
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
        seen = {name: link["url"].path for name, link in response.links.items()}
    await runner.cleanup()
    print(seen)
    assert seen == {"prev": "/1", "next last": "/9"}, "it has changed"

asyncio.run(main())
PYTHON
