"""A Messages API on 127.0.0.1 that answers by script, so that the real Claude CLI works without network or account.

Knows the wire format only: one reply per main request, the last one for ever. It holds no model and checks no key.

    with ModelServer([Reply(tool=("Write", {"file_path": …})), Reply("done")]) as server:
        …run the CLI with ANTHROPIC_BASE_URL=server.url and any ANTHROPIC_API_KEY…
        server.requests        # the JSON bodies of the main requests, in order
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

_ERRORS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"} | {
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Reply:
    """One answer of the model: text, a tool call, an HTTP error, or silence after the first event."""

    text: str = ""
    tool: tuple[str, Mapping[str, Any]] | None = None
    status: int = 200
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    input_tokens: int = 10
    output_tokens: int = 5


class ModelServer:
    """Answers from its own threads between `with` and its end; `asked` is set by the first main request."""

    # What a kind of server answers to a request; another wire format puts another here.
    wire: Callable[[ModelServer], type[BaseHTTPRequestHandler]]

    def __init__(self, replies: Sequence[Reply] = (), answer: Callable[[dict[str, Any]], Reply] | None = None) -> None:
        """`answer` says the reply to the body of a request, where the order of requests is not known."""
        self.replies = list(replies)
        self._answer = answer
        self.requests: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type(self).wire(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> ModelServer:
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def take(self, body: dict[str, Any]) -> Reply:
        """The next reply. A request that offers no tools is a side call (a title, a probe) and takes none."""
        if not body.get("tools"):
            return Reply("side")
        with self._lock:
            reply = self._answer(body) if self._answer else self.replies[min(len(self.requests), len(self.replies) - 1)]
            self.requests.append(body)
        self.asked.set()
        return reply


class Handler(BaseHTTPRequestHandler):
    """What all wire formats share."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.json(200, {}, {})

    do_GET = do_HEAD

    def body(self) -> dict[str, Any]:
        found = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        return found if isinstance(found, dict) else {}

    def json(self, status: int, value: object, headers: Mapping[str, str]) -> None:
        data = json.dumps(value).encode()
        self.head(status, "application/json", {"content-length": str(len(data)), **headers})
        if self.command != "HEAD":
            self.wfile.write(data)

    def stream(self, reply: Reply, events: Iterator[str], closing: threading.Event) -> None:
        self.head(200, "text/event-stream", {"connection": "close", **reply.headers})
        self.close_connection = True
        for event in events:
            self.wfile.write(f"{event}\n\n".encode())
            self.wfile.flush()
            if reply.hangs:
                closing.wait()
                return

    def head(self, status: int, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "request-id": f"req_{uuid.uuid4().hex[:16]}", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True


def _messages(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class MessagesHandler(Handler):
        def do_POST(self) -> None:
            body = self.body()
            if "/v1/messages" not in self.path:
                return self.json(404, {"type": "error", "error": {"type": "not_found_error", "message": "no such path"}}, {})
            if "count_tokens" in self.path:
                return self.json(200, {"input_tokens": 10}, {})
            reply = server.take(body)
            if reply.status != 200:
                kind = _ERRORS.get(reply.status, "api_error")
                error = {"type": kind, "message": reply.message or kind}
                return self.json(reply.status, {"type": "error", "error": error}, reply.headers)
            if body.get("stream"):
                return self.stream(reply, _lines(_events(reply, body)), server.closing)
            return self.json(200, _message(reply, body), reply.headers)

    return MessagesHandler


ModelServer.wire = _messages


def _lines(events: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    for name, data in events:
        yield f"event: {name}\ndata: {json.dumps({'type': name, **data})}"


def _message(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if reply.text or not reply.tool:
        content.append({"type": "text", "text": reply.text})
    if reply.tool:
        content.append({"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:20]}", "name": reply.tool[0], "input": dict(reply.tool[1])})
    usage = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
    usage |= {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {
        "id": f"msg_{uuid.uuid4().hex[:20]}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "model"),
        "content": content,
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def _events(reply: Reply, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    whole = _message(reply, body)
    start = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield "message_start", {"message": start}
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield "content_block_start", {"index": index, "content_block": empty}
        if block.get("text") != "":
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    yield "message_delta", {"delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None}, "usage": whole["usage"]}
    yield "message_stop", {}
