import dataclasses
import errno
import json
import os
import subprocess
import sys
import textwrap

import pytest

from kapps import evaluation, files
from kapps.errors import UserError
from kapps.training import open_run
from kapps.training.run_directory.run import digest, write_rows


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str | None = None
    overwrite: bool = False
    epochs: int = 3
    widths: tuple[int, ...] = (4, 2)
    data_dir: str | None = None


def begun(path, **changes):
    """A run that has a checkpoint, so that there is something to protect."""
    run = open_run("demo", Config(run_dir=str(path), **changes))
    (run.checkpoints / "state-1.npz").write_bytes(b"weights")
    run.close()
    return run


def test_a_new_directory_says_what_made_it(tmp_path):
    run = begun(tmp_path / "run")
    facts = json.loads((run.path / "config.json").read_text())
    assert facts["recipe"] == "demo"
    assert facts["config"]["epochs"] == 3 and facts["config"]["widths"] == [4, 2]
    assert {"keras", "numpy"} <= set(facts["versions"])
    assert not run.finished and run.checkpoints.is_dir() and run.plots.is_dir()


def test_the_same_config_comes_back_and_another_one_is_refused_by_field(tmp_path):
    begun(tmp_path / "run")
    begun(tmp_path / "run", data_dir="/elsewhere")  # where data lies is not what is trained
    with pytest.raises(UserError, match=r"epochs \(was 3, now 4\).*--overwrite"):
        begun(tmp_path / "run", epochs=4)
    with pytest.raises(UserError, match="belongs to the recipe demo"):
        open_run("other", Config(run_dir=str(tmp_path / "run")))


def test_default_directory_depends_on_the_config_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {open_run("demo", Config(epochs=e), name="x").path.as_posix() for e in (3, 3, 4)}
    assert len(names) == 2 and all(name.startswith("runs/demo/x-") for name in names)


def test_digest_depends_on_what_is_trained_alone():
    assert digest({"epochs": 3, "run_dir": "a"}) == digest({"run_dir": "b", "epochs": 3})
    assert digest({"epochs": 3}) == "543da7ab"


def test_overwrite_starts_afresh(tmp_path):
    run = begun(tmp_path / "run")
    files.write_json(run.path / "metrics.json", {})
    with open_run("demo", Config(run_dir=str(run.path), overwrite=True, epochs=9)) as again:
        assert not again.finished and not list(again.checkpoints.iterdir())


def test_a_run_that_never_trained_gives_way(tmp_path):
    for epochs in (3, 4):
        with open_run("demo", Config(run_dir=str(tmp_path / "run"), epochs=epochs)) as run:
            assert run.facts()["config"]["epochs"] == epochs
            picture = run.plots / "lr_find.png"
            assert picture.exists() == (epochs == 4)  # what the range test drew stays
            picture.write_bytes(b"png")


def test_finish_marks_the_run(tmp_path):
    with open_run("demo", Config(run_dir=str(tmp_path / "run"))) as run:
        run.finish({"test_accuracy": 0.5})
    assert begun(tmp_path / "run").metrics() == {"test_accuracy": 0.5}


def test_two_processes_do_not_share_a_directory(tmp_path):
    with open_run("demo", Config(run_dir=str(tmp_path / "run"))):
        code = f"""
            import sys; sys.path[:0] = {sys.path!r}
            import dataclasses
            from kapps.training import open_run
            from kapps.errors import UserError
            Config = dataclasses.make_dataclass("C", ["run_dir", "overwrite"])
            try:
                open_run("demo", Config({str(tmp_path / "run")!r}, True))
            except UserError as error:
                print(error)
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        said = subprocess.run(command, capture_output=True, text=True).stdout
    assert "in use by another process" in said
    assert (tmp_path / "run" / "config.json").exists()  # --overwrite did not get that far


def test_the_lock_goes_with_a_killed_process(tmp_path):
    code = f"""
        import sys; sys.path[:0] = {sys.path!r}
        import dataclasses, os, signal
        from kapps.training import open_run
        Config = dataclasses.make_dataclass("C", ["run_dir", "overwrite", "epochs", "widths"])
        run = open_run("demo", Config({str(tmp_path / "run")!r}, False, 3, (4, 2)))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
    assert begun(tmp_path / "run").path.is_dir()


@pytest.mark.parametrize("content", ["{", "[]", '{"recipe": "demo"}', '{"recipe": 1, "config": 2}'])
def test_a_damaged_config_is_named(tmp_path, content):
    run = begun(tmp_path / "run")
    (run.path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json.*--overwrite"):
        begun(tmp_path / "run")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files_there",
    [
        {"thesis.txt": "mine"},
        {"config.json": '{"model_type": "bert"}', "weights.bin": "mine"},
        {"config.json": "not even JSON", "weights.bin": "mine"},
        {".lock": "", "thesis.txt": "mine"},
    ],
)
def test_somebody_elses_files_are_not_touched(tmp_path, files_there, overwrite):
    for name, content in files_there.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match="not a run's"):
        begun(tmp_path, overwrite=overwrite)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files_there


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        begun(tmp_path / "file")


def test_what_overwrite_replaces_comes_back_if_nothing_takes_its_place(tmp_path):
    run = begun(tmp_path / "run")
    files.write_json(run.path / "metrics.json", {"test_accuracy": 0.9})
    before = sorted(path.name for path in run.path.rglob("*"))
    with pytest.raises(UserError, match="bad data"):
        with open_run("demo", Config(run_dir=str(run.path), overwrite=True, epochs=9)) as again:
            assert not again.finished
            raise UserError("bad data")
    assert begun(run.path).metrics() == {"test_accuracy": 0.9}
    assert sorted(path.name for path in run.path.rglob("*")) == before
    begun(run.path, overwrite=True, epochs=9)  # leaves a checkpoint
    assert not (run.path / ".replaced").exists() and not (run.path / "metrics.json").exists()


def test_a_new_version_of_a_package_is_noted(tmp_path):
    run = begun(tmp_path / "run")
    facts = run.facts()
    facts["versions"]["keras"] = "2.0"
    files.write_json(run.path / "config.json", facts)
    (note,) = begun(tmp_path / "run").notes
    assert "2.0" in note and "bit-identical" in note


def test_facts_may_not_change_under_a_run(tmp_path):
    with open_run("demo", Config(run_dir=str(tmp_path / "run"))) as run:
        run.record(data={"fingerprint": "a", "classes": 2})
        run.record(data={"fingerprint": "a", "classes": 2})
        with pytest.raises(UserError, match="another data.*'a'.*'b'"):
            run.record(data={"fingerprint": "b", "classes": 2})
        assert run.facts()["data"]["fingerprint"] == "a"


def test_rows_keep_every_bit(tmp_path):
    rows = [
        {"epoch": 1, "loss": 0.1 + 0.2, "val_loss": 1 / 3},
        {"epoch": 2, "loss": 1e-17, "val_loss": float("inf")},
    ]
    write_rows(tmp_path / "metrics.csv", rows)
    assert evaluation.read_history(tmp_path) == rows


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "old")

    def fail(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        files.write_atomically(path, fail)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_leftovers_of_killed_writers_go(tmp_path):
    run = begun(tmp_path / "run")
    (run.checkpoints / ".state.npz.123.tmp").write_bytes(b"half")
    begun(tmp_path / "run")
    assert [path.name for path in run.checkpoints.iterdir()] == ["state-1.npz"]
