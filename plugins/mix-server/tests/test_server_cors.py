"""Scripts of other sites: those that the operator names may ask, with a token, and no others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from mix_server.server import Server

from mixkit.errors import ProfileError

ORIGIN, OTHER = "https://app.example.org", "https://evil.example.org"
Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def preflight(client: httpx.AsyncClient, path: str, origin: str, method: str = "PUT") -> object:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return client.options(path, headers={**headers, "Access-Control-Request-Headers": "authorization"})


def allowed(answer: httpx.Response) -> str | None:
    found: str | None = answer.headers.get("access-control-allow-origin")
    return found


async def test_a_preflight_needs_no_token_and_tells_nothing(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(cors_origins=[ORIGIN]), None) as stranger:
        answers = [
            await preflight(stranger, path, ORIGIN)
            for path in (
                "/v1/ws",
                "/v1/ws/w/app/demo/documents",
                "/v1/ws/none/app/none",
                "/nothing",
                "/healthz",
            )
        ]
        for answer in answers:
            assert (answer.status_code, answer.content, allowed(answer)) == (204, b"", ORIGIN)
            assert "authorization" in answer.headers["access-control-allow-headers"].lower()
            assert "PATCH" in answer.headers["access-control-allow-methods"]
            assert "Origin" in answer.headers["vary"]
            assert "access-control-allow-credentials" not in answer.headers
        same = [{k: v for k, v in each.headers.items() if k != "x-request-id"} for each in answers]
        assert all(each == same[0] for each in same)
        refused = await preflight(stranger, "/v1/ws", OTHER)
        assert (refused.status_code, allowed(refused)) == (401, None)
        # Without the question it is a request as any other.
        assert (await stranger.options("/v1/ws", headers={"Origin": ORIGIN})).status_code == 401


async def test_an_answer_is_for_that_origin_alone(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(cors_origins=[ORIGIN])) as client:
        for path, status in (("/v1/ws", 200), ("/v1/ws/none", 404), ("/nothing", 404)):
            answer = await client.get(path, headers={"Origin": ORIGIN})
            assert (answer.status_code, allowed(answer)) == (status, ORIGIN)
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answer.headers
            for headers in ({"Origin": OTHER}, {"Origin": "null"}, {"Origin": f"{ORIGIN}.evil.org"}, {}):
                other = await client.get(path, headers=headers)
                assert (other.status_code, allowed(other), other.headers["vary"]) == (status, None, "Origin")


async def test_every_origin(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(cors_origins=["*"])) as client:
        answer = await client.get("/v1/ws", headers={"Origin": OTHER})
        assert (allowed(answer), "access-control-allow-credentials" in answer.headers) == ("*", False)
        assert (await preflight(client, "/v1/ws", OTHER)).status_code == 204


async def test_none_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/ws", headers={"Origin": ORIGIN})
    assert (allowed(answer), "vary" in answer.headers) == (None, False)
    assert (await preflight(client, "/v1/ws", ORIGIN)).status_code == 200


async def test_a_session_is_not_for_other_sites(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(cors_origins=[ORIGIN])) as client:
        begun = await client.post("/v1/auth/session")
        cookie = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
        del client.headers["Authorization"]
        client.cookies.clear()
        assert (await client.get("/v1/ws", headers=cookie)).status_code == 200
        assert (await client.get("/v1/ws", headers={**cookie, "Origin": ORIGIN})).status_code == 403


async def test_without_authentication_a_page_that_is_named_may_ask(
    make_server: Make, connect: Connect
) -> None:
    page = "http://localhost:5173"
    async with connect(make_server(no_auth=True, token=None, cors_origins=[page]), None) as client:
        headers = {"Origin": page, "Sec-Fetch-Site": "same-site"}
        answer = await client.get("/v1/ws", headers=headers)
        assert (answer.status_code, allowed(answer)) == (200, page)
        for other in ("http://localhost:5174", OTHER, "null"):
            answer = await client.get("/v1/ws", headers={**headers, "Origin": other})
            assert (answer.status_code, allowed(answer)) == (403, None)
        del headers["Origin"]
        assert (await client.get("/v1/ws", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "origin",
    ["", "null", "app.example.org", "https://app.example.org/", "https://App.example.org", "https://a.org:443",
     "http://a.org:80", "https://a.org/path", "https://*.example.org", "ftp://a.org", "https://user@a.org", "https://a.org\n"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(make_server: Make, origin: str) -> None:
    with pytest.raises(ProfileError, match="cors_origins"):
        make_server(cors_origins=[origin])


def test_no_authentication_is_not_for_all_pages(make_server: Make) -> None:
    with pytest.raises(ProfileError, match="authentication"):
        make_server(no_auth=True, token=None, cors_origins=["*"])
