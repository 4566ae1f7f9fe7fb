"""An identity provider on loopback for tests: it rotates refresh tokens, and takes the use of an old one for theft."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT, SECRET = "mixkit tests", "a secret: 100% + more"


class IdentityProvider:
    """Serves discovery, keys, tokens and userinfo of one user; what it does wrong can be set.

    Attributes:
        url: its issuer.
        lifetime: seconds of an access token.
        grants: how often tokens were given, by kind of grant.
        requests: the forms that came to the token endpoint, and what it was told of tokens that are not used any more.
        revoked: families of refresh tokens that were used twice.
        answers: what the next requests to the token endpoint get instead: a status, or a status and a body.
        before_answer: called when new tokens are made, before they are sent.
        claims: of ID tokens, over the usual ones; `said`: of userinfo; `metadata`: of discovery.
    """

    def __init__(self, port: int = 0) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "one"})
        self.lifetime: Any = 3600
        self.rotates = True
        self.grants: dict[str, int] = {}
        self.requests: list[dict[str, str]] = []
        self.revoked: set[str] = set()
        self.answers: list[Any] = []
        self.before_answer: Callable[[], None] = lambda: None
        self.pause = 0.0
        self.claims: dict[str, Any] = {}
        self.said: dict[str, Any] = {"sub": "42", "email": "ada@example.org", "name": "Ada"}
        self.metadata: dict[str, Any] = {}
        self.more: dict[str, Any] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._access: set[str] = set()
        # By refresh token: its family, and whether it was used.
        self._refresh: dict[str, tuple[str, bool]] = {}
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close it."""
        self.server.shutdown()
        self.server.server_close()

    def config(self, **changes: Any) -> dict[str, Any]:
        """A configuration for it, as `PUT …/auth-configs/{name}` takes it."""
        return {
            "kind": "oidc",
            "issuer": self.url,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scopes": ["openid", "email"],
        } | changes

    def consent(self, url: str, **changes: Any) -> dict[str, str]:
        """The user says yes at the authorization endpoint: the parameters of the callback."""
        asked = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self._codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.url, "session_state": "x"} | changes
        return {key: value for key, value in answer.items() if value is not None}

    @property
    def refreshes(self) -> int:
        """How often tokens were refreshed."""
        return self.grants.get("refresh_token", 0)

    def expire(self) -> None:
        """All access tokens end."""
        self._access.clear()

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        if path == "/.well-known/openid-configuration":
            found = {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize?tenant=1",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
                "revocation_endpoint": f"{self.url}/revoke",
                "authorization_response_iss_parameter_supported": True,
            }
            self._send(handler, 200, found | self.metadata)
        elif path == "/keys":
            self._send(handler, 200, {"keys": [self.key.as_dict(private=False)]})
        elif path == "/userinfo":
            token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
            self._send(handler, 200 if token in self._access else 401, self.said)
        else:
            self._send(handler, 404, {})

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        form = {key: values[0] for key, values in parse_qs(data).items()}
        with self._lock:
            self.requests.append(form)
            answer = self.answers.pop(0) if self.answers else None
            status, body = (
                (200, {}) if answer is None else answer if isinstance(answer, tuple) else (answer, {})
            )
            if answer is None:
                status, body = self._answer(handler, form)
        time.sleep(self.pause)
        if status == 200:
            self.before_answer()
        self._send(handler, status, body)

    def _answer(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> tuple[int, Any]:
        basic = (handler.headers.get("Authorization") or "").removeprefix("Basic ")
        if basic:
            client, _, secret = base64.b64decode(basic).decode().partition(":")
            client, secret = unquote_plus(client), unquote_plus(secret)
        else:
            client, secret = form.get("client_id", ""), form.get("client_secret", "")
        if (client, secret) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        if handler.path == "/revoke":
            self._access.discard(form["token"])
            family, _ = self._refresh.get(form["token"], ("", True))
            self.revoked.add(family)
            return 200, ""
        kind = form["grant_type"]
        if kind == "authorization_code":
            asked = self._codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            fits = asked is not None and asked["code_challenge"] == challenge
            if asked is None or not fits or asked["redirect_uri"] != form["redirect_uri"]:
                return 400, {"error": "invalid_grant"}
            family, nonce = secrets.token_hex(4), asked.get("nonce")
        else:
            family, used = self._refresh.get(form["refresh_token"], ("", True))
            if used:
                self.revoked.add(family)
            if used or family in self.revoked:
                return 400, {"error": "invalid_grant"}
            nonce = None
            if self.rotates:
                self._refresh[form["refresh_token"]] = (family, True)
        self.grants[kind] = self.grants.get(kind, 0) + 1
        access = secrets.token_urlsafe()
        self._access.add(access)
        answer: dict[str, Any] = {"access_token": access, "token_type": "bearer", "expires_in": self.lifetime}
        if kind == "authorization_code" or self.rotates:
            answer["refresh_token"] = secrets.token_urlsafe()
            self._refresh[answer["refresh_token"]] = (family, False)
        if nonce is not None:
            answer["id_token"] = self._id_token(access, nonce)
        return 200, answer | self.more

    def _id_token(self, access: str, nonce: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims = {
            "iss": self.url,
            "sub": "42",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 600,
            "nonce": nonce,
            "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
        } | self.claims
        said = {key: value for key, value in claims.items() if value is not None}
        return jwt.encode({"alg": "ES256", "kid": "one"}, said, self.key)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, found: Any) -> None:
        body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        with contextlib.suppress(OSError):
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
