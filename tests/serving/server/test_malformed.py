"""A thousand malformed requests: each is answered, none with 500, and nothing dies of them."""

import concurrent.futures
import http.client
import socket
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from serving.server import malformed


def memory(process):
    """Megabytes that a process holds."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def healthy(server):
    assert server.get("/healthz")[0] == 200
    answer = server.post("/v1/models/half_plus_two:predict", {"instances": [1.0, 2.0, 5.0]})
    assert answer == (200, {"predictions": [2.5, 3.0, 4.5]})


@pytest.mark.slow
def test_requests(server):
    address = urlsplit(server.url).netloc
    connection = http.client.HTTPConnection(address, timeout=60)
    restarts = server.metric("kapps_worker_restarts_total")
    before = memory(server.process.pid)
    codes = {}
    for method, path, headers, body in malformed.requests(1000):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        codes.setdefault(answer.status, []).append((method, path, body))
    connection.close()
    assert not [code for code in codes if code >= 500], {c: r[0] for c, r in codes.items()}
    assert len(codes[400]) > 400
    assert server.metric("kapps_worker_restarts_total") == restarts
    assert memory(server.process.pid) < before + 100
    healthy(server)


def test_messages(server):
    grpc = pytest.importorskip("grpc")
    restarts = server.metric("kapps_worker_restarts_total")
    codes = set()
    with grpc.insecure_channel(server.grpc) as channel:
        for method in ("Predict", "Classify", "Regress", "GetModelMetadata"):
            call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
            for message in malformed.messages(60):
                try:
                    call(message, timeout=60)
                except grpc.RpcError as error:
                    codes.add(error.code().name)
    assert codes <= {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
    assert server.metric("kapps_worker_restarts_total") == restarts
    healthy(server)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET", b"\x00" * 1000, b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000,
        b"POST /v1/models/counter:predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/models/counter:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort",
        b"POST /v1/models/counter:predict HTTP/1.1\r\nHost: x\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)  # fmt: skip
def test_clients_that_stop_in_the_middle(server, sent):
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as client:
        client.sendall(sent)
        healthy(server)
    healthy(server)


def test_the_benchmark_says_what_was_wrong_over_grpc():
    """A fault is told with its code, its words, and the number that makes the message again."""
    grpc = pytest.importorskip("grpc")
    from benchmarks import serving_fuzz

    class Faulty(grpc.GenericRpcHandler):
        def service(self, details):
            def handle(request, context):
                if details.method.endswith("/Classify"):
                    context.abort(grpc.StatusCode.INTERNAL, "boom")
                return b""

            return grpc.unary_unary_rpc_method_handler(handle)

    service = grpc.server(concurrent.futures.ThreadPoolExecutor(1), (Faulty(),))
    address = f"127.0.0.1:{service.add_insecure_port('127.0.0.1:0')}"
    service.start()
    codes, faults = serving_fuzz.grpc_codes(SimpleNamespace(grpc=address), 8, seed=3)
    service.stop(0)
    assert codes == {"gRPC OK": 6, "gRPC INTERNAL": 2}
    sent = list(malformed.messages(8, 3))
    assert faults == [
        (f"gRPC message {n}:", "gRPC INTERNAL", "boom", "Classify", sent[n][:300].hex())
        for n in (1, 5)
    ]
