"""A proxy on loopback that fails now and then: status 500, and bodies that end too early."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Proxy(BaseHTTPRequestHandler):
    """Hands requests on; of the GET requests that carry a body every third fails somehow."""

    protocol_version = "HTTP/1.1"
    target = ""
    faults: Counter[str]
    seen = 0
    lock = threading.Lock()

    def _forward(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection",)}
        request = urllib.request.Request(
            self.target + self.path, data=body, headers=headers, method=self.command
        )
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            content, status, given = answer.read(), answer.status, answer.headers
        fault = self._fault(len(content)) if status in (200, 206) else None
        if fault == "500":
            content, status = b"<Error><Code>InternalError</Code></Error>", 500
        self.send_response(status)
        for name, value in given.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        stated = given.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", stated or str(len(content)))
        self.end_headers()
        if fault == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _fault(self, size: int) -> str | None:
        if self.command != "GET" or size == 0:
            return None
        cls = type(self)
        with cls.lock:
            cls.seen += 1
            kind = {2: "500", 5: "truncated"}.get(cls.seen % 6)
            if kind:
                cls.faults[kind] += 1
            return kind

    do_GET = do_HEAD = do_POST = do_PUT = _forward

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def faulty_proxy(target: str) -> Iterator[tuple[str, Counter[str]]]:
    """The address of a proxy before `target`, and the faults that it has injected."""
    handler = type("Handler", (_Proxy,), {"target": target, "faults": Counter(), "seen": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.faults
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """A plain web server of a folder."""
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(folder)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline()
            yield f"http://127.0.0.1:{line.split(' port ')[1].split()[0]}"
        finally:
            process.kill()


@contextlib.contextmanager
def object_storage(port: int) -> Iterator[str]:
    """A moto server, which speaks S3."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/moto-api/").close()
                    break
                time.sleep(0.1)
            yield address
        finally:
            process.kill()


def upload(address: str, bucket: str, folder: Path) -> None:
    """Put all files of a folder into a new bucket."""
    put(f"{address}/{bucket}", b"")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(f"{address}/{bucket}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def put(url: str, content: bytes) -> None:
    """One PUT request, with credentials that moto accepts."""
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request",
        "Content-Type": "application/octet-stream",  # urllib's own would be parsed as a form
    }
    urllib.request.urlopen(
        urllib.request.Request(url, data=content, headers=headers, method="PUT")
    ).close()
