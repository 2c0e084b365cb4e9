"""A command that was killed in the middle of a training, and is given again.

    python benchmarks/contestants/resuming.py whole|rest|done

Speaks the protocol of benchmarks/harness/worker.py. The training has twelve epochs of digits, no
comparison with simple models and no SavedModel. whole: all of them; rest: the run was killed after
six; done: after it had ended, when nothing is left but to say what there is.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

from benchmarks.harness.worker import serve

EPOCHS = 12
FLAGS = ("--dataset", "digits", "--epochs", str(EPOCHS), "--no-peers", "--no-export")


def prepare():
    """The work: so many commands, each in a folder that is as it was."""
    from kapps import training

    held = tempfile.TemporaryDirectory()  # is there for as long as `work`, which holds it
    as_it_was, run_dir = pathlib.Path(held.name, "before"), pathlib.Path(held.name, "run")
    words = (sys.executable, "-m", "kapps", "train", "image_classifier", *FLAGS)
    words = (*words, "--run-dir", str(run_dir))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if sys.argv[1] == "rest":
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if f"epoch {EPOCHS // 2}/" in line or f"epoch {EPOCHS // 2:>2}/" in line:
                    break
            process.kill()
        shutil.copytree(run_dir, as_it_was)
    elif sys.argv[1] == "done":
        subprocess.run(words, check=True, **quiet)

    def work(units):
        for _ in range(units):
            if sys.argv[1] != "done":
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(pathlib.Path(held.name, "run"))
            if sys.argv[1] == "rest":
                shutil.copytree(as_it_was, run_dir)
            subprocess.run(words, check=True, **quiet)

    return work, {"versions": training.versions()}


if __name__ == "__main__":
    serve(prepare)
