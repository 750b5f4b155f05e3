"""The page over HTTP, for one person at one machine: three files, the generators as JSON, and a form that draws."""

import base64
import errno
import io
import json
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from data.pairs.errors import UserError, as_user_error
from pipeline.demo.look import Look, looks
from pipeline.demo.offers import find_offers, for_the_page
from pipeline.demo.pair import draw, packed, read_form

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
JSON = "application/json"
MOST_BYTES = 64 * 2**20  # of a form
LOCAL = ("localhost", "127.0.0.1", "::1")
# A browser fetches nothing from elsewhere, and no other site shows this page within its own.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingTCPServer):
    """The server of one project's page, which is at `url`.

    Raises: UserError when the project has no generator for given masks, and when the port cannot be had.
    """

    allow_reuse_address = True
    daemon_threads = True  # Ctrl-C ends it at once, whatever is being drawn

    def __init__(self, project: Path, host: str, port: int, device: str | None = None) -> None:
        find_offers(project)
        self.project, self.host, self.device = project, host, device
        self.drawing = threading.Lock()  # one image at a time has all of the machine
        self.work = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "another program has it" if taken else str(error)
            raise UserError(f"no page at {host}, port {port}: {why}", ["--port 0 takes any that is free"]) from error

    @property
    def url(self) -> str:
        """Return the address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def server_close(self) -> None:
        """Let go of the port and of what was being drawn."""
        super().server_close()
        self.work.cleanup()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print where a fault of ours is, and nothing of a browser that has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def pair(self, body: bytes) -> dict[str, Any]:
        """Return what the page shows of the pair that a form asks for. Raises: UserError as `draw` does."""
        form = read_form(body)
        with self.drawing, tempfile.TemporaryDirectory(dir=self.work.name) as folder:
            drawn = draw(form, find_offers(self.project), Path(folder), self.device)
            (pair,) = drawn.pairs.pairs
            dataset, name = form.generator.split("/")
            shown = {key: _shown(look) for key, look in looks(drawn.pairs, self.project, dataset).items()}
            return shown | {
                "image": _as_url((drawn.pairs.folder / pair.image).read_bytes()),
                "notes": drawn.notes,
                "command": drawn.command,
                "mask": drawn.mask,
                "zip": base64.b64encode(packed(drawn.pairs)).decode(),
                "file": f"{dataset}-{name}-{pair.id}-seed{form.seed}.zip",
            }


def _as_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _shown(look: Look) -> dict[str, str]:
    if look.picture is None:
        return {"picture": "", "text": look.text}
    file = io.BytesIO()
    Image.fromarray(look.picture).save(file, "PNG")
    return {"picture": _as_url(file.getvalue()), "text": look.text}


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self._is_for_us():
            return
        if path in FILES:
            name, kind = FILES[path]
            self._answer(200, Path(__file__).with_name(name).read_bytes(), kind)
        elif path == "/generators":
            self._say(lambda: for_the_page(find_offers(self.server.project)))
        else:
            self._problem(404, "there is no such page")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not self._is_for_us():
            return
        if urlsplit(self.path).path != "/pair" or self.headers.get_content_type() != JSON:
            self._problem(404, "there is no such page")  # a form of another site cannot send this type unasked
        elif length > MOST_BYTES:
            self._problem(413, f"the mask is too large: at most {MOST_BYTES // 2**20} MiB are taken")
        else:
            body = self.rfile.read(length)
            self._say(lambda: self.server.pair(body))

    def _is_for_us(self) -> bool:
        """Return whether the address is this machine's, where only this machine is served: sites may lie about it."""
        if self.server.host in LOCAL and urlsplit(f"//{self.headers.get('Host', '')}").hostname not in LOCAL:
            self._problem(403, f"this page is at {self.server.url}")
            return False
        return True

    def _say(self, answer: Callable[[], Any]) -> None:
        """Send what a function returns as JSON, and its error as the sentences that the command line would print."""
        try:
            self._answer(200, json.dumps(answer()).encode(), JSON)
        except ConnectionError:
            raise
        except Exception as error:
            problem = error if isinstance(error, UserError) else as_user_error(error)
            said = problem or UserError("that went wrong by a fault of the page: its terminal says where")
            self._problem(400 if problem else 500, said.title, *said.problems)
            if problem is None:
                raise

    def _problem(self, status: int, title: str, *lines: str) -> None:
        self._answer(status, json.dumps({"title": title, "lines": lines}).encode(), JSON)

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing of a request: the terminal shows how far an image is."""
