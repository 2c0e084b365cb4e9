"""Ten thousand malformed requests at `kapps serve`, by HTTP and gRPC: what comes back.

python benchmarks/serving_fuzz.py [COUNT]
"""

import collections
import http.client
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1])]

from serving.server import malformed, plain_models  # noqa: E402
from serving.server.conftest import Running  # noqa: E402
from serving.server.test_malformed import memory  # noqa: E402


def main(count: int) -> None:
    """Prints a line per status, and what was left of the server."""
    root = Path(tempfile.mkdtemp())
    for name in malformed.NAMES:
        plain_models.publish(root, name, 1, getattr(plain_models, name))
    server = Running(root, "--grpc-port", "0", "--max-body", "1", "--batch", "8")
    server.wait_ready()
    before, began = memory(server.process.pid), time.monotonic()
    codes = collections.Counter()
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    for number, (method, path, headers, body) in enumerate(malformed.requests(count, seed=1)):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        codes[f"HTTP {answer.status}"] += 1
        if answer.status >= 500:
            print("FAULT", number, method, path, headers, body[:300])
    try:
        import grpc
    except ImportError:
        print("gRPC is not installed")
    else:
        with grpc.insecure_channel(server.grpc) as channel:
            call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            for message in malformed.messages(count // 4, seed=1):
                try:
                    call(message, timeout=60)
                    codes["gRPC OK"] += 1
                except grpc.RpcError as error:
                    codes[f"gRPC {error.code().name}"] += 1
    for code, times in sorted(codes.items()):
        print(f"{code:24} {times}")
    print(f"workers replaced         {server.metric('kapps_worker_restarts_total'):g}")
    grown = memory(server.process.pid) - before
    print(f"server grew by           {grown:.1f} MB in {time.monotonic() - began:.0f} s")
    print(f"it stops with            {server.stop()}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
