"""One tile client: fetches its list over one kept-open connection and prints what each request took.

Standard library only, so that a client costs the two cores it shares with the server as little as possible; the same
client measures every contender. Reads one JSON line ``{"port", "paths"}``, says ``ready``, starts at the next line, and
prints ``{"start", "end", "seconds", "bytes", "failed"}`` (monotonic seconds, comparable between processes).
"""

from __future__ import annotations

import json
import socket
import sys
import time


class Connection:
    """Just enough HTTP/1.1: GET on a persistent connection, answers with a Content-Length."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"127.0.0.1:{port}"
        self._rest = b""

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises ``ConnectionError`` when the server hangs up."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        head, self._rest = self._until(b"\r\n\r\n")
        status = int(head[9:12])
        lengths = [line[15:] for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"]
        wanted = int(lengths[0])
        while len(self._rest) < wanted:
            self._rest += self._more()
        body, self._rest = self._rest[:wanted], self._rest[wanted:]
        return status, body

    def _until(self, mark: bytes) -> tuple[bytes, bytes]:
        while mark not in self._rest:
            self._rest += self._more()
        head, _, rest = self._rest.partition(mark)
        return head, rest

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def main() -> None:
    """Run one client as described above."""
    task = json.loads(sys.stdin.readline())
    connection = Connection(task["port"])
    print("ready", flush=True)
    sys.stdin.readline()
    seconds, size, failed = [], 0, 0
    start = time.monotonic()
    for path in task["paths"]:
        asked = time.monotonic()
        status, body = connection.get(path)
        seconds.append(time.monotonic() - asked)
        size += len(body)
        failed += status != 200 or body[:2] != b"\xff\xd8"
    print(json.dumps({"start": start, "end": time.monotonic(), "seconds": seconds, "bytes": size, "failed": failed}))


if __name__ == "__main__":
    main()
