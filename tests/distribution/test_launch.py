"""Several workers on this machine, without TensorFlow: programs of the shell."""

import io
import json
import subprocess
import sys

import pytest

from kapps import cli
from kapps.errors import UserError
from kapps.launch import cluster_configs, launch


def shell(program, workers=2, **settings):
    out = io.StringIO()
    code = launch(["sh", "-c", program], workers, out=out, **settings)
    return code, sorted(out.getvalue().splitlines())


def test_each_worker_has_its_place_among_all():
    configs = [json.loads(config) for config in cluster_configs(3)]
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": index} for index in range(3)
    ]
    clusters = [config["cluster"] for config in configs]
    addresses = clusters[0]["worker"]
    assert clusters == [{"worker": addresses}] * 3 and len(set(addresses)) == 3
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_lines_are_joined_behind_the_number_of_their_worker():
    code, lines = shell("echo a; echo $TF_CONFIG | grep -o 'index.*' >&2; printf 'half'")
    assert code == 0
    assert lines == ["[0] a", "[0] half", '[0] index": 0}}', "[1] a", "[1] half", '[1] index": 1}}']


def test_the_exit_code_is_that_of_the_worker_which_failed():
    assert shell("""case "$TF_CONFIG" in *'index": 1'*) exit 7;; esac""")[0] == 7
    assert shell("""case "$TF_CONFIG" in *'index": 1'*) kill -9 $$;; esac""")[0] == 137


def test_one_that_does_not_end_after_another_has_failed_is_stopped():
    program = """case "$TF_CONFIG" in *'index": 0'*) exec sleep 600;; esac; exit 3"""
    assert shell(program, grace_seconds=0.2) == (3, [])


def test_mistakes_are_refused():
    with pytest.raises(UserError, match="at least one"):
        launch(["true"], 0)
    with pytest.raises(UserError, match="no command"):
        launch([], 2)
    with pytest.raises(UserError, match="cannot be started"):
        launch(["/no/such/program"], 2)


def test_kapps_launch_hands_on_flags_and_the_exit_code(capsys):
    program = "import sys; print(sys.argv[1:]); sys.exit(5)"
    with pytest.raises(SystemExit) as ended:
        cli.main(["launch", "--workers", "1", "--", sys.executable, "-c", program, "--epochs", "3"])
    assert ended.value.code == 5
    assert capsys.readouterr().out == "[0] ['--epochs', '3']\n"


def test_it_needs_no_tensorflow():
    code = "import sys, kapps.launch, kapps.training; kapps.training.cluster()\n"
    code += "print('tensorflow' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
