"""How fast data are read, against what one would use instead, and with how much memory.

    python benchmarks/data.py                         everything; alone on the machine
    python benchmarks/data.py --only folder memory
    python benchmarks/data.py --tiny                  does it run at all? Nothing is written

table           a CSV file of 100,000 rows and 30 columns: kapps' reader, pyarrow alone
folder          warm: passes over 2,048 JPEGs of 500 x 375: kapps (decoded once, then mapped),
                image_dataset_from_directory, PyTorch's DataLoader with two workers
cold            the first pass of each, with all that is before it but the imports, in processes of
                their own; before each the system is asked to drop the files from its memory. kapps
                once more as a second start, which finds what the first one has kept
memory          peak of anonymous memory while images are loaded, gone through and searched for
                near-duplicates: 1, 4 and 16 times as many, in a folder or in four shards, decoded
                to a file or when used
second_start    seconds from the start of a process to the end of its first training step, with
                100,000 pictures that an earlier process has prepared

Files are made from a seed, below --work, and stay there for the next time. Writes
benchmarks/results/data.json and data.md.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.harness import machine, peers, results, turns  # noqa: E402
from benchmarks.harness.turns import Contestant  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"
PARTS = ("table", "folder", "cold", "memory", "second_start")
SIDE, BATCH, CLASSES, SHARDS = 128, 64, 10, 4


def make_table(path: pathlib.Path, rows: int, columns: int) -> pathlib.Path:
    """A CSV file of numbers, unless it is there."""
    import numpy as np

    if not path.exists():
        values = np.random.RandomState(0).standard_normal((rows, columns))
        header = ",".join(f"x{i}" for i in range(columns))
        np.savetxt(path, values, "%.6f", ",", header=header, comments="")
    return path


def make_folder(path: pathlib.Path, count: int, size: tuple[int, int]) -> pathlib.Path:
    """JPEGs in ten classes, no two files the same, unless they are there; size: (width, height)."""
    import io

    import numpy as np
    from PIL import Image

    if (path / "complete").exists():
        return path / "pictures"
    encoded = []
    random = np.random.RandomState(0)
    for _ in range(min(count, 100)):
        coarse = Image.fromarray(random.randint(0, 256, (8, 8, 3)).astype(np.uint8))
        buffer = io.BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    for i in range(count):
        folder = path / "pictures" / f"class{i % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        # What follows the end of a JPEG is no part of the picture, and makes another file of it.
        (folder / f"{i:07d}.jpg").write_bytes(encoded[i % len(encoded)] + b"%d" % i)
    (path / "complete").touch()
    return path / "pictures"


def make_shards(path: pathlib.Path, folder: pathlib.Path) -> str:
    """The pictures of a folder in tar files, unless they are there; gives the spec."""
    import io
    import tarfile

    if not (path / "complete").exists():
        path.mkdir(parents=True, exist_ok=True)
        pictures = sorted(folder.rglob("*.jpg"))
        for shard in range(SHARDS):
            with tarfile.open(path / f"{shard:03d}.tar", "w") as archive:
                for picture in pictures[shard::SHARDS]:
                    for ending, content in (
                        ("jpg", picture.read_bytes()),
                        ("cls", picture.parent.name.encode()),
                    ):
                        member = tarfile.TarInfo(f"{picture.stem}.{ending}")
                        member.size = len(content)
                        archive.addfile(member, io.BytesIO(content))
        (path / "complete").touch()
    return f"webdataset:{path}/*.tar"


def measure_table(given: argparse.Namespace) -> dict[str, Any]:
    """The reader of kapps beside pyarrow alone."""
    rows, columns = (1000, 5) if given.tiny else (100_000, 30)
    file = str(make_table(given.work / f"table-{rows}x{columns}.csv", rows, columns))
    found = turns.compete(
        {
            "pyarrow alone": Contestant("tables.py", ("pyarrow", file)),
            "kapps": Contestant("tables.py", ("kapps", file)),
        },
        repetitions=given.repetitions,
        units=3,
    )
    return result(f"CSV, {rows:,} rows of {columns} columns, as text", "a file", 3, given, found)


def contestants_of(given: argparse.Namespace, folder: pathlib.Path) -> dict[str, Contestant]:
    """Who goes through a folder; of --tiny without PyTorch, if that is not there yet."""
    size = (str(folder), str(SIDE), str(BATCH))
    found = {
        "kapps": Contestant("folders.py", ("kapps", *size)),
        "image_dataset_from_directory": Contestant("folders.py", ("keras", *size)),
    }
    if peers.made() or not given.tiny:
        torch = Contestant("torch_folder.py", (*size, "2"), peer=True)
        found["PyTorch DataLoader, 2 workers"] = torch
    return found


def large_folder(given: argparse.Namespace) -> tuple[pathlib.Path, str]:
    """The folder of passes, and its title."""
    count = 64 if given.tiny else given.pictures
    folder = make_folder(given.work / f"folder-{count}", count, (500, 375))
    return folder, f"{count:,} JPEGs of 500 x 375 as {SIDE} x {SIDE}, batch {BATCH}"


def measure_folder(given: argparse.Namespace) -> dict[str, Any]:
    """Passes, warm."""
    folder, title = large_folder(given)
    contestants = contestants_of(given, folder)
    found = turns.compete(contestants, repetitions=given.repetitions, units=1)
    return result(f"{title}, warm", "a pass", 1, given, found)


def measure_cold(given: argparse.Namespace) -> dict[str, Any]:
    """First passes, each in a process of its own, of files that are not in memory."""
    folder, title = large_folder(given)
    contestants = contestants_of(given, folder)
    again = ("kapps-again", *contestants["kapps"].arguments[1:])
    contestants["kapps, second start"] = Contestant("folders.py", again)
    found: dict[str, dict[str, Any]] = {
        name: {"seconds": [], "others": 0.0} for name in contestants
    }
    for turn in range(given.repetitions):
        for name, contestant in contestants.items():
            if "failed" in found[name]:
                continue
            forget(folder)
            forget(given.work / "cache")
            try:
                found[name]["seconds"].append(seconds_of_first_pass(contestant))
            except (turns.Failed, peers.NoPeers, OSError) as error:
                found[name] = {"failed": str(error).strip()}
        print(f"  turn {turn + 1} of {given.repetitions}", flush=True)
    return result(f"{title}, cold", "to the end of a first pass", 1, given, turns.summarized(found))


def seconds_of_first_pass(contestant: Contestant) -> float:
    """What a contestant says of itself when it is told to make one pass."""
    python = str(peers.python()) if contestant.peer else sys.executable
    program = str(peers.ROOT / "benchmarks" / "contestants" / contestant.program)
    done = subprocess.run(
        [python, program, *contestant.arguments, "first"],
        capture_output=True,
        text=True,
        env=turns.environment(),
    )
    if done.returncode:
        raise turns.Failed(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])["first_pass_seconds"]


def measure_memory(given: argparse.Namespace) -> dict[str, Any]:
    """Peaks in MB, by number of pictures, by where they are and where decoded ones are."""
    base = 64 if given.tiny else given.pictures
    rows = []
    for times in (1, 4, 16):
        count = base * times
        folder = make_folder(given.work / f"small-{count}", count, (160, 120))
        shards = make_shards(given.work / f"shards-{count}", folder)
        for source, spec in (("folder", f"folder:{folder}"), ("4 shards", shards)):
            for decoded in ("disk", "none"):
                said = child("memory", spec, decoded)
                rows.append({"pictures": count, "in": source, "decoded": decoded, **said})
                print(f"  {rows[-1]}", flush=True)
    return {"title": "Peak of anonymous memory, MB", "rows": rows}


def measure_second_start(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds to the first step, of a first process and of three more."""
    count = 100 if given.tiny else 100_000
    folder = make_folder(given.work / f"many-{count}", count, (64, 48))
    subprocess.run([sys.executable, "-m", "kapps", "data", "clean", f"folder:{folder}"], check=True)
    first, *later = (
        child("start", f"folder:{folder}", "disk") for _ in range(2 if given.tiny else 4)
    )
    return {
        "title": f"Seconds to the end of the first step, {count:,} pictures as 64 x 64",
        "rows": [{"start": "first", **first}, *({"start": "later", **each} for each in later)],
    }


def child(*arguments: str) -> dict[str, Any]:
    """What this file prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments],
        capture_output=True,
        text=True,
        env=turns.environment(),
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def peak_of_a_pass(spec: str, decoded: str) -> dict[str, float]:
    """Loads images, goes through them once, looks for near-duplicates."""
    peak, ended = 0.0, threading.Event()

    def watch():
        nonlocal peak
        while not ended.wait(0.02):
            text = pathlib.Path("/proc/self/status").read_text()
            anonymous = next(line for line in text.splitlines() if line.startswith("RssAnon"))
            peak = max(peak, int(anonymous.split()[1]) / 1024)

    from kapps import data

    _ = data.load, data.TrainingBatches, data.near_duplicates
    text = pathlib.Path("/proc/self/status").read_text()
    begin = int(text.split("RssAnon:")[1].split()[0]) / 1024
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        images = data.load(spec, image_size=SIDE, decoded=decoded)
        train = data.TrainingBatches(
            images.splits["train"], BATCH, prepare=lambda x, y, seed: (x, y)
        )
        for _ in data.without_autotune(train.dataset(0, 1)):
            pass
        data.near_duplicates(images.splits["test"], images.splits["train"])
    finally:
        ended.set()
        watcher.join()
    return {"peak_mb": round(peak), "after_imports_mb": round(begin)}


def seconds_to_first_step(spec: str, decoded: str) -> dict[str, float]:
    """From the start of this process to the end of a step of a small network."""
    import keras

    from kapps import data, models

    imported = since_start()
    images = data.load(spec, image_size=64, channels=3, decoded=decoded)
    loaded = since_start()
    exact = data.classification_targets(images.classes)
    train = data.TrainingBatches(
        images.splits["train"], BATCH, prepare=lambda x, y, seed: (x, exact(y))
    )
    model = models.classifier("cnn", images.image_shape, images.classes, filters=(8,))
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    model.train_on_batch(*next(iter(data.without_autotune(train.dataset(0, 1)))))
    return {
        "imports": round(imported, 2),
        "load": round(loaded - imported, 2),
        "seconds": round(since_start(), 2),
    }


def since_start() -> float:
    """Seconds since this process was started; Linux only."""
    fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / ticks


def forget(folder: pathlib.Path) -> None:
    """Ask the system to drop what it has of the files in memory."""
    os.sync()  # what is not written yet stays
    for path in filter(pathlib.Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def result(title: str, unit: str, units: int, given, found) -> dict[str, Any]:
    """As benchmarks/run.py has it."""
    from kapps import training

    return {
        "title": title,
        "unit": unit,
        "command": "python benchmarks/data.py",
        "repetitions": given.repetitions,
        "units": units,
        "machine": training.machine(),
        "contestants": found,
    }


def text_of(part: dict[str, Any]) -> str:
    """A Markdown section."""
    if "contestants" in part:
        return results.table(part)
    names = list(part["rows"][0])
    words = f"{results.machine_in_words(part['machine'])}; `python benchmarks/data.py`."
    head = [f"### {part['title']}", "", words, "", f"| {' | '.join(names)} |"]
    lines = [*head, "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(str(row[name]) for name in names)} |" for row in part["rows"]]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Measure what is named, or everything; 2 where that cannot be done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repetitions", type=int, default=5, help="turns")
    parser.add_argument("--pictures", type=int, default=2048, help="of the folder")
    default = pathlib.Path(tempfile.gettempdir()) / "kapps-benchmarks"
    parser.add_argument("--work", type=pathlib.Path, default=default, help="where files are made")
    parser.add_argument("--busy", action="store_true", help="measure on a busy machine, too")
    parser.add_argument("--tiny", action="store_true", help="small sizes, one turn, not written")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.child:
        which, spec, decoded = given.child
        measured = {"memory": peak_of_a_pass, "start": seconds_to_first_step}[which]
        print(json.dumps(measured(spec, decoded)))
        return 0
    if not (given.busy or given.tiny) and (part := machine.others_now()) > machine.BUSY:
        print(f"other processes use {part:.0%} of the cores: end them, or say --busy")
        return 2
    from kapps import files, training

    given.repetitions = 1 if given.tiny else given.repetitions
    given.work.mkdir(parents=True, exist_ok=True)
    os.environ["KAPPS_CACHE"] = str(given.work / "cache")
    path = RESULTS / "data.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name in given.only:
        print(name, flush=True)
        known[name] = globals()[f"measure_{name}"](given) | {"machine": training.machine()}
        print(text_of(known[name]), flush=True)
        if not given.tiny:
            known |= {"machine": training.machine(), "versions": training.versions()}
            files.write_json(path, known)
            sections = [text_of(known[part]) for part in PARTS if part in known]
            files.write_text(RESULTS / "data.md", "\n".join(sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
