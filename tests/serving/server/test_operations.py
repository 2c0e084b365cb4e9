"""Versions come and go, workers die, and clients notice nothing of it."""

import http.client
import os
import shutil
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from serving.server import plain_models
from serving.server.soak import COUNTER, Client


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < end, said
        time.sleep(0.05)


def number(server, path=COUNTER):
    return server.post(f"{path}:predict", {"instances": [0.0]})[1]["predictions"][0]["number"]


def workers(server, model, version):
    """The processes that hold a version, as the log says."""
    said = [e for e in server.events() if e["event"] == "available" and e["model"] == model]
    return next(e["processes"] for e in said if e["version"] == version)


@pytest.mark.slow
def test_versions_are_swapped_and_workers_killed_under_load(server, served_root):
    clients = [Client(server.url, seed) for seed in range(4)]
    for client in clients:
        client.start()
    directory = served_root / "counter"
    try:
        before = server.metric("kapps_worker_restarts_total", model="counter")
        for version in (2, 3):
            plain_models.counter(directory, version)
            until(lambda version=version: number(server) == version)
            # Each client has to have asked it: on a busy machine one may wait for its turn.
            until(lambda version=version: all(c.numbers[-1:] == [version] for c in clients))
            for process in workers(server, "counter", version):
                os.kill(process, signal.SIGKILL)
            assert number(server) == version  # asked of a worker that is dead: again, of the next
        assert server.metric("kapps_worker_restarts_total", model="counter") >= before + 2
    finally:
        for client in clients:
            client.over.set()
        for client in clients:
            client.join()
    for client in clients:
        assert client.failed == [] and client.mixed == []
        assert client.numbers == [1.0, 2.0, 3.0]
    # The version before is gone, and is said to be.
    until(
        lambda: server.get(f"{COUNTER}/versions/2")[1]["model_version_status"][0]["state"] == "END"
    )
    assert server.post(f"{COUNTER}/versions/2:predict", {"instances": [0.0]})[0] == 404


@pytest.mark.slow
def test_labels_keep_a_version(server, served_root):
    directory = served_root / "counter"
    newer = int(number(server)) + 1
    plain_models.counter(directory, newer)
    until(lambda: number(server) == newer)
    (directory / "version_labels.json").write_text('{"stable": 1, "none": 77}')
    try:
        until(lambda: server.post(f"{COUNTER}/labels/stable:predict", {"instances": [0]})[0] == 200)
        assert number(server, f"{COUNTER}/labels/stable") == 1
        assert number(server, f"{COUNTER}/versions/1") == 1
        assert number(server) != 1
        assert server.post(f"{COUNTER}/labels/none:predict", {"instances": [0]})[0] == 404
    finally:
        (directory / "version_labels.json").unlink()
    until(lambda: server.post(f"{COUNTER}/versions/1:predict", {"instances": [0]})[0] == 404)


@pytest.mark.slow
def test_rollback_goes_back(server, served_root):
    highest = int(number(server))
    directory = served_root / "counter"
    plain_models.counter(directory, highest + 1)
    until(lambda: number(server) == highest + 1)
    os.rename(directory / str(highest + 1), directory / f"withdrawn-{highest + 1}")
    until(lambda: number(server) == highest)


@pytest.mark.slow
def test_a_version_that_cannot_be_loaded_replaces_nothing(server, served_root):
    good = int(number(server))
    broken = served_root / "counter" / "70"
    hidden = broken.with_name(".tmp-broken")
    shutil.copytree(served_root / "counter" / str(good), hidden)
    shutil.rmtree(hidden / "variables")
    (hidden / "saved_model.pb").write_bytes(b"junk")
    os.rename(hidden, broken)
    status = f"{COUNTER}/versions/70"
    until(lambda: server.get(status)[0] == 200)
    until(lambda: server.get(status)[1]["model_version_status"][0]["state"] == "END")
    assert server.get(status)[1]["model_version_status"][0]["status"]["error_message"]
    assert number(server) == good and server.get("/readyz")[0] == 200
    # Somebody finishes the copy: the version is tried again.
    whole = served_root / "counter" / str(good)
    shutil.copytree(whole, broken, dirs_exist_ok=True)
    until(lambda: server.get(status)[1]["model_version_status"][0]["state"] == "AVAILABLE")
    shutil.rmtree(broken)
    until(lambda: server.post(f"{status}:predict", {"instances": [0]})[0] == 404)


@pytest.mark.slow
def test_a_request_that_aborts_its_worker_costs_nobody_else_anything(server):
    """The kernel of a convolution ends the process where a tensor has three axes."""
    path = "/v1/models/fragile:predict"
    good = {"inputs": [[[[1.0]]]]}
    assert server.post(path, good) == (200, {"outputs": 1.0})
    restarts = server.metric("kapps_worker_restarts_total", model="fragile")
    said = []
    bad = threading.Thread(target=lambda: said.append(server.post(path, {"inputs": [[[1.0]]]})))
    bad.start()
    for _ in range(5):
        assert server.post(path, good) == (200, {"outputs": 1.0})
    bad.join()
    [(status, answer)] = said
    if status == 500:  # else this TensorFlow says that the rank is wrong
        assert "workers ended while they computed this" in answer["error"]
        assert server.metric("kapps_worker_restarts_total", model="fragile") >= restarts + 2
    else:
        assert status == 400
    assert server.get("/readyz")[0] == 200


def test_requests_that_wait_are_computed_together(server):
    def many():
        for _ in range(20):
            number(server)

    threads = [threading.Thread(target=many) for _ in range(8)]
    count = server.metric("kapps_batch_requests_count", model="counter")
    asked = server.metric("kapps_batch_requests_sum", model="counter")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = server.metric("kapps_batch_requests_sum", model="counter") - asked
    count = server.metric("kapps_batch_requests_count", model="counter") - count
    assert asked == 160 and count < 160


def test_a_large_request_is_computed_in_parts(server):
    """More rows than --batch, 8: parts, whose answers are one."""
    rows = [float(i) for i in range(50)]
    status, said = server.post(f"{COUNTER}:predict", {"inputs": rows})
    assert status == 200 and said["outputs"]["x"] == rows
    assert server.post(f"{COUNTER}:predict", {"inputs": []})[1]["outputs"]["x"] == []


def test_a_body_that_is_too_large(server):
    status, said = server.post(f"{COUNTER}:predict", b"[" + b"1," * 2**20)
    assert status == 413 and "1048576 bytes at most" in said["error"]
    # Nor when its length is not announced.
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    connection.request("POST", f"{COUNTER}:predict", iter([b"1" * 2**18] * 5), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.slow
def test_nothing_outside_the_root_is_read(server, served_root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(served_root / "half_plus_two" / "123", elsewhere / "1")
    (served_root / "linked").symlink_to(elsewhere)
    (served_root / "inner").mkdir()
    (served_root / "inner" / "1").symlink_to(elsewhere / "1")
    time.sleep(1)
    for name in ("linked", "inner"):
        assert server.get(f"/v1/models/{name}")[0] == 404
    for path in (
        "/v1/models/..%2f..%2fetc", "/v1/models/../../etc/passwd", "/models/..%2f../card",
        "/page/../../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/v2/models/%2e%2e/ready",
    ):  # fmt: skip
        status, _, body = server.raw(path)
        assert status in (400, 404) and b"root:" not in body
    for name in ("linked", "inner/1"):
        (served_root / name).unlink()


def test_health_metrics_and_the_page(server):
    assert server.get("/healthz") == (200, {"alive": True})
    assert server.get("/readyz") == (200, {"ready": True})
    assert server.metric("kapps_version_available", model="half_plus_two", version="123") == 1
    count = server.metric("kapps_requests_total", model="counter", method="predict", code="OK")
    number(server)
    assert server.metric(
        "kapps_requests_total", model="counter", method="predict", code="OK"
    ) == count + 1  # fmt: skip
    status, headers, body = server.raw("/")
    assert status == 200 and headers["content-type"].startswith("text/html") and body
    assert server.get("/models")[1]["half_plus_two"]["version"] == 123


def test_inputs_unlike_those_of_the_training_are_counted(server):
    def counted(name, feature):
        return server.metric(name, model="watched", version="1", input="x", feature=feature)

    assert server.metric("kapps_input_examples_total", model="watched") == 0  # warmed up it was
    rows = b'{"instances": [[0, 10], [4.5, 10], [-5, 18], [NaN, 30]]}'
    assert server.post("/v1/models/watched:predict", rows)[0] == 200
    assert server.post("/v1/models/watched:predict", {"inputs": [[1, 11]]})[0] == 200
    assert server.post("/v1/models/watched:predict", {"inputs": [[1, 11, 12]]})[0] == 400
    for feature, numbers in (("0", (4, 2, 0.5, 0, 1)), ("1", (5, 1, 79, 10, 2))):
        names = ("examples_total", "far_total", "sum", "training_mean", "training_std")
        assert tuple(counted(f"kapps_input_{name}", feature) for name in names) == numbers


def test_out_of_distribution_scores_are_counted(server):
    def counted():
        names = ("scored_examples_total", "out_of_distribution_total",
                 "out_of_distribution_score_sum", "out_of_distribution_threshold")  # fmt: skip
        labels = {"model": "watched", "version": "1"}
        return np.array([server.metric(f"kapps_{name}", **labels) for name in names])

    before = counted()
    for rows in (b"[[1, 10], [4.5, 10], [-5, 10]]", b"[[NaN, 10]]"):
        said = server.post("/v1/models/watched:predict", b'{"instances": ' + rows + b"}")
        assert said[0] == 200
    # -5 and NaN are above 4.5; NaN adds nothing to the sum.
    np.testing.assert_allclose(counted() - before, [4, 2, 10.5, 0 if before[3] else 4.5])
    assert counted()[3] == 4.5
    assert server.get("/models")[1]["watched"]["out_of_distribution"] == {"threshold": 4.5}
    assert server.get("/models")[1]["counter"]["out_of_distribution"] == {}


def test_loopback_alone_is_listened_at(server):
    port = urlsplit(server.url).port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent; the system chooses an address
        except OSError:
            pytest.skip("this machine has no other address")
        other = probe.getsockname()[0]
    if other.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError):
        socket.create_connection((other, port), timeout=2)
