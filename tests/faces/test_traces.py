"""The extra `otel`: a run sends its spans to the collector that the environment names, and is none the worse without one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from session import Session

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs the extra `otel`")


class Collector(ThreadingHTTPServer):
    """Takes spans on loopback, and keeps them. `answer`: the HTTP status that it gives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = 200
        self.paths: list[str] = []
        self.spans: list[Any] = []
        self.raw = b""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = trace_service.ExportTraceServiceRequest.FromString(body)
        self.server.paths.append(self.path)
        self.server.raw += body
        self.server.spans += [
            (resource.resource, span) for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        self.send_response(self.server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_run_sends_its_spans_and_no_text_of_it(session: Session, collector: Collector) -> None:
    session.file(
        "flow.yaml",
        """
        args: {word: {type: string}}
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: each
            foreach: [confidential, b]
            run: echo "{{ item }} {{ args.word }}"; echo trouble >&2; [ {{ index }} = 0 ]
            on_failure: continue
          - name: ask
            prompt: "Say {{ args.word }}."
        """,
    )
    session.file("answers.yaml", "steps: {ask: {answer: privileged, cost_usd: 0.25, turns: 2}}\n")
    ended = session.flow(
        "run", "flow.yaml", "-a", "word=classified", "--quiet", "--run-id", "r1", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint
    )
    assert ended.code == 0
    assert set(collector.paths) == {"/v1/traces"}
    assert sorted(span.name for _, span in collector.spans) == [
        "attempt 1 of ask",
        "attempt 1 of each[0]",
        "attempt 1 of each[1]",
        "run flow",
        "step ask",
        "step each",
    ]
    (resource,) = {str(resource) for resource, _ in collector.spans}
    assert "cpool-flow" in resource
    for word in (b"confidential", b"classified", b"privileged", b"trouble", b"echo"):
        assert word not in collector.raw
    ask = next(span for _, span in collector.spans if span.name == "attempt 1 of ask")
    values = {pair.key: pair.value for pair in ask.attributes}
    assert (values["cpool.cost_usd"].double_value, values["cpool.turns"].int_value, values["cpool.agent"].string_value) == (
        0.25,
        2,
        "scripted",
    )
    assert ask.end_time_unix_nano > ask.start_time_unix_nano


def test_a_resume_goes_on_in_the_same_trace(session: Session, collector: Collector) -> None:
    session.file("flow.yaml", "steps:\n  - {name: a, run: test -e there}\n")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_SERVICE_NAME": "nightly"}
    assert session.flow("run", "flow.yaml", "--quiet", **environment).code == 1
    session.file("there", "")
    assert session.flow("resume", "--quiet", **environment).code == 0
    assert session.flow("resume", "--quiet", **environment).code == 0
    assert [span.name for _, span in collector.spans] == ["attempt 1 of a", "step a", "run flow", "attempt 2 of a", "step a", "run flow"]
    assert len({span.trace_id for _, span in collector.spans}) == 1
    assert len({span.span_id for _, span in collector.spans}) == 6
    assert all('"nightly"' in str(resource) for resource, _ in collector.spans)


@pytest.mark.parametrize("answer", [400, 503])
def test_a_collector_that_does_not_take_them_is_noted_and_the_run_is_what_it_was(
    session: Session, collector: Collector, answer: int
) -> None:
    collector.answer = answer
    session.file("flow.yaml", "steps:\n  - run: echo hi\n")
    ended = session.flow("run", "flow.yaml", "--json", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert (ended.code, ended.json()["status"]) == (0, "success")
    assert "Traceback" not in ended.err
    assert session.events()[-1]["text"] == "traces: the collector did not take the spans of this run"


def test_an_address_that_is_none_is_noted(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - run: echo hi\n")
    ended = session.flow("run", "flow.yaml", "--quiet", OTEL_EXPORTER_OTLP_ENDPOINT="nothing at all", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert (ended.code, ended.err) == (0, "")
    assert session.events()[-1]["type"] == "Noted"


@pytest.mark.parametrize("environment", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_nothing_is_sent_where_nobody_asked_for_it(session: Session, collector: Collector, environment: dict[str, str]) -> None:
    session.file("flow.yaml", "steps:\n  - run: echo hi\n")
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint} if environment else {}
    assert session.flow("run", "flow.yaml", "--quiet", **endpoint, **environment).code == 0
    assert collector.spans == []


def test_without_the_extra_it_is_off(session: Session, collector: Collector) -> None:
    session.file("stub/opentelemetry/__init__.py", "raise ImportError\n")
    session.file("flow.yaml", "steps:\n  - run: echo hi\n")
    path = f"{session.path / 'stub'}:{session.environment['PYTHONPATH']}"
    ended = session.flow("run", "flow.yaml", "--quiet", PYTHONPATH=path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert (ended.code, ended.err) == (0, "")
    assert collector.spans == []
    assert session.events()[-1]["type"] == "RunFinished"
