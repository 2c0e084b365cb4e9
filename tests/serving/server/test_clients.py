"""The clients of deploy/ against the server; its C program: `serving/test_runtimes.py`."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import tensorflow as tf
import yaml

from serving.server import plain_models
from serving.small_classifier import CLASS_NAMES

DEPLOY = Path(__file__).parents[3] / "deploy"
CLIENTS = DEPLOY / "clients"


@pytest.fixture(scope="module")
def served(server, served_root, published, images, tmp_path_factory):
    """The classifier of these tests is served; a picture of it as a file."""
    (served_root / "clothes").mkdir()
    plain_models.replace(published.version, served_root / "clothes" / "1")
    until = time.monotonic() + 180
    while server.get("/v1/models/clothes/metadata")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    picture = tmp_path_factory.mktemp("pictures") / "one.png"
    picture.write_bytes(tf.io.encode_png(images[0]).numpy())
    return picture


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [[sys.executable, "client.py"], ["sh", "client.sh"], ["node", "client.mjs"]]
)
def test_clients_over_rest(server, served, published, command):
    needed = "curl" if command[0] == "sh" else command[0]
    if shutil.which(needed) is None:
        pytest.skip(f"there is no {needed}")
    done = subprocess.run(
        [*command, server.url, "clothes", str(served)],
        cwd=CLIENTS, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    best = int(published.expected[0].argmax())
    assert CLASS_NAMES[best] in done.stdout
    numbers = [float(number) for number in re.findall(r"0\.\d+", done.stdout)]
    assert min(abs(n - published.expected[0, best]) for n in numbers) < 1e-4


@pytest.mark.slow
def test_the_client_of_openvino_model_server(server):
    pytest.importorskip("requests")
    if importlib.util.find_spec("ovmsclient") is None:
        pytest.skip("ovmsclient is not installed")
    program = Path(__file__).with_name("ovms_client.py")
    done = subprocess.run(
        [sys.executable, program, urlsplit(server.url).netloc, server.grpc],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for said in answers.values():
        assert said["y"] == [2.5, 3.0, 4.5] and said["status"] == "AVAILABLE"
        assert said["error"] == "ModelNotFoundError"
    assert answers["grpc"]["inputs"] == {"x": {"shape": [-1], "dtype": "DT_FLOAT"}}


def test_files_of_the_deployment_agree():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert (DEPLOY / compose["services"]["kapps"]["build"]["context"] / "pyproject.toml").exists()
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    names = {port["name"] for port in container["ports"]}
    assert names == {port["targetPort"] for port in service["spec"]["ports"]}
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    flags = [flag for flag in container["args"] if flag.startswith("--")]
    said = subprocess.run(
        [sys.executable, "-m", "kapps", "serve", "--help"], capture_output=True, text=True,
        cwd=DEPLOY.parent, check=True,
    ).stdout  # fmt: skip
    assert all(flag in said for flag in flags)
