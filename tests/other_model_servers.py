"""The Responses API and the Gemini API on 127.0.0.1, for the real codex and gemini CLIs; opencode speaks to `model_server.py`.

Wire formats only, in the shape in which the CLIs asked when they were measured (codex 0.169, gemini 0.61).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

from model_server import Handler, ModelServer, Reply


class ResponsesServer(ModelServer):
    """What codex asks: `POST /v1/responses`, answered by server-sent events."""

    @staticmethod
    def wire(server: ModelServer) -> type[BaseHTTPRequestHandler]:
        class ResponsesHandler(Handler):
            def do_POST(self) -> None:
                body = self.body()
                reply = server.take({"tools": True, **body})
                if reply.status != 200:
                    error = {"message": reply.message or "refused", "type": reply.text or "error", "code": reply.text or "error"}
                    return self.json(reply.status, {"error": error}, reply.headers)
                return self.stream(reply, _response_events(reply), server.closing)

        return ResponsesHandler


class GeminiServer(ModelServer):
    """What gemini asks: `POST /v1beta/models/MODEL:streamGenerateContent`, and the same without a stream."""

    @staticmethod
    def wire(server: ModelServer) -> type[BaseHTTPRequestHandler]:
        class GeminiHandler(Handler):
            def do_POST(self) -> None:
                body = self.body()
                if "countTokens" in self.path:
                    return self.json(200, {"totalTokens": 10}, {})
                reply = server.take(body)
                if reply.status != 200:
                    error = {"code": reply.status, "message": reply.message or "refused", "status": reply.text or "ERROR"}
                    return self.json(reply.status, {"error": error}, reply.headers)
                if "stream" in self.path:
                    return self.stream(reply, iter([f"data: {json.dumps(_content(reply))}"]), server.closing)
                return self.json(200, _content(reply), reply.headers)

        return GeminiHandler


def _response_events(reply: Reply) -> Iterator[str]:
    identity = f"resp_{uuid.uuid4().hex[:16]}"
    yield _event("response.created", response={"id": identity})
    if reply.text or not reply.tool:
        message = {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": reply.text}]}
        yield _event("response.output_item.done", item=message)
    if reply.tool:
        name, given = reply.tool
        call = {"type": "function_call", "call_id": f"call_{uuid.uuid4().hex[:8]}", "name": name, "arguments": json.dumps(dict(given))}
        yield _event("response.output_item.done", item=call)
    usage = {
        "input_tokens": reply.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }
    yield _event("response.completed", response={"id": identity, "usage": usage})


def _event(name: str, **fields: Any) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}"


def _content(reply: Reply) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text or not reply.tool else []
    if reply.tool:
        parts.append({"functionCall": {"name": reply.tool[0], "args": dict(reply.tool[1])}})
    counts = {"promptTokenCount": reply.input_tokens, "candidatesTokenCount": reply.output_tokens}
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {**counts, "totalTokenCount": reply.input_tokens + reply.output_tokens},
        "modelVersion": "gemini-test",
    }
