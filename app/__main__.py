"""``python -m app``: open the workbench in a browser. Serves this machine only."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from backend import logs
from backend.errors import UserError
from backend.settings import Settings, get_settings

if TYPE_CHECKING:
    from backend.runtime import Runtime

T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted. Returns the exit status: 0, or 2 after a ``UserError``."""
    try:
        options = _parser().parse_args(arguments)
        settings = _settings(options)
        logs.set_up(settings)
        serve(settings, open_browser=not options.no_browser)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    finally:
        logs.shut_down()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m app", description="Open the SynthScope workbench in a browser.")
    parser.add_argument("--host", help="address to listen on; anything but this machine's own needs an account")
    parser.add_argument("--port", type=int, help="TCP port (default 7860); 0 takes any free one")
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """The installation's settings with what the command line says put over them."""
    changes = {name: getattr(options, name) for name in ("host", "port") if getattr(options, name) is not None}
    settings = get_settings()
    return Settings.model_validate(settings.model_dump() | changes) if changes else settings


def serve(settings: Settings, *, open_browser: bool) -> None:
    """Bind, open the runtime, serve until a signal, close. Raises ``UserError`` for an address that cannot be had."""
    from app.security import check_bind

    check_bind(settings.host)
    gc.disable()  # the imports make many objects and hardly any garbage
    # Listening before the heavy imports: a taken port is told at once, and a browser that comes early waits its turn.
    listener = _bind(settings.host, settings.port)
    address = f"http://{_in_url(settings.host)}:{listener.getsockname()[1]}"
    # The database is opened while Gradio is imported; the import lets go of the lock whenever it reads a file.
    opened = _InBackground(_open_runtime, settings)

    import uvicorn

    from app.server import create_app

    runtime = opened.result()
    try:
        app = create_app(runtime)
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.freeze()
        gc.enable()
        print(f"SynthScope: {address}", flush=True)
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                log_config=None,  # what the server says goes through our own scrubbed log
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
                ws="none",
            )
        )
        # The server hands a signal on once it has stopped; as an exception it still lets the runtime be closed.
        signal.signal(signal.SIGTERM, _leave)
        server.run(sockets=[listener])
    finally:
        gc.enable()
        runtime.close()
        listener.close()


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


def _open_runtime(settings: Settings) -> Runtime:
    from backend.runtime import Runtime

    return Runtime.open(settings)


class _InBackground(Generic[T]):
    """One call in a thread of its own, whose result or error is handed over by :meth:`result`."""

    def __init__(self, function: Callable[..., T], *arguments: Any) -> None:
        self._outcome: Future[T] = Future()
        threading.Thread(target=self._run, args=(function, arguments)).start()

    def _run(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        try:
            self._outcome.set_result(function(*arguments))
        except BaseException as error:
            self._outcome.set_exception(error)

    def result(self) -> T:
        """Wait for the call. Raises what it raised."""
        return self._outcome.result()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns off Nagle's delay (40 ms an answer) only on sockets that carry it.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        logging.getLogger(__name__).debug("bind failed", exc_info=error)
        raise UserError(
            f"Port {port} cannot be used.",
            f"The system says: {error.strerror or type(error).__name__}.",
            "Close the other program, or choose a port with --port.",
        ) from None
    return listener


def _in_url(host: str) -> str:
    return f"[{host.strip('[]')}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
