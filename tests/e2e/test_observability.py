"""What one delivery leaves behind for its operator: a trace, a log line, counts."""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from devstack.processes import (
    ServerProcess,
    clean_environment,
    free_port,
    wait_until_ready,
)
from devstack.stack import Stack
from tests.support.bodies import action_body, event_body
from tests.support.people import Database, User
from tests.support.photos import ROCKET
from tests.support.serving import serving

REPOSITORY = Path(__file__).parents[2]
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
TRACE_ID, CALLERS_SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
B3 = {"x-b3-traceid": TRACE_ID, "x-b3-spanid": CALLERS_SPAN_ID, "x-b3-sampled": "1"}
STAGES = (
    "look",
    "check",
    "find",
    "fetch",
    "probe",
    "decode",
    "shrink",
    "segment",
    "render",
    "store",
    "record",
)


@dataclass
class Peer:
    """Takes OTLP as a collector does, and GraphQL in the place of Hasura, to see its headers."""

    engine_url: str
    url: str = ""
    exports: list[ExportTraceServiceRequest] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    def spans(self, trace_id: str) -> list[Span]:
        return [
            span
            for request in list(self.exports)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace_id
        ]

    def trace(self, trace_id: str) -> list[Span]:
        """Wait for the trace's first span, which comes last."""
        deadline = time.monotonic() + 20
        while not any(span.kind == Span.SPAN_KIND_SERVER for span in self.spans(trace_id)):
            assert time.monotonic() < deadline, "no trace arrived"
            time.sleep(0.05)
        return self.spans(trace_id)

    def handle(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/v1/traces":
            self.exports.append(ExportTraceServiceRequest.FromString(body))
            return 200, b""
        self.asked.append(headers)
        sent = {k: v for k, v in headers.items() if k.startswith("x-hasura-")}
        answer = httpx2.post(self.engine_url + path, content=body, headers=sent)
        return answer.status_code, answer.content


@contextmanager
def running_peer(engine_url: str, port: int = 0) -> Iterator[Peer]:
    peer = Peer(engine_url)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = peer.handle(self.path, headers, body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", port), Handler)) as peer.url:
        yield peer


@dataclass
class Service:
    """A second service on the same stack, watched."""

    stack: Stack
    process: ServerProcess
    url: str

    def deliver(self, image_id: str, **headers: str) -> httpx2.Response:
        secret = {"x-webhook-secret": self.stack.webhook_secret}
        return httpx2.post(
            f"{self.url}/events/images",
            json=event_body(image_id, delivery_info={"current_retry": 2, "max_retries": 5}),
            headers=secret | headers,
            timeout=60,
        )

    def call_action(self, image_id: str, **headers: str) -> httpx2.Response:
        secret = {"x-webhook-secret": self.stack.webhook_secret}
        url = f"{self.url}/actions/remove-background"
        return httpx2.post(url, json=action_body(image_id), headers=secret | headers, timeout=60)

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.process.log.read_text().splitlines()]
        return [line for line in found if wanted.items() <= line.items()]

    def metrics(self) -> str:
        return httpx2.get(f"{self.url}/metrics").text


Watch = Callable[..., Service]


@pytest.fixture(scope="module")
def watch(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Start services with settings of their own."""
    with ExitStack() as cleanup:

        def start(**settings: str) -> Service:
            port = free_port()
            own = {"PORT": str(port), "OTEL_BSP_SCHEDULE_DELAY": "100"}
            process = ServerProcess(
                "The watched service",
                [sys.executable, "-m", "webhook", "serve"],
                log=tmp_path_factory.mktemp("watched") / "service.log",
                cwd=REPOSITORY,
                environment=clean_environment(**{**stack.settings, **own, **settings}),
            )
            cleanup.enter_context(process.running())
            return Service(stack, process, f"http://127.0.0.1:{port}")

        yield start


def wait_for(service: Service) -> None:
    def is_ready() -> bool:
        try:
            return httpx2.get(f"{service.url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    wait_until_ready(is_ready, service.process, 60)


@pytest.fixture(scope="module")
def peer(stack: Stack) -> Iterator[Peer]:
    with running_peer(stack.engine_url) as peer:
        yield peer


@pytest.fixture(scope="module")
def traced(watch: Watch, peer: Peer) -> Service:
    service = watch(
        HASURA_GRAPHQL_ENDPOINT=peer.url,
        OTEL_EXPORTER_OTLP_ENDPOINT=peer.url,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
    )
    wait_for(service)
    return service


@pytest.fixture
def photo(user: User, database: Database, image_id: str) -> str:
    """Upload a picture, and insert its row without an event: that would go to the other service."""
    user.upload(image_id, ROCKET)
    database.insert_without_event(image_id)
    return image_id


def tree(spans: list[Span]) -> set[tuple[str, str]]:
    """Give each span with its parent's name; the caller's is "caller"."""
    names = {span.span_id: span.name for span in spans} | {bytes.fromhex(CALLERS_SPAN_ID): "caller"}
    return {(span.name, names[span.parent_span_id]) for span in spans}


def test_a_delivery_continues_hasuras_trace_through_every_stage(
    traced: Service, peer: Peer, photo: str
) -> None:
    assert traced.deliver(photo, **B3).status_code == 200
    spans = peer.trace(TRACE_ID)
    root = "POST /events/images"
    assert tree(spans) == {
        (root, "caller"),
        *((stage, root) for stage in STAGES),
        ("GraphQL FindRow", "look"),
        ("S3 ListObjectsV2", "find"),
        ("S3 HeadObject", "check"),
        ("S3 GetObject", "fetch"),
        ("device", "segment"),
        ("S3 PutObject", "store"),
        ("GraphQL RecordRemoval", "record"),
    }
    assert len(spans) == len(tree(spans))
    (service,) = [line for line in peer.exports[-1].resource_spans]
    told = {item.key: item.value.string_value for item in service.resource.attributes}
    assert told["service.name"] == "hasura-background-removal"
    assert told["deployment.environment"] == "test"
    call = next(span for span in spans if span.name == "GraphQL RecordRemoval")
    of_this_trace = [each for each in peer.asked if each.get("x-b3-traceid") == TRACE_ID]
    (asked,) = [each for each in of_this_trace if each["x-b3-spanid"] == call.span_id.hex()]
    assert asked["x-b3-sampled"] == "1"
    assert asked["traceparent"] == f"00-{TRACE_ID}-{call.span_id.hex()}-01"


def test_an_action_continues_a_w3c_trace(traced: Service, peer: Peer, photo: str) -> None:
    trace_id = "5" * 32
    header = {"traceparent": f"00-{trace_id}-{CALLERS_SPAN_ID}-01"}
    assert traced.call_action(photo, **header).status_code == 200
    spans = peer.trace(trace_id)
    root = "POST /actions/remove-background"
    assert {(root, "caller"), ("GraphQL FindImage", root)} <= tree(spans)


def test_a_failure_is_an_error_of_its_span_without_its_words(
    traced: Service, peer: Peer, user: User, photo: str
) -> None:
    user.upload(photo, b"hopeless")
    trace_id = "6" * 32
    assert traced.deliver(photo, b3=f"{trace_id}-{CALLERS_SPAN_ID}-1").json()["status"] == "failed"
    spans = {span.name: span for span in peer.trace(trace_id)}
    assert spans["probe"].status.message == "UnsupportedImage"
    codes = {a.key: a.value.string_value for a in spans["POST /events/images"].attributes}
    assert codes["removal.code"] == "unsupported-image"


def test_what_the_caller_does_not_sample_is_not_sent(
    traced: Service, peer: Peer, photo: str
) -> None:
    unsampled, later = "7" * 32, "8" * 32
    traced.deliver(photo, b3=f"{unsampled}-{CALLERS_SPAN_ID}-0")
    traced.deliver(photo, b3=f"{later}-{CALLERS_SPAN_ID}-1")
    peer.trace(later)
    assert peer.spans(unsampled) == []
    asked = [headers for headers in peer.asked if headers.get("x-b3-traceid") == unsampled]
    assert {headers["x-b3-sampled"] for headers in asked} == {"0"}


def test_each_job_leaves_one_line_with_its_stages_and_ids(
    traced: Service, user: User, photo: str
) -> None:
    trace_id = "9" * 32
    traced.deliver(photo, b3=f"{trace_id}-{CALLERS_SPAN_ID}-1")
    (line,) = traced.lines(event="removal_finished", image_id=photo)
    assert (line["trigger"], line["current_retry"], line["trace_id"]) == ("event", 2, trace_id)
    assert line["event_id"]
    assert line["job_id"]
    documented = set(OPERATIONS.replace("`", " ").replace(",", " ").split())
    assert set(line) - {"timestamp", "level", "event", "logger"} <= documented
    assert {f"{stage}_ms" for stage in STAGES} <= set(line)
    user.upload(photo, b"hopeless")
    traced.deliver(photo)
    (line,) = traced.lines(event="removal_unfinished", image_id=photo)
    assert line["code"] == "unsupported-image"
    assert {"find_ms", "fetch_ms", "probe_ms", "record_ms", "total_ms"} <= set(line)
    assert "decode_ms" not in line
    assert len(line["trace_id"]) == 32  # of a trace that began here


def test_the_counts_follow(traced: Service, database: Database, image_id: str, photo: str) -> None:
    assert traced.deliver(photo).status_code == 200
    without_source = str(uuid.uuid4())
    database.insert_without_event(without_source)
    assert traced.deliver(without_source).status_code == 404
    text = traced.metrics()
    samples = {
        name: float(value)
        for line in text.splitlines()
        if not line.startswith("#")
        for name, _, value in [line.rpartition(" ")]
    }
    again = 'removal_retries_requested_total{code="source-not-found",trigger="event"}'
    assert samples[again] >= 1
    assert samples["removal_source_bytes_total"] >= ROCKET.stat().st_size
    assert samples["removal_cutout_bytes_total"] > 0
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    ours = {
        n for n in families if not n.startswith(("process_", "python_")) and n[-8:] != "_created"
    }
    assert {name for name in ours if f"| `{name}` |" not in OPERATIONS} == set()


def test_a_dead_collector_harms_nothing_and_is_told_once(
    watch: Watch, stack: Stack, photo: str
) -> None:
    port = free_port()
    traces = f"http://127.0.0.1:{port}/v1/traces"
    service = watch(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=traces, OTEL_EXPORTER_OTLP_TIMEOUT="0.5")
    wait_for(service)
    deadline = time.monotonic() + 20
    while not service.lines(event="traces_lost"):
        assert service.deliver(photo, **B3).status_code == 200
        assert time.monotonic() < deadline, "nothing was told"
    for _ in range(5):
        assert service.deliver(photo, **B3).status_code == 200
        time.sleep(0.2)
    told = service.process.log.read_text()
    assert len(service.lines(event="traces_lost")) == 1
    assert (told.count("opentelemetry"), told.count("Traceback")) == (0, 0)
    with running_peer(stack.engine_url, port) as peer:
        service.deliver(photo, b3=f"{'a' * 32}-{CALLERS_SPAN_ID}-1")
        assert peer.trace("a" * 32)
        deadline = time.monotonic() + 10
        while not service.lines(event="traces_arrive_again"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    service.process.stop()
    assert service.process.process.returncode == 0


def test_without_a_collector_nothing_of_opentelemetry_is_loaded(
    stack: Stack, traced: Service
) -> None:
    def loads_protobuf(process: ServerProcess) -> bool:  # without it no span can be sent
        return "google/_upb" in Path(f"/proc/{process.process.pid}/maps").read_text()

    assert loads_protobuf(traced.process)
    assert not loads_protobuf(stack.service)
