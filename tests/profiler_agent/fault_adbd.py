"""A small adbd for tests: the real adb client talks to it over loopback; it can be told to fail.

Implements CNXN, AUTH (to refuse), OPEN, OKAY, WRTE, CLSE; services ``shell,v2`` and ``sync:`` (STAT, SEND, QUIT).
Shell commands run on this machine under /bin/sh.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import struct
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

MAX_DATA = 64 << 10
_VERSION = 0x01000001  # no checksums
_HEADER = struct.Struct("<6I")


def _word(text: bytes) -> int:
    return int.from_bytes(text, "little")


@dataclass
class Faults:
    """What goes wrong; each count goes down by one when it happened."""

    refuse_authorization: bool = False
    features: bytes = b"shell_v2,cmd"
    stall: threading.Event = field(default_factory=threading.Event)  # set: nothing is answered any more
    drop_shell_after_bytes: int | None = None  # then the whole link
    drops_left: int = 0
    close_without_exit: int = 0  # shells that end without their exit packet
    no_space: int = 0  # SEND answers ENOSPC
    drop_push_after_bytes: int | None = None
    garbage_before_output: bytes = b""
    environment: dict[str, str] = field(default_factory=dict)


class FaultAdbd:
    """Listens on a free port of loopback. ``address`` is what to give to adb."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._links: list[_Link] = []
        self.shell_commands: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def drop_links(self) -> None:
        """As if the cable was pulled."""
        for link in self._links:
            link.drop()
        self._links.clear()

    def close(self) -> None:
        self.faults.stall.clear()
        self._server.close()
        self.drop_links()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            link = _Link(self, connection)
            self._links.append(link)
            threading.Thread(target=link.serve, daemon=True).start()


class _Link:
    def __init__(self, daemon: FaultAdbd, connection: socket.socket) -> None:
        self.daemon = daemon
        self._connection = connection
        self._lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        self._next_id = 1

    def drop(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        for stream in list(self._streams.values()):
            stream.hang_up()

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        if self.daemon.faults.stall.is_set():
            return
        word = _word(command)
        header = _HEADER.pack(word, arg0, arg1, len(data), sum(data) & 0xFFFFFFFF, word ^ 0xFFFFFFFF)
        with self._lock, suppress(OSError):
            self._connection.sendall(header + data)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._connection.recv(size - len(data))
            if not chunk:
                raise ConnectionError
            data += chunk
        return data

    def serve(self) -> None:
        try:
            while True:
                command, arg0, arg1, size, _, _ = _HEADER.unpack(self._receive(_HEADER.size))
                data = self._receive(size) if size else b""
                self._handle(command.to_bytes(4, "little"), arg0, arg1, data)
        except (OSError, ConnectionError):
            self.drop()

    def _handle(self, command: bytes, arg0: int, arg1: int, data: bytes) -> None:
        if command == b"CNXN":
            if self.daemon.faults.refuse_authorization:
                self.send(b"AUTH", 1, 0, os.urandom(20))
            else:
                banner = b"device::ro.product.name=f;ro.product.model=f;ro.product.device=f;features="
                self.send(b"CNXN", _VERSION, MAX_DATA, banner + self.daemon.faults.features)
        elif command == b"AUTH" and arg0 == 2:
            self.send(b"AUTH", 1, 0, os.urandom(20))
        elif command == b"OPEN":
            self._open(arg0, data.rstrip(b"\0"))
        elif command in (b"WRTE", b"OKAY", b"CLSE") and arg1 in self._streams:
            stream = self._streams[arg1]
            if command == b"WRTE":
                self.send(b"OKAY", arg1, arg0)
                stream.feed(data)
            elif command == b"OKAY":
                stream.may_write.release()
            else:
                self.send(b"CLSE", arg1, arg0)
                stream.hang_up()
                self._streams.pop(arg1, None)

    def _open(self, remote: int, service: bytes) -> None:
        local, self._next_id = self._next_id, self._next_id + 1
        if service.startswith(b"shell,v2"):
            stream: _Stream = _Shell(self, local, remote, service.partition(b":")[2].decode())
        elif service == b"sync:":
            stream = _Sync(self, local, remote)
        else:
            self.send(b"CLSE", 0, remote)
            return
        self._streams[local] = stream
        self.send(b"OKAY", local, remote)
        stream.start()


class _Stream:
    def __init__(self, link: _Link, local: int, remote: int) -> None:
        self.link, self.local, self.remote = link, local, remote
        self.may_write = threading.Semaphore(1)
        self.is_open = True

    def start(self) -> None: ...

    def feed(self, data: bytes) -> None: ...

    def hang_up(self) -> None:
        self.is_open = False
        self.may_write.release()

    def write(self, data: bytes) -> None:
        self.may_write.acquire()
        if self.is_open:
            self.link.send(b"WRTE", self.local, self.remote, data)

    def close(self) -> None:
        if self.is_open:
            self.may_write.acquire()
            self.link.send(b"CLSE", self.local, self.remote)


class _Shell(_Stream):
    def __init__(self, link: _Link, local: int, remote: int, command: str) -> None:
        super().__init__(link, local, remote)
        self._command = command
        link.daemon.shell_commands.append(command)

    def start(self) -> None:
        environment = {**os.environ, **self.link.daemon.faults.environment}
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        faults = self.link.daemon.faults
        error_thread = threading.Thread(target=self._copy, args=(2, self._process.stderr), daemon=True)
        error_thread.start()
        if faults.garbage_before_output:
            self._packet(1, faults.garbage_before_output)
        self._copy(1, self._process.stdout)
        error_thread.join()
        code = self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()
        if faults.close_without_exit > 0:
            faults.close_without_exit -= 1
        else:
            self._packet(3, bytes([code & 0xFF]))
        self.close()

    def _copy(self, channel: int, pipe) -> None:
        faults = self.link.daemon.faults
        while chunk := pipe.read1(8192):
            limit = faults.drop_shell_after_bytes
            if channel == 1 and limit is not None and faults.drops_left > 0:
                faults.drops_left -= 1
                self._packet(1, chunk[:limit])
                self.link.daemon.drop_links()
                return
            self._packet(channel, chunk)

    def _packet(self, channel: int, data: bytes) -> None:
        self.write(struct.pack("<BI", channel, len(data)) + data)

    def hang_up(self) -> None:
        """As adbd does: only the direct child is told."""
        super().hang_up()
        if self._process.poll() is None:
            with suppress(ProcessLookupError):  # it may end between the question and the signal
                os.kill(self._process.pid, signal.SIGHUP)


class _Sync(_Stream):
    def __init__(self, link: _Link, local: int, remote: int) -> None:
        super().__init__(link, local, remote)
        self._buffer = b""
        self._file = None
        self._sent = 0
        self._failure = b""
        self._received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def feed(self, data: bytes) -> None:
        self._received.put(data)

    def hang_up(self) -> None:
        super().hang_up()
        self._received.put(None)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def _work(self) -> None:
        while (data := self._received.get()) is not None:
            self._take(data)
        self._close_file()

    def _take(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:
            word, size = self._buffer[:4], int.from_bytes(self._buffer[4:8], "little")
            has_body = word not in (b"DONE", b"QUIT")
            if has_body and len(self._buffer) < 8 + size:
                return
            body = self._buffer[8 : 8 + size] if has_body else b""
            self._buffer = self._buffer[8 + len(body) :]
            self._request(word, body)

    def _request(self, word: bytes, body: bytes) -> None:
        if word == b"STAT":
            try:
                info = Path(os.fsdecode(body)).stat()
                self.write(b"STAT" + struct.pack("<3I", info.st_mode, info.st_size, int(info.st_mtime)))
            except OSError:
                self.write(b"STAT" + struct.pack("<3I", 0, 0, 0))
        elif word == b"SEND":
            self._begin(body)
        elif word == b"DATA":
            self._data(body)
        elif word == b"DONE":
            self._done()
        elif word == b"QUIT":
            self.close()

    def _begin(self, body: bytes) -> None:
        path = Path(os.fsdecode(body.rpartition(b",")[0]))
        self._failure, self._sent = b"", 0
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            self._failure = os.strerror(error.errno).encode()
        if self.link.daemon.faults.no_space > 0:
            self.link.daemon.faults.no_space -= 1
            self._failure = b"No space left on device"

    def _data(self, body: bytes) -> None:
        faults = self.link.daemon.faults
        self._sent += len(body)
        if faults.drop_push_after_bytes is not None and self._sent >= faults.drop_push_after_bytes:
            faults.drop_push_after_bytes = None
            self.link.daemon.drop_links()
        elif self._file is not None and not self._failure:
            try:
                self._file.write(body)
            except OSError as error:
                self._failure = os.strerror(error.errno).encode()

    def _done(self) -> None:
        self._close_file()
        word = b"FAIL" if self._failure else b"OKAY"
        self.write(word + struct.pack("<I", len(self._failure)) + self._failure)
