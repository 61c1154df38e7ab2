"""A stand-in for a cluster's Kubernetes API server: pods and their logs and events, as far as the pod operators ask.

Each look at a pod moves it on: Pending, Running, Succeeded. One with `fails` in its name ends as Failed; one with `lasts`
runs until it is deleted.

It speaks TLS with a certificate that signs itself. Its users are one with the token `TOKEN`, and those of AWS: their token
holds a request to STS that only the owner of an access key can sign, for this cluster.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN: Final = "of-operators"
OF_AWS: Final = "k8s-aws-v1."
MOMENT: Final = "2026-01-01T00:00:00Z"
_PATH: Final = re.compile(
    r"/api/v1/namespaces/(?P<namespace>[^/]+)/(?P<kind>pods|events)(/(?P<name>[^/]+)(?P<log>/log)?)?"
)


class Cluster:
    def __init__(self) -> None:
        self.url = ""
        self.certificate = b""
        """Of its authority, in PEM."""
        self.keys: set[str] = set()
        """AWS's access keys with which users of AWS have signed."""
        self.is_over = threading.Event()
        self.pods: dict[str, dict[str, Any]] = {}
        self.looks: dict[str, int] = {}
        self.deleted: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type, body."""
        if not self._knows(authorization.removeprefix("Bearer ")):
            return self._refused(401, "Unauthorized")
        url = urlsplit(target)
        found = _PATH.fullmatch(url.path)
        if found is None:
            return self._refused(404, f"{url.path} is not here")
        name, query = found["name"], {key: values[0] for key, values in parse_qs(url.query).items()}
        if found["kind"] == "events" and query.get("watch") == "True":
            self.is_over.wait(min(5.0, float(query.get("timeoutSeconds", 5))))
            return 200, "application/json", b""
        with self._lock:
            if found["kind"] == "events":
                return self._list("EventList", [])
            if method == "POST":
                return self._created(found["namespace"], json.loads(body))
            if name is None:
                chosen = [pod for pod in self.pods.values() if _matches(pod, query.get("labelSelector", ""))]
                return self._list("PodList", chosen)
            if name not in self.pods:
                return self._refused(404, f'pods "{name}" not found')
            if found["log"]:
                return 200, "text/plain", f"{MOMENT} seven rows\n".encode()
            pod = self.pods[name]
            if method == "PATCH":
                pod["metadata"]["labels"].update(json.loads(body)["metadata"]["labels"])
            elif method == "DELETE":
                self.deleted.add(name)
                return _json(200, self.pods.pop(name))
            else:
                pod["status"] = self._status(pod)
            return _json(200, pod)

    def is_running(self, part: str) -> bool:
        return any(name.startswith(part) and pod["status"]["phase"] == "Running" for name, pod in self.pods.items())

    def is_deleted(self, part: str) -> bool:
        return any(name.startswith(part) for name in self.deleted)

    def _knows(self, token: str) -> bool:
        if not token.startswith(OF_AWS):
            return token == TOKEN
        text = token.removeprefix(OF_AWS)
        query = parse_qs(urlsplit(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()).query)
        self.keys.add(query["X-Amz-Credential"][0].partition("/")[0])
        return query["Action"] == ["GetCallerIdentity"] and "x-k8s-aws-id" in query["X-Amz-SignedHeaders"][0]

    def _created(self, namespace: str, pod: dict[str, Any]) -> tuple[int, str, bytes]:
        name = pod["metadata"]["name"]
        pod["metadata"] |= {"namespace": namespace, "uid": f"uid-of-{name}", "creationTimestamp": MOMENT}
        pod["status"] = {"phase": "Pending"}
        self.pods[name], self.looks[name] = pod, 0
        return _json(201, pod)

    def _status(self, pod: dict[str, Any]) -> dict[str, Any]:
        name = pod["metadata"]["name"]
        self.looks[name] += 1
        if self.looks[name] < 2:
            return {"phase": "Pending", "startTime": MOMENT}
        if self.looks[name] < 5 or "lasts" in name:
            return _with_container(pod, "Running", {"running": {"startedAt": MOMENT}})
        code = 1 if "fails" in name else 0
        end = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": MOMENT, "finishedAt": MOMENT}
        return _with_container(pod, "Failed" if code else "Succeeded", {"terminated": end})

    @staticmethod
    def _list(kind: str, items: list[dict[str, Any]]) -> tuple[int, str, bytes]:
        return _json(200, {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})

    @staticmethod
    def _refused(status: int, message: str) -> tuple[int, str, bytes]:
        told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "NotFound"}
        return _json(status, told | {"code": status})


@contextmanager
def serving() -> Iterator[Cluster]:
    """On a free port of 127.0.0.1."""
    cluster = Cluster()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            who = self.headers.get("authorization") or ""
            status, content_type, text = cluster.answer(self.command, self.path, who, body)
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        cluster.url = f"https://127.0.0.1:{server.server_port}"
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cluster.certificate, key = _certificate()
        with tempfile.NamedTemporaryFile() as file:
            file.write(key + cluster.certificate)
            file.flush()
            tls.load_cert_chain(file.name)
        # The handshake is made by the thread that reads the request.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield cluster
        cluster.is_over.set()
        server.shutdown()
        thread.join()


def kube_config(cluster: Cluster) -> str:
    """Of the user with a token."""
    authority = base64.b64encode(cluster.certificate).decode()
    here = {"name": "stand-in", "cluster": {"server": cluster.url, "certificate-authority-data": authority}}
    user = {"name": "operators", "user": {"token": TOKEN}}
    context = {"name": "stand-in", "context": {"cluster": "stand-in", "user": "operators"}}
    whole = {"apiVersion": "v1", "kind": "Config", "clusters": [here], "users": [user], "contexts": [context]}
    return json.dumps(whole | {"current-context": "stand-in"})


def _certificate() -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 that signs itself, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


def _with_container(pod: dict[str, Any], phase: str, state: dict[str, Any]) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    told = {"name": container["name"], "image": container["image"], "imageID": "sha256:1", "restartCount": 0}
    is_running = "running" in state
    return {
        "phase": phase,
        "startTime": MOMENT,
        "containerStatuses": [told | {"ready": is_running, "started": is_running, "state": state}],
    }


def _matches(pod: dict[str, Any], selector: str) -> bool:
    """Whether the pod's labels are as `a=b,c!=d,e,!f` wants them."""
    labels = pod["metadata"].get("labels", {})
    for wanted in filter(None, map(str.strip, selector.split(","))):
        name, operator, value = re.split(r"(!=|==?)", wanted) if "=" in wanted else (wanted.lstrip("!"), "", "")
        match operator:
            case "":
                holds = (name in labels) != wanted.startswith("!")
            case "!=":
                holds = labels.get(name) != value
            case _:
                holds = labels.get(name) == value
        if not holds:
            return False
    return True


def _json(status: int, body: Any) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body).encode()
