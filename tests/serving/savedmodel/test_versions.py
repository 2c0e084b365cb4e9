"""Versions appear whole or not at all, whoever else writes, whenever the process is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from kapps.errors import UserError
from kapps.serving import prune, rollback, version_directory, versions, write_version
from kapps.serving.savedmodel import versions as versions_module
from serving.savedmodel import publish_cycle


def write_content(content):
    def write(directory):
        (directory / "saved_model.pb").write_text(content)

    return write


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


# Dies in the very call that shows a version, just before it is made.
KILLED_AT_THE_RENAME = """
import os, signal, sys
from kapps.serving import write_version

def die(source, target, rename=os.rename):
    print(sorted(os.listdir(source)), os.path.basename(target), flush=True)
    if sys.argv[2] == "after":
        rename(source, target)
    os.kill(os.getpid(), signal.SIGKILL)

def write(directory):
    (directory / "variables").mkdir()
    (directory / "variables" / "0").write_bytes(b"x" * 4096)
    (directory / "saved_model.pb").write_bytes(b"x")

os.rename = die
write_version(sys.argv[1], write)
"""


@pytest.mark.parametrize(("moment", "seen"), [("before", {}), ("after", {1})])
def test_a_version_is_there_with_the_rename_and_whole(tmp_path, moment, seen):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_RENAME, tmp_path, moment],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "['saved_model.pb', 'variables'] 1\n"
    assert set(versions(tmp_path)) == set(seen)
    for version in versions(tmp_path).values():
        assert (version / "variables" / "0").stat().st_size == 4096
        assert (version / "saved_model.pb").exists()


@pytest.mark.slow
def test_killed_at_every_system_call_a_reader_sees_whole_versions_only(tmp_path):
    done = subprocess.run(
        [sys.executable, publish_cycle.__file__, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100  # calls, each of which one process died at


def test_all_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    """Else a power cut leaves a version with empty files."""
    done = []
    names = {}

    def opened(path, *args, open=os.open, **kwargs):
        descriptor = open(path, *args, **kwargs)
        names[descriptor] = os.fspath(path)
        return descriptor

    def synced(descriptor, fsync=os.fsync):
        done.append(names[descriptor])
        fsync(descriptor)

    def renamed(source, target, rename=os.rename):
        done.append("rename")
        rename(source, target)

    def write(directory):
        (directory / "variables").mkdir()
        (directory / "variables" / "0").write_bytes(b"x")
        (directory / "saved_model.pb").write_bytes(b"x")

    for name, replacement in (("open", opened), ("fsync", synced), ("rename", renamed)):
        monkeypatch.setattr(os, name, replacement)
    write_version(tmp_path, write)
    before = done[: done.index("rename")]
    assert {os.path.basename(path) for path in before} >= {
        "0", "variables", "saved_model.pb"
    }  # fmt: skip
    assert any(os.path.basename(path).startswith(".tmp-") for path in before)
    assert done[done.index("rename") + 1 :] == [str(tmp_path)]


def test_an_empty_directory_of_somebody_else_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    monkeypatch.setattr(versions_module, "versions", lambda root: {})  # made since it was read
    assert write_version(tmp_path, write_content("ours")) == tmp_path / "2"
    assert os.listdir(tmp_path / "1") == []


def test_numbers_that_no_server_counts_to(tmp_path):
    for name in ("9" * 25, "1" * 200, str(2**63)):
        (tmp_path / name).mkdir()
    assert write_version(tmp_path, write_content("x")) == tmp_path / "1"
    assert list(versions(tmp_path)) == [1]
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(UserError, match="no number after version 9223372036854775807"):
        write_version(tmp_path, write_content("x"))


def test_the_highest_versions_are_kept(tmp_path):
    for _ in range(4):
        write_version(tmp_path, write_content("x"))
    (tmp_path / "notes").mkdir()
    assert prune(tmp_path, 2) == [tmp_path / "1", tmp_path / "2"]
    assert sorted(os.listdir(tmp_path)) == ["3", "4", "notes"]
    write_version(tmp_path, write_content("y"), keep=1)
    assert sorted(os.listdir(tmp_path)) == ["5", "notes"]
    for call in (prune, lambda root, keep: write_version(root, write_content("x"), keep=keep)):
        with pytest.raises(UserError, match="keep is 0; at least one"):
            call(tmp_path, 0)


def test_rollback_takes_the_last_version_away_and_keeps_it(tmp_path):
    for content in ("one", "two"):
        write_version(tmp_path, write_content(content))
    assert rollback(tmp_path) == tmp_path / "1" == version_directory(tmp_path)
    assert (tmp_path / "withdrawn-2" / "saved_model.pb").read_text() == "two"
    with pytest.raises(UserError, match="1 version, so there is none to go back to"):
        rollback(tmp_path)
    # A number is never used twice: a server may have loaded the other one.
    assert write_version(tmp_path, write_content("three")) == tmp_path / "3"


def _publish_five(root, start):
    start.wait()
    for _ in range(5):
        write_version(root, write_content(str(os.getpid())))


@pytest.mark.slow
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
