"""A fake of Kubernetes' API server, for the real kubectl: there is no cluster here.

It holds what it is given to Kubernetes' schemas, as strictly as kubectl asks a server to, and keeps
it. A deployment is available at once.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

_NEWEST = kubernetes_validate.latest_version().removesuffix(".0")
_KINDS = {
    "v1": ("ConfigMap", "Secret", "ServiceAccount", "Service"),
    "apps/v1": ("Deployment",),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "policy/v1": ("PodDisruptionBudget",),
}


def _read(body: bytes) -> dict[str, Any]:
    """Return an object that kubectl sent: JSON, or a secret in Kubernetes' own envelope.

    Of a secret's protobuf only the name and the variables' names are found, which is all we need.
    """
    if not body.startswith(b"k8s\0"):
        read: dict[str, Any] = json.loads(body)
        return read
    _version, name, *variables = re.findall(rb"\n[\x01-\x7f]([\w-]+)\x12", body)
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": name.decode()},
        "variables": [variable.decode() for variable in variables],
    }


def _plural(kind: str) -> str:
    return f"{kind.lower()[:-1]}ies" if kind.endswith("y") else f"{kind.lower()}s"


def _root(version: str) -> str:
    return "/apis/" + version if "/" in version else "/api/" + version


def _discovery(path: str) -> dict[str, Any] | None:
    """Answer what kubectl asks before it knows what a server has."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        named = [version.split("/") for version in _KINDS if "/" in version]
        groups = [(group, {"groupVersion": f"{group}/{v}", "version": v}) for group, v in named]
        return {
            "kind": "APIGroupList",
            "groups": [{"name": name, "versions": [v]} for name, v in groups],
        }
    if path == "/openapi/v3":
        return {
            "paths": {_root(v)[1:]: {"serverRelativeURL": f"/openapi{_root(v)}"} for v in _KINDS}
        }
    for version, kinds in _KINDS.items():
        if path == _root(version):
            resources = [
                {"name": _plural(kind), "kind": kind, "namespaced": True, "verbs": ["get"]}
                for kind in kinds
            ]
            return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        if path == f"/openapi{_root(version)}":
            group, _, number = version.rpartition("/")
            return {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": "fake"},
                "paths": {
                    f"{_root(version)}/namespaces/{{namespace}}/{_plural(kind)}/{{name}}": {
                        "patch": {
                            "x-kubernetes-group-version-kind": {
                                **{"group": group, "version": number, "kind": kind}
                            },
                            "parameters": [{"name": "fieldValidation", "in": "query"}],
                            "responses": {},
                        }
                    }
                    for kind in kinds
                },
            }
    return None


class KubernetesApi(ThreadingHTTPServer):
    """The server; `objects` are what kubectl made, by their paths."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, Any]] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KubernetesApi

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        query = parse_qs(target.query)
        found = _discovery(target.path) or self.server.objects.get(target.path)
        if "watch" in query:  # nothing changes any more
            self._answer(200, None)
        elif "fieldSelector" in query:
            name = query["fieldSelector"][0].partition("=")[2]
            items = [self.server.objects[f"{target.path}/{name}"]]
            self._answer(200, {"kind": "List", "metadata": {}, "items": items})
        elif found is None:
            self._answer(404, {"kind": "Status", "status": "Failure", "reason": "NotFound"})
        else:
            self._answer(200, found)

    def do_POST(self) -> None:
        target = urlsplit(self.path)
        assert parse_qs(target.query)["fieldValidation"] == ["Strict"]
        made = _read(self.rfile.read(int(self.headers["Content-Length"])))
        if made["kind"] != "Secret":
            kubernetes_validate.validate(made, _NEWEST, strict=True)
        if made["kind"] == "Deployment":
            made["spec"].setdefault("replicas", 1)
            counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            made["status"] = dict.fromkeys(counts, made["spec"]["replicas"])
        self.server.objects[f"{target.path}/{made['metadata']['name']}"] = made
        self._answer(201, made)

    def _answer(self, status: int, content: dict[str, Any] | None) -> None:
        body = json.dumps(content).encode() if content else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
