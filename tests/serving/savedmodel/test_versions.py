"""Versions appear whole or not at all, whoever else writes, whenever the process is killed."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from kapps.errors import UserError
from kapps.serving import version_directory, versions, write_version
from kapps.serving.savedmodel import versions as versions_module

FILES = 20

# Publishes versions of 20 files, slowly, until it is killed; each file holds 4096 bytes.
PUBLISHER = f"""
import sys, time
from kapps.serving import write_version

def write(directory):
    (directory / "variables").mkdir()
    for i in range({FILES}):
        time.sleep(0.0005)
        (directory / "variables" / str(i)).write_bytes(b"x" * 4096)
    (directory / "saved_model.pb").write_bytes(b"x")

while True:
    write_version(sys.argv[1], write)
    print("published", flush=True)
"""


def write_content(content):
    def write(directory):
        (directory / "saved_model.pb").write_text(content)

    return write


def assert_whole(root):
    for version in versions(root).values():
        sizes = [(version / "variables" / str(i)).stat().st_size for i in range(FILES)]
        assert sizes == [4096] * FILES
        assert (version / "saved_model.pb").exists()


def test_versions_are_numbered_upwards_and_keep_what_they_hold(tmp_path):
    root = tmp_path / "a" / "model"
    assert write_version(root, write_content("one")) == root / "1"
    os.rename(root / "1", root / "7")
    assert write_version(root, write_content("two")) == root / "8"
    assert (root / "7" / "saved_model.pb").read_text() == "one"
    assert list(versions(root).items()) == [(7, root / "7"), (8, root / "8")]


def test_names_that_are_no_numbers_are_passed_over(tmp_path):
    for name in (".tmp-1", "9a", "-3", "1_0", "²", "00000010", "2"):
        (tmp_path / name).mkdir()
    assert list(versions(tmp_path)) == [2, 10]
    assert write_version(tmp_path, write_content("x")).name == "11"


def test_a_number_taken_meanwhile_is_left_alone(tmp_path, monkeypatch):
    for number in ("1", "2"):
        write_version(tmp_path, write_content(f"other {number}"))
    (tmp_path / "3").write_text("a file")
    monkeypatch.setattr(versions_module, "versions", lambda root: {})  # read before the others came
    assert write_version(tmp_path, write_content("ours")) == tmp_path / "4"
    texts = [(tmp_path / n / "saved_model.pb").read_text() for n in ("1", "2", "4")]
    assert texts == ["other 1", "other 2", "ours"]
    assert (tmp_path / "3").read_text() == "a file"


def test_nothing_is_seen_before_it_is_whole_and_nothing_stays_after_a_failure(tmp_path):
    seen = []

    def write(directory):
        seen.append(versions(tmp_path))
        raise RuntimeError("the check failed")

    with pytest.raises(RuntimeError, match="the check failed"):
        write_version(tmp_path, write)
    assert seen == [{}] and os.listdir(tmp_path) == []


def test_leftovers_of_killed_runs_are_cleared_after_a_day(tmp_path):
    for name, hours in (("old", 25), ("young", 23)):
        (tmp_path / f".tmp-{name}").mkdir()
        then = time.time() - hours * 3600
        os.utime(tmp_path / f".tmp-{name}", (then, then))
    write_version(tmp_path, write_content("x"))
    assert sorted(os.listdir(tmp_path)) == [".tmp-young", "1"]


def test_a_server_of_another_user_may_read(tmp_path):
    before = os.umask(0o022)
    try:
        version = write_version(tmp_path / "model", write_content("x"))
    finally:
        os.umask(before)
    assert version.stat().st_mode & 0o777 == 0o755


def test_a_kill_at_any_point_leaves_no_partial_version(tmp_path):
    moments = random.Random(0)
    for _ in range(12):
        command = [sys.executable, "-c", PUBLISHER, tmp_path]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"published\n"
            time.sleep(moments.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert_whole(tmp_path)
    assert list(tmp_path.glob(".tmp-*"))  # some were hit on the way


def _publish_five(root, start):
    start.wait()
    for _ in range(5):
        write_version(root, write_content(str(os.getpid())))


def test_processes_that_publish_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=_publish_five, args=(tmp_path, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert list(versions(tmp_path)) == list(range(1, 16))
    writers = [(v / "saved_model.pb").read_text() for v in versions(tmp_path).values()]
    assert sorted(writers) == sorted(str(p.pid) for p in processes for _ in range(5))


def test_version_directory_takes_a_version_or_the_highest(tmp_path):
    for _ in range(11):
        write_version(tmp_path, write_content("x"))
    (tmp_path / "12").mkdir()  # copied by hand, not finished
    assert version_directory(tmp_path) == tmp_path / "11"
    assert version_directory(tmp_path / "3") == tmp_path / "3"


@pytest.mark.parametrize(
    ("name", "words"), [("nowhere", "no such directory"), ("empty", "no SavedModel here")]
)
def test_version_directory_names_what_is_missing(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name}: .*{words}"):
        version_directory(tmp_path / name)
