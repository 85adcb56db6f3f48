"""A stand-in for RunPod's platform: hands out jobs, takes their results; on loopback."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import serving

API_KEY = "a-key-of-the-platform"
_POLL_S = 0.5  # the platform's own long poll takes up to 90 s


class Platform(ThreadingHTTPServer):
    """One endpoint with one worker; knows what was handed out, and what came back."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.queue: Queue[dict[str, Any]] = Queue()
        self.results: dict[str, list[dict[str, Any]]] = {}
        self.pings: list[str] = []
        self.refused = 0
        self.arrived = threading.Condition()

    def worker_settings(self) -> dict[str, str]:
        """Return what the platform sets in a worker's environment."""
        base = f"http://127.0.0.1:{self.server_port}/v2/endpoint"
        return {
            "RUNPOD_POD_ID": "worker-1",
            "RUNPOD_ENDPOINT_ID": "endpoint",
            "RUNPOD_AI_API_KEY": API_KEY,
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
            # They look for a public address and for gigabytes of memory, which a test may lack.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        }

    def submit(self, job_id: str, job_input: Any) -> None:
        self.queue.put({"id": job_id, "input": job_input})

    def run(self, *jobs: tuple[str, Any]) -> list[dict[str, Any]]:
        """Submit jobs, and wait for the results of all."""
        for job_id, job_input in jobs:
            self.submit(job_id, job_input)
        return [self.result(job_id) for job_id, _ in jobs]

    def result(self, job_id: str, patience_s: float = 30) -> dict[str, Any]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: job_id in self.results, patience_s), self.results
            (result,) = self.results[job_id]
            return result

    def take(self, count: int) -> list[dict[str, Any]]:
        """Return the next jobs, as soon as there is one."""
        jobs: list[dict[str, Any]] = []
        try:
            jobs.append(self.queue.get(timeout=_POLL_S))
            while len(jobs) < count:
                jobs.append(self.queue.get_nowait())
        except Empty:
            pass
        return jobs


class _Handler(BaseHTTPRequestHandler):
    server: Platform

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if self.headers["Authorization"] != API_KEY:
            self.server.refused += 1
            self._answer(401, None)
        elif "/ping/" in path:
            self.server.pings.append(path)
            self._answer(200, {})
        elif "/job-take-batch/" in path:
            jobs = self.server.take(int(query["batch_size"][0]))
            self._answer(200 if jobs else 204, jobs)
        elif "/job-take/" in path:
            jobs = self.server.take(1)
            self._answer(200 if jobs else 204, jobs[0] if jobs else None)
        else:  # job-stop: nobody has cancelled a job
            time.sleep(_POLL_S)
            self._answer(204, None)

    def do_POST(self) -> None:
        *_, job_id = urlsplit(self.path).path.split("/")
        result = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.arrived:
            self.server.results.setdefault(job_id, []).append(result)
            self.server.arrived.notify_all()
        self._answer(200, {})

    def _answer(self, status: int, body: Any) -> None:
        content = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def platform() -> Iterator[Platform]:
    """Run it in a thread."""
    server = Platform()
    with serving(server):
        yield server
