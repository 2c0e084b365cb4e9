"""The files for SLURM and Kubernetes say what kapps understands."""

import json
import os
import pathlib
import subprocess

import pytest

from kapps import training

ROOT = pathlib.Path(__file__).parents[2]
FILES = ROOT / "recipes" / "cluster"


def documents(name):
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((FILES / name).read_text()))


def cluster_of(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    return training.cluster()


def programs(directory, **scripts):
    """A directory for PATH with programs that stand for those of a cluster."""
    for name, body in scripts.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


@pytest.mark.parametrize("worst, requeued", [(0, False), (2, False), (137, True)])
def test_slurm_starts_a_worker_on_each_node(tmp_path, monkeypatch, worst, requeued):
    """srun runs the last arguments as every task; python says what it was given."""
    srun = 'while [ "$1" != bash ]; do shift; done\n'
    srun += f'for i in 0 1; do SLURM_PROCID=$i "$@"; done; exit {worst}'
    environment = programs(
        tmp_path,
        srun=srun,
        python='echo "$TF_CONFIG" | tr "\\n" " "; echo "|$*"',
        scontrol='[ "$1" = requeue ] && echo "requeue $2" || printf "node1\\nnode2\\n"',
    )
    environment |= {"SLURM_JOB_ID": "20123", "SLURM_JOB_NODELIST": "node[1-2]"}
    done = subprocess.run(
        ["bash", FILES / "slurm.sh", "recipes/vae.py", "--epochs", "3"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == worst and not done.stderr
    *workers, last = done.stdout.splitlines() if requeued else [*done.stdout.splitlines(), ""]
    assert last == ("requeue 20123" if requeued else "")
    for index, line in enumerate(workers):
        config, _, arguments = line.partition("|")
        assert arguments == "recipes/vae.py --epochs 3"
        found = cluster_of(monkeypatch, config)
        assert found == (("node1:20123", "node2:20123"), index)
    assert len(workers) == 2


def test_a_stateful_set_gives_each_pod_its_place(tmp_path, monkeypatch):
    service, claim, pods = documents("statefulset.yaml")
    assert [each["kind"] for each in (service, claim, pods)] == [
        "Service", "PersistentVolumeClaim", "StatefulSet",
    ]  # fmt: skip
    name, spec = pods["metadata"]["name"], pods["spec"]
    assert spec["serviceName"] == service["metadata"]["name"]
    assert spec["podManagementPolicy"] == "Parallel"  # else the first waits for ever
    labels = spec["template"]["metadata"]["labels"]
    assert labels == spec["selector"]["matchLabels"] == service["spec"]["selector"]
    (container,) = spec["template"]["spec"]["containers"]
    (volume,) = spec["template"]["spec"]["volumes"]
    assert container["volumeMounts"][0]["name"] == volume["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    path = programs(tmp_path, python='echo "$TF_CONFIG" | tr "\\n" " "; echo "|$1"')
    for index in range(spec["replicas"]):
        environment = {**path, "HOSTNAME": f"{name}-{index}"}
        said = subprocess.run(
            container["command"], env=environment, capture_output=True, text=True, check=True
        ).stdout
        config, _, recipe = said.strip().partition("|")
        addresses = tuple(f"{name}-{i}.{name}:2222" for i in range(spec["replicas"]))
        assert cluster_of(monkeypatch, config) == (addresses, index)
        assert (ROOT / recipe).exists()


def test_a_tf_job_has_the_form_that_its_operator_reads(monkeypatch):
    (job,) = documents("tfjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    worker = job["spec"]["tfReplicaSpecs"]["Worker"]
    assert worker["restartPolicy"] == "OnFailure" and worker["replicas"] == 2
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]
    assert (ROOT / container["command"][1]).exists()
    # As the operator writes it: with an environment beside cluster and task.
    addresses = [f"kapps-worker-{i}.default.svc:2222" for i in range(2)]
    text = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 1}}
    found = cluster_of(monkeypatch, json.dumps(text | {"environment": "cloud"}))
    assert found == (tuple(addresses), 1)
