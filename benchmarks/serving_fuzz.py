"""Malformed requests at `kapps serve`, by HTTP and gRPC, many of them: what comes back.

    python benchmarks/serving_fuzz.py --requests 10000

Nothing may be answered with 500 or INTERNAL, no worker may end, and the server may not grow. Beside
the requests there are clients that send a byte now and then. Writes
benchmarks/results/serving_fuzz.json.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import http.client
import pathlib
import socket
import sys
import tempfile
import time
from urllib.parse import urlsplit

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:1] = [str(ROOT / "tests"), str(ROOT)]

import grpc  # noqa: E402
import tyro  # noqa: E402

from kapps import files, training  # noqa: E402
from serving.server import malformed, plain_models  # noqa: E402
from serving.server.conftest import Running  # noqa: E402
from serving.server.test_malformed import healthy, memory  # noqa: E402

SLOW = 200  # clients that do not get to the end of their requests
FAULTS = ("HTTP 500", "gRPC INTERNAL", "gRPC UNKNOWN", "gRPC UNAVAILABLE")
METHODS = ("Predict", "Classify", "Regress", "GetModelMetadata")


@dataclasses.dataclass(frozen=True)
class Config:
    """How many, and which."""

    requests: int = 10_000
    """by HTTP and gRPC together; one in five by gRPC"""
    seed: int = 1
    """of the requests"""


def main(config: Config) -> int:
    """Ask, print, write; 1 where anything is not as it has to be."""
    root = pathlib.Path(tempfile.mkdtemp())
    for name in malformed.NAMES:
        plain_models.publish(root, name, 1, getattr(plain_models, name))
    server = Running(root, "--grpc-port", "0", "--max-body", "1", "--batch", "8")
    server.wait_ready()
    messages = config.requests // 5
    http_codes(server, 500, config.seed + 1)  # what is loaded once is no growth
    before = {"server": memory(server.process.pid), "workers": sum(map(memory, server.workers()))}
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        for client in slow_clients(server):
            stack.enter_context(client)
        codes, faults = http_codes(server, config.requests - messages, config.seed)
        grpc_found, grpc_faults = grpc_codes(server, messages, config.seed)
        codes |= grpc_found
    after = {"server": memory(server.process.pid), "workers": sum(map(memory, server.workers()))}
    healthy(server)
    result = {
        "command": f"python benchmarks/serving_fuzz.py --requests {config.requests}",
        "machine": training.machine(),
        "seed": config.seed,
        "answers": dict(sorted(codes.items())),
        "answered_with_500": sum(n for code, n in codes.items() if code in FAULTS),
        "workers_replaced": int(server.metric("kapps_worker_restarts_total")),
        "grown_megabytes": {name: round(after[name] - before[name], 1) for name in before},
        "seconds": round(time.monotonic() - began),
        "exit_code": server.stop(),
    }
    files.write_json(ROOT / "benchmarks" / "results" / "serving_fuzz.json", result)
    print(result)
    for fault in (*faults, *grpc_faults):
        print("FAULT", *fault, f"(seed {config.seed})")
    return int(bool(result["answered_with_500"] or result["workers_replaced"]))


def http_codes(
    server: Running, count: int, seed: int
) -> tuple[collections.Counter[str], list[tuple]]:
    """How often which status came, and what was answered with one of 500 and more.

    Of these the number among `malformed.requests(count, seed)`, the answer and the request.
    """
    codes, faults = collections.Counter(), []
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    for number, (method, path, headers, body) in enumerate(malformed.requests(count, seed)):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        codes[f"HTTP {answer.status}"] += 1
        if answer.status >= 500:
            asked = (method, path, headers, body[:300])
            faults.append((f"HTTP request {number}:", answer.status, said[:300], *asked))
    connection.close()
    return codes, faults


def grpc_codes(
    server: Running, count: int, seed: int
) -> tuple[collections.Counter[str], list[tuple]]:
    """How often which code came, and of those that are faults the number, answer and message.

    The number is that among `malformed.messages(count, seed)`.
    """
    codes, faults = collections.Counter(), []
    with grpc.insecure_channel(server.grpc) as channel:
        for number, message in enumerate(malformed.messages(count, seed)):
            method = METHODS[number % len(METHODS)]
            call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
            try:
                call(message, timeout=60)
                codes["gRPC OK"] += 1
            except grpc.RpcError as error:
                code = f"gRPC {error.code().name}"
                codes[code] += 1
                if code in FAULTS:
                    asked = (method, message[:300].hex())
                    faults.append((f"gRPC message {number}:", code, error.details(), *asked))
    return codes, faults


def slow_clients(server: Running) -> list[socket.socket]:
    """Connections whose requests never end: half of a head, half of a body."""
    where = urlsplit(server.url)
    clients = []
    for number in range(SLOW):
        client = socket.create_connection((where.hostname, where.port), timeout=10)
        head = b"POST /v1/models/counter:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        client.sendall(head + b"\r\n[1," * (number % 2))
        clients.append(client)
    return clients


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
