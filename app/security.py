"""What the server refuses, and the headers it sends: one ASGI middleware in front of everything.

Three attacks matter to a server on loopback that needs no sign-in: a web page elsewhere that posts to it (cross-site
request forgery, met by the Origin check), one whose name is re-pointed at 127.0.0.1 (DNS rebinding, met by the Host
check), and one that frames it (met by ``frame-ancestors``). Gradio's own upload and file routes are closed, because
whatever lies in Gradio's cache can be read by everybody who can open the page.
"""

from __future__ import annotations

import ipaddress
import json
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import UserError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Gradio compiles the template of every gr.HTML in the browser, which needs 'unsafe-eval', and starts from inline
# scripts. Nothing in the page may come from, or go to, another host.
PAGE_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
# What a route of ours answers is data: should it ever be opened as a page, it may do nothing at all.
DATA_POLICY = "default-src 'none'; frame-ancestors 'self'; sandbox"

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=(), interest-cohort=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

# Routes of Gradio that would keep, hand out or fetch files, record runs or rewrite the program.
CLOSED = re.compile(
    r"^/(gradio_api/)?(upload|upload_progress|file=|file/|proxy=|stream|process_recording|vibe|undo-vibe|deep_link"
    r"|runs|run-history|dev/|profiling|custom_component|openapi\.json)|^/(monitoring|svelte|pwa_icon|manifest\.json)"
)
# Files whose names change with their content; everything else is fetched anew and never stored by the browser.
HASHED = re.compile(r"^/assets/.+-[\w-]{8}\.(js|css|woff2?|svg|png|wasm)$")
PROGRAM = re.compile(r"^/(static/|assets/|theme\.css)")


def is_loopback(host: str) -> bool:
    """Whether an address to bind can be reached from this machine only."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def accounts_exist() -> bool:
    """Whether anybody could sign in. There are no accounts yet, so nobody can; accounts will answer here."""
    return False


def check_bind(host: str) -> None:
    """Raise ``UserError`` for an address that others could reach while nobody has to sign in."""
    if not is_loopback(host) and not accounts_exist():
        raise UserError(
            f"SynthScope does not listen on {host}.",
            "Anybody on the network could read patient images there, because no account exists that asks for a "
            "password.",
            "Use 127.0.0.1, and an SSH tunnel to reach it from another machine.",
        )


def names_served(host: str) -> frozenset[str]:
    """What a ``Host`` header may say when ``host`` is bound: the names of this machine, and that address itself."""
    own = host.strip("[] ").lower()
    return LOOPBACK_NAMES | ({f"[{own}]" if ":" in own else own} if own else frozenset())


def host_name(value: str) -> str:
    """The name in a ``Host`` header or URL authority, without its port, in lower case."""
    value = value.strip().lower()
    if value.startswith("["):
        return value.partition("]")[0] + "]"
    return value.partition(":")[0]


class Guard:
    """ASGI middleware: checks Host and Origin, closes routes, adds headers. Streams bodies untouched."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = LOOPBACK_NAMES) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request at once, pass any other on and add the headers to its answer."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            # Nothing here speaks WebSocket; a handshake is refused before it is accepted.
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        if refusal is not None:
            await _refuse(send_with_headers, *refusal)
            return
        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, UserError] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host_name(host) not in self.hosts:
            return 421, UserError(
                "This name is not served here.",
                "The request asked for a host that SynthScope does not know.",
                "Open http://127.0.0.1 with the port that SynthScope printed.",
            )
        if scope["type"] == "websocket":
            return None
        if scope["method"] not in SAFE_METHODS and not _same_origin(headers, host):
            return 403, UserError(
                "The request came from another site.",
                "Only SynthScope's own pages may change anything.",
                "Do it in the SynthScope page itself.",
            )
        if CLOSED.match(scope["path"]):
            return 403, UserError(
                "This route is closed.",
                "Files go through SynthScope's own checked routes only.",
                "Use the upload area and the download buttons of the page.",
            )
        return None


def _same_origin(headers: Headers, host: str) -> bool:
    """Browsers send Origin with every POST; a program that sends neither header is not a browser being abused."""
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() == host.strip().lower()
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def add_headers(headers: MutableHeaders, path: str) -> None:
    """Add every security header; a route's own ``Cache-Control`` and content policy stay."""
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    data = path.startswith("/api/")
    headers.setdefault("content-security-policy", DATA_POLICY if data else PAGE_POLICY)
    if HASHED.match(path):
        headers["cache-control"] = "public, max-age=31536000, immutable"
    elif PROGRAM.match(path):
        headers.setdefault("cache-control", "no-cache")
    else:
        headers.setdefault("cache-control", "no-store")


async def _refuse(send: Send, status: int, error: UserError) -> None:
    body = json.dumps({"error": error.as_dict()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
