"""Who may talk to the review server: one gate in front of every answer."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Hosts:
    """Names under which the server answers.

    A web page elsewhere can point a name of its own at this machine (DNS rebinding), but such a
    request carries that name. On the loopback only its own names are right; on a network also the
    machine's name, the name asked for, and any plain address, which cannot be rebound.

    Parameters
    ----------
    host : str
        What the server is bound to.
    network : bool
        Whether that is more than the loopback.
    """

    host: str
    network: bool
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        own = {self.host.lower(), socket.gethostname().lower()} if self.network else set()
        object.__setattr__(self, "names", LOOPBACK | own)

    def allows(self, header: str) -> bool:
        """Whether a Host header names this server; the port is free, for tunnels."""
        name = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
        name = name.strip("[]").lower()
        return name in self.names or (self.network and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware: host, origin and token are checked, security headers are added.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    hosts : Hosts
        Under which names.
    token : str
        Secret of this run: in the address that is opened first, in a cookie afterwards.
    cookie : str
        Name of the cookie; cookies ignore ports, so each server needs its own.
    """

    def __init__(self, app: Any, *, hosts: Hosts, token: str, cookie: str):
        self.app, self.hosts, self.token, self.cookie = app, hosts, token, cookie

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or answer it with a refusal."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets here
        headers = _headers(scope)
        in_address = self._token_in_address(scope)
        refusal = self._refusal(scope, headers, in_address)
        extra = dict(HEADERS)
        if in_address and not refusal:
            extra["set-cookie"] = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(k.encode(), v.encode()) for k, v in extra.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        if refusal:
            await _refuse(with_headers, *refusal)
        else:
            await self.app(scope, receive, with_headers)

    def _refusal(
        self, scope: Any, headers: dict[str, str], in_address: bool
    ) -> tuple[int, str] | None:
        """Status and reason, or None for a request that may pass."""
        if not self.hosts.allows(headers.get("host", "")):
            return 421, "this server does not answer under that name"
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        navigation = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        if site not in (None, "same-origin", "none") and not navigation:
            return 403, "requests from other sites are refused"
        if origin is not None and origin.partition("://")[2] != headers["host"]:
            return 403, "requests from other origins are refused"
        if scope["method"] not in ("GET", "HEAD"):
            if origin is None and site != "same-origin":
                return 403, "a change needs an Origin header of this server"
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return 415, "a change must be sent as application/json"
        if not (in_address or self._equal(self._token_in_cookie(headers))):
            return 401, "open the address that `labelsieve review` printed: it carries the key"
        return None

    def _token_in_address(self, scope: Any) -> bool:
        if scope["path"] != "/":
            return False
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return self._equal(query.get("token", [""])[0])

    def _token_in_cookie(self, headers: dict[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value

    def _equal(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def _headers(scope: Any) -> dict[str, str]:
    """Headers by lower-case name; several Host headers are one that fits nothing."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}; {text}" if key in headers else text
    return headers


async def _refuse(send: Any, status: int, reason: str) -> None:
    body = f"{reason}\n".encode()
    start = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
