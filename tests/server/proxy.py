"""A small TCP proxy between a client and a server: it loses replies, answers 502 and 429, hangs up, takes its time."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

Message = tuple[bytes, bytes]


def read(stream: socket.socket, kept: bytearray) -> Message | None:
    """The next HTTP message, its head and its body; None when the other end has hung up."""
    while b"\r\n\r\n" not in kept:
        if not (more := stream.recv(1 << 16)):
            return None
        kept += more
    head, _, _ = bytes(kept).partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    whole = len(head) + 4 + length
    while len(kept) < whole:
        if not (more := stream.recv(1 << 16)):
            return None
        kept += more
    message = bytes(kept[:whole])
    del kept[:whole]
    return head + b"\r\n\r\n", message[len(head) + 4 :]


class Proxy:
    """Listens on loopback and passes each request on. `faults`: kinds to their shares of the requests.

    lost: the server carries it out, and its reply never comes. bad_gateway: 502, half of them after the server
    carried it out. limited: 429 with Retry-After. reset: hung up before the server heard of it. `seconds` are added to
    each.
    """

    def __init__(self, port: int, faults: Mapping[str, float] | None = None, seconds: float = 0.0) -> None:
        self._target = ("127.0.0.1", port)
        self._faults = faults or {}
        self._seconds = seconds
        self._random = random.Random(1)  # noqa: S311 - chance needs no secrecy
        self._lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _kind(self) -> str:
        shares = list(self._faults.values())
        with self._lock:
            kind = self._random.choices([*self._faults, "fine"], [*shares, 1.0 - sum(shares)])[0]
            self.seen[kind] += 1
            return kind

    def _serve(self, client: socket.socket) -> None:
        kept: bytearray = bytearray()
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies: bytearray = bytearray()
            while request := read(client, kept):
                time.sleep(self._seconds)
                kind = self._kind()
                if kind == "reset":
                    return
                if kind == "limited":
                    client.sendall(b"HTTP/1.1 429 Too Many\r\nRetry-After: 0.05\r\nContent-Length: 0\r\n\r\n")
                    continue
                if kind == "bad_gateway" and self._random.random() < 0.5:
                    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                    continue
                server.sendall(request[0] + request[1])
                reply = read(server, replies)
                if reply is None or kind == "lost":
                    return
                if kind == "bad_gateway":
                    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                    continue
                client.sendall(reply[0] + reply[1])
