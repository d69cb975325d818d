"""Enough of Kubernetes' API for Helm to look an object up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_VERSION = {"groupVersion": "apps/v1", "version": "v1"}
_DEPLOYMENTS = {
    "name": "deployments",
    "singularName": "deployment",
    "kind": "Deployment",
    "namespaced": True,
    "verbs": ["get"],
}
_DISCOVERY: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": []},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [{"name": "apps", "versions": [_VERSION], "preferredVersion": _VERSION}],
    },
    "/apis/apps/v1": {
        "kind": "APIResourceList",
        "groupVersion": "apps/v1",
        "resources": [_DEPLOYMENTS],
    },
    "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
}
_NOT_FOUND = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}


@contextmanager
def cluster_with(namespace: str, name: str, spec: dict[str, Any] | None) -> Iterator[str]:
    """Serve a cluster with one Deployment, or none, and give the kubeconfig to reach it."""
    answers = dict(_DISCOVERY)
    if spec is not None:
        metadata = {"name": name, "namespace": namespace}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        answers[path] = {**deployment, "spec": spec}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found or _NOT_FOUND).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = {"server": f"http://127.0.0.1:{server.server_port}"}
        yield json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": here}],
                "contexts": [{"name": "test", "context": {"cluster": "test"}}],
                "current-context": "test",
            }
        )
        server.shutdown()
