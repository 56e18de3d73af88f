"""Start the review server: address, key, browser."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError, MissingExtraError, gather
from .address import new_token, remember, remembered
from .live import LiveReview
from .session import HIDDEN, ReviewSession

LOOPBACK_NAMES = ("localhost",)


class ReviewServer:
    """The review of one scan over HTTP.

    Parameters
    ----------
    folder : Path or str
        Output folder of a scan.
    host : str
        Name or address to bind to.
    port : int
        0 takes that of the last server of this folder, or a free one.
    allow_network : bool
        Must be True for a host that other machines can reach.
    reviewer : str
        The name that pages begin with; it can be changed there.

    Attributes
    ----------
    url : str
        What to open; it carries the key, so whoever has it can review.

    Raises
    ------
    InputError
        If there is no scan, the address cannot be taken, or it is not a loopback address and
        `allow_network` is False.
    MissingExtraError
        If the extra is not installed.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_network: bool = False,
        reviewer: str = "",
    ):
        try:
            import starlette  # noqa: F401  # pyright: ignore[reportUnusedImport]
            import uvicorn
        except ImportError as error:
            raise MissingExtraError(
                "the review page needs Starlette and Uvicorn: pip install 'labelsieve[review]'"
            ) from error
        from .app import build_app
        from .guard import Guard, Hosts

        network = not is_loopback(host)
        check_address(host, port, network=network, allow_network=allow_network)
        self.review = LiveReview(Path(folder), reviewer=reviewer)
        try:
            self.socket, self.token = self._listen(host, port, network)
        except InputError:
            self.review.close()
            raise
        self.port = int(self.socket.getsockname()[1])
        guarded = Guard(
            build_app(self.review),
            hosts=Hosts(host, network),
            token=self.token,
            cookie=f"labelsieve_review_{self.port}",
        )
        self.url = f"http://{shown_host(host)}:{self.port}/?token={self.token}"
        self._server: Any = uvicorn.Server(
            uvicorn.Config(
                guarded,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=3,
            )
        )

    @property
    def session(self) -> ReviewSession:
        """The review of the scan that is in the folder now."""
        return self.review.session

    def _listen(self, host: str, port: int, network: bool) -> tuple[socket.socket, str]:
        """A socket and a key: those of the last server where nobody else can reach them."""
        if network:
            return bind(host, port), new_token()
        kept = self.session.folder / HIDDEN
        last, token = remembered(kept)
        try:
            bound = bind(host, port or last)
        except InputError:
            if port:
                raise
            bound = bind(host, 0)
        remember(kept, int(bound.getsockname()[1]), token)
        return bound, token

    def run(self) -> None:
        """Serve until interrupted, then close the file of the decisions."""
        try:
            self._server.run(sockets=[self.socket])
        finally:
            self.close()

    def stop(self) -> None:
        """Ask a running server to end (from another thread)."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give address and files back."""
        self.socket.close()
        self.review.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, port: int, *, network: bool, allow_network: bool) -> None:
    """Raise `InputError` unless the address is allowed."""
    problems = []
    if network and not allow_network:
        problems.append(
            f"--host {host} can be reached from other machines; add --allow-network if that is "
            "meant (the address then carries a key, but the connection is not encrypted), or "
            "leave --host out"
        )
    if not 0 <= port <= 65535:
        problems.append(f"--port must be in 0..65535, not {port}; 0 takes a free one")
    gather(problems, what="review")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises
    ------
    InputError
        If the address cannot be taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"cannot use --host {host}: {error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise InputError(
            f"cannot listen on {host} port {port}: {error.strerror}; leave --port out"
        ) from error
    return bound


def shown_host(host: str) -> str:
    """The host as it stands in an address that can be opened."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
