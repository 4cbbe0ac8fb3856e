"""A port in front of a server, where single connections can be made silent: what a lost packet looks like."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Held:
    """Leads each connection to `port`; the numbers in `silent` get no answers until they are let go."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.made = 0
        self.open: set[int] = set()
        self._target = port
        self._silent: set[int] = set()
        self._all = False
        self._changed = threading.Condition()
        threading.Thread(target=self._serve, daemon=True).start()

    def hold(self, *numbers: int) -> None:
        """These connections, or all of them, are silent from now on."""
        with self._changed:
            self._silent |= set(numbers)
            self._all = not numbers

    def let_go(self) -> None:
        with self._changed:
            self._silent.clear()
            self._all = False
            self._changed.notify_all()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                number, self.made = self.made, self.made + 1
                self.open.add(number)
                threading.Thread(target=self._questions, args=(near, far, number), daemon=True).start()
                threading.Thread(target=self._answers, args=(far, near, number), daemon=True).start()

    def _questions(self, near: socket.socket, far: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
        self.open.discard(number)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)
        near.close()

    def _answers(self, far: socket.socket, near: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                with self._changed:
                    self._changed.wait_for(lambda: not (self._all or number in self._silent), 30)
                near.sendall(data)
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)
        far.close()


@contextlib.contextmanager
def held(port: int) -> Iterator[Held]:
    made = Held(port)
    try:
        yield made
    finally:
        made.let_go()
        made.listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake who waits in accept
        made.listener.close()
