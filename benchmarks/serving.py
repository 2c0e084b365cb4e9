"""`kapps serve` beside a plain starlette handler and KServe's server, and under swaps and kills.

    python benchmarks/serving.py            # how fast: serving.json
    python benchmarks/serving.py --soak     # 60 s of swaps and kills: serving_soak.json

How fast: a small convolutional network is asked in turns, by one client for the time of a request,
then by eight for how many are answered; and while versions are swapped, for the first answer of the
new one. KServe has an environment of its own, without TensorFlow: it asks the ONNX file, as
`kapps serve --engine onnx` does. The client is one process that does no more than it must; on two
cores it takes its part of them. Writes into benchmarks/results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:1] = [str(ROOT / "tests"), str(ROOT)]  # not this folder: tests have a `serving`, too

import grpc  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tyro  # noqa: E402

from benchmarks.harness import peers  # noqa: E402
from benchmarks.harness.http_client import Client  # noqa: E402
from kapps import files, serving, training  # noqa: E402
from kapps.serving.savedmodel import onnx_files  # noqa: E402
from kapps.serving.savedmodel.warmup import request_to_predict  # noqa: E402
from serving.server import plain_models, soak as soaking  # noqa: E402
from serving.server.conftest import Running  # noqa: E402

CLIENTS = 8
SHAPE, CLASSES = (32, 32, 3), 10
Measure = Callable[[int, float], list[float]]  # connections, seconds -> seconds of each request


@dataclasses.dataclass(frozen=True)
class Config:
    """What, and for how long."""

    soak: bool = False
    """swaps and kills instead of speed"""
    turns: int = 5
    """of the speed"""
    seconds: float = 3.0
    """of a measurement; of the soak: 60 is what the results have"""
    swaps: int = 10
    """of which the first answers are timed"""
    swap_every: float = 5.0
    """seconds between two swaps of the soak"""
    kill_every: float = 10.0
    """seconds between two kills of the soak"""


def main(config: Config) -> int:
    """Measure, print, write; 1 where the soak finds a fault."""
    with tempfile.TemporaryDirectory() as scratch:
        result = (soak if config.soak else speed)(pathlib.Path(scratch), config)
    result = {
        "command": "python benchmarks/serving.py" + " --soak" * config.soak,
        "machine": training.machine(),
        "versions": training.versions(),
        **result,
    }
    name = "serving_soak" if config.soak else "serving"
    files.write_json(ROOT / "benchmarks" / "results" / f"{name}.json", result)
    print(json.dumps({key: result[key] for key in result if key != "versions"}, indent=1))
    return 1 if result.get("failed") or result.get("mixed") else 0


def speed(scratch: pathlib.Path, config: Config) -> dict:
    """Contestants in turns, and the first answers after swaps."""
    root = scratch / "models"
    version = publish(root / "net")
    with_file, _ = serving.publish_for_inference(version, scratch / "onnx" / "net", onnx=True)
    image = np.random.default_rng(0).integers(0, 256, (1, *SHAPE), np.uint8)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(started("plain_server.py", version))
        ours = stack.enter_context(server(root))
        onnx = stack.enter_context(server(with_file.parents[1], "--engine", "onnx"))
        binary, headers = v2_request(image)
        rows = json.dumps({"instances": image.tolist()}).encode()
        as_json = {"Content-Type": "application/json"}
        contestants: dict[str, Measure] = {
            "the signature alone": alone(version, image),
            "starlette, bytes": http(f"{plain}/bytes", image.tobytes()),
            "starlette, JSON": http(f"{plain}/json", rows, as_json),
            "kapps serve, V2 with bytes": http(f"{ours.url}/v2/models/net/infer", binary, headers),
            "kapps serve, V1 with JSON": http(f"{ours.url}/v1/models/net:predict", rows, as_json),
            "kapps serve, gRPC": over_grpc(ours.grpc, image),
            "kapps serve --engine onnx, V2 with bytes": http(
                f"{onnx.url}/v2/models/net/infer", binary, headers
            ),
        }
        try:
            python = peers.python(peers.REQUIREMENTS.with_name("kserve.txt"))
            file = onnx_files.onnx_file(with_file, "serving_default")
            theirs = stack.enter_context(started("kserve_server.py", file, python))
            contestants |= {
                "KServe, ONNX file, V2 with bytes": http(
                    f"{theirs}/v2/models/net/infer", binary, headers
                ),
                "KServe, ONNX file, V1 with JSON": http(
                    f"{theirs}/v1/models/net:predict", rows, as_json
                ),
            }
        except peers.NoPeers as error:
            print(f"without KServe: {error}")
        found = compete(contestants, config)
        first = first_answers(ours.url, root / "net", binary, headers, config.swaps)
    raw = found["the signature alone"]["p50_ms"]
    for row in found.values():
        row["more_than_the_signature_ms"] = row["p50_ms"] - raw
    return {"turns": config.turns, "seconds": config.seconds, "contestants": found, "swaps": first}


def publish(root: pathlib.Path) -> pathlib.Path:
    """A network of two convolutions that nobody has trained."""
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE, name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
    x = keras.layers.Dense(CLASSES)(keras.layers.GlobalAveragePooling2D()(x))
    return serving.export(keras.Model(image, x), root, [f"class {i}" for i in range(CLASSES)])


@contextlib.contextmanager
def server(root: pathlib.Path, *flags: str) -> Iterator[Running]:
    """`kapps serve`, ready."""
    running = Running(root, "--grpc-port", "0", "--poll", "0.2", *flags)
    running.wait_ready()
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def started(
    program: str, model: pathlib.Path, python: str | os.PathLike = sys.executable
) -> Iterator[str]:
    """Another server, ready; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = ROOT / "benchmarks" / "contestants" / program
    process = subprocess.Popen([python, path, model, str(port)], stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if process.poll() is not None:
                raise SystemExit(f"{program} does not start")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def v2_request(image: np.ndarray) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with bytes, that wants bytes."""
    tensor = {"name": "image", "shape": list(image.shape), "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": image.nbytes}
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": wanted}).encode()
    return head + image.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def alone(version: pathlib.Path, image: np.ndarray) -> Measure:
    """The signature, called in this process; for eight clients, one after the other."""
    loaded = tf.saved_model.load(str(version))
    signature = loaded.signatures["serving_default"]

    def measure(connections: int, seconds: float) -> list[float]:
        del connections
        return repeated(lambda: signature(image=tf.constant(image))["probabilities"].numpy(),
                        seconds)  # fmt: skip

    measure.loaded = loaded  # else its variables are gone
    return measure


def http(url: str, body: bytes, headers: dict[str, str] | None = None) -> Measure:
    """By so many connections."""

    def measure(connections: int, seconds: float) -> list[float]:
        client = Client(url, body, headers or {}, connections)
        times = client.ask(seconds)
        client.close()
        return times

    return measure


def over_grpc(address: str, image: np.ndarray) -> Measure:
    """By so many threads with a stub each."""
    message = request_to_predict("net", "serving_default", {"image": image})

    def measure(connections: int, seconds: float) -> list[float]:
        times: list[float] = []

        def ask() -> None:
            with grpc.insecure_channel(address) as channel:
                call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
                times.extend(repeated(lambda: call(message), seconds))

        threads = [threading.Thread(target=ask) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return times

    return measure


def repeated(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call, for so long."""
    times = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        call()
        times.append(time.perf_counter() - began)
    return times


def compete(contestants: dict[str, Measure], config: Config) -> dict[str, dict]:
    """All in turns: medians over the turns of p50, p99 and requests a second."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in contestants}
    for turn in range(config.turns + 1):  # the first one is practice
        for name, measure in contestants.items():
            single = measure(1, config.seconds)
            began = time.perf_counter()
            together = len(measure(CLIENTS, config.seconds))
            rate = together / (time.perf_counter() - began)
            if turn:
                p50, p99 = np.percentile(single, [50, 99]) * 1000
                found[name].append((float(p50), float(p99), rate))
    names = ("p50_ms", "p99_ms", f"requests_per_second_of_{CLIENTS}")
    return {
        name: dict(zip(names, map(statistics.median, zip(*rows, strict=True)), strict=True))
        for name, rows in found.items()
    }


def first_answers(
    url: str, root: pathlib.Path, body: bytes, headers: dict[str, str], swaps: int
) -> dict:
    """Swaps under one client: what the first answers of versions took, beside the median."""
    client = Client(f"{url}/v2/models/net/infer", body, headers)
    ratios = []
    for _ in range(swaps):
        highest = max(serving.versions(root))
        following = root / str(highest + 1)
        hidden = following.with_name(f".tmp-{following.name}")
        shutil.copytree(root / str(highest), hidden)
        answers: list[tuple[float, str]] = []

        def note(seconds: float, answer: bytes, answers=answers) -> None:
            head, _ = json.JSONDecoder().raw_decode(answer.decode("latin-1"))  # bytes after it
            answers.append((seconds, head["model_version"]))

        client.ask(1.0, note)
        os.rename(hidden, following)
        while answers[-1][1] != following.name:
            client.ask(0.2, note)
        client.ask(1.0, note)
        calm = statistics.median(seconds for seconds, _ in answers)
        first = next(seconds for seconds, version in answers if version == following.name)
        ratios.append(first / calm)
    client.close()
    return {"first_answer_over_median": sorted(ratios), "median": statistics.median(ratios)}


def soak(scratch: pathlib.Path, config: Config) -> dict:
    """Eight clients, a swap every five seconds, a kill every ten."""
    seconds = max(config.seconds, 60.0)
    root, ready = scratch / "models", scratch / "ready"
    plain_models.publish(root, "counter", 1, plain_models.counter)
    ready.mkdir()
    for number in range(2, 2 + int(seconds / config.swap_every)):
        plain_models.counter(ready, number)
    with server(root, "--timeout", "60") as running:
        clients = [soaking.Client(running.url, seed) for seed in range(CLIENTS)]
        for client in clients:
            client.start()
        began = time.monotonic()
        swaps = kills = 0
        while (passed := time.monotonic() - began) < seconds:
            if passed > config.swap_every * (swaps + 1) and (ready / str(swaps + 2)).exists():
                swaps += 1
                os.rename(ready / str(swaps + 1), root / "counter" / str(swaps + 1))
            if passed > config.kill_every * (kills + 1):
                kills += 1
                running.kill_workers()
            time.sleep(0.05)
        for client in clients:
            client.over.set()
        for client in clients:
            client.join()
        restarts = running.metric("kapps_worker_restarts_total")
    times = np.concatenate([client.times for client in clients]) * 1000
    return {
        "seconds": seconds,
        "clients": CLIENTS,
        "swaps": swaps,
        "versions_seen": min(len(client.numbers) for client in clients),
        "kills": kills,
        "workers_replaced": int(restarts),
        "requests": len(times),
        "failed": sum(len(client.failed) for client in clients),
        "mixed": sum(len(client.mixed) for client in clients),
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
        "longest_ms": float(times.max()),
    }


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
