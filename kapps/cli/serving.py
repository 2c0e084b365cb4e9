"""`kapps serve`, `kapps versions`, `kapps publish` and `kapps bench`."""

import importlib.util
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from kapps import command_line, serving
from kapps.cli import console
from kapps.cli.published import Export, published_by
from kapps.errors import UserError


@dataclass(frozen=True)
class Serve:
    """Serve published models over TensorFlow Serving's HTTP and gRPC APIs, with a page at /."""

    root: Positional[Path]
    """Where models are: ROOT/NAME/VERSION/. New versions are picked up while it runs."""
    port: int = 8501
    """HTTP port: TensorFlow Serving's REST v1, V2 (Open Inference) and the page; 0: a free one."""
    grpc_port: int | None = None
    """gRPC port, 8500 in TensorFlow Serving; off by default."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is all, as a container needs."""
    workers: int = 1
    """Worker processes per version; each holds the model in memory."""
    batch: int = 64
    """Maximum number of requests, and of examples, computed together."""
    queue: int = 512
    """Maximum number of requests waiting for a version; more are refused with 503."""
    timeout: float = 30.0
    """Maximum seconds per request."""
    max_body: float = 32.0
    """Maximum megabytes per request."""
    poll: float = 1.0
    """Seconds between checks for new versions."""
    engine: Literal["auto", "tensorflow", "onnx", "openvino"] = "auto"
    """What computes: the ONNX files that a version brings (`kapps publish --onnx`) where they
    answer its warm-up requests as TensorFlow does, to 1e-5; or TensorFlow always. onnx and openvino
    name the runtime of the files, and the log says why a signature has none."""
    api_key_file: Path | None = None
    """A file with the key that clients must send: Authorization: Bearer KEY."""
    access_log: bool = False
    """Log a line per request."""

    def run(self) -> None:
        """Serves until it is told to end."""
        for name, least in (("workers", 1), ("batch", 1), ("queue", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}; at least {least} is needed")
        for name in ("timeout", "max_body", "poll"):
            if not getattr(self, name) > 0:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}; more than 0 is needed")
        for flag, port in (("--port", self.port), ("--grpc-port", self.grpc_port)):
            if port is not None and not 0 <= port < 65536:
                raise UserError(f"{flag} is {port}; 0 to 65535 are ports")
        serving.check_root(self.root)
        needed = ["starlette", "uvicorn"] + ["grpc"] * (self.grpc_port is not None)
        needed += {"onnx": ["onnxruntime"], "openvino": ["openvino"]}.get(self.engine, [])
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"kapps serve needs {', '.join(missing)}, not installed here: "
                f"pip install 'kapps[{'onnx,' * ('onnxruntime' in missing)}serve]'"
                + " openvino"
                * ("openvino" in missing)
            )
        if not hasattr(os, "fork"):
            raise UserError(
                "kapps serve runs on Linux and macOS; on Windows, in WSL or a container"
            )
        key = _key(self.api_key_file)
        from kapps.serving.server.limits import Limits
        from kapps.serving.server.run import run

        body = int(self.max_body * 2**20)
        limits = Limits(
            workers=self.workers,
            together=self.batch,
            queue=self.queue,
            body=body,
            bodies=max(8 * body, Limits.bodies),
            seconds=self.timeout,
        )
        run(
            self.root,
            host=self.host,
            port=self.port,
            grpc_port=self.grpc_port,
            limits=limits,
            every=self.poll,
            key=key,
            access_log=self.access_log,
            engine=self.engine,
        )


@dataclass(frozen=True)
class List:
    """The versions of a model, or of all models under a directory."""

    root: Positional[Path]
    """A model's directory, or the one above."""

    def run(self) -> None:
        """Writes a line per version: model, number, when it was published."""
        console.check_directory(self.root)
        found = serving.find_models(self.root.resolve())
        if not found:
            raise UserError(f"{self.root}: no published version in or below it")
        for name, (_, versions) in found.items():
            for number, directory in versions.items():
                last = "  served" if number == max(versions) else ""
                console.write(f"{name}  {number}  {_moment(directory)}{last}")


@dataclass(frozen=True)
class Rollback:
    """Withdraw the highest version of a model: servers go back to the one before it."""

    model: Positional[Path]
    """The model's directory."""

    def run(self) -> None:
        """Writes the version that is the highest now."""
        console.check_directory(self.model)
        console.write(str(serving.rollback(self.model)))


@dataclass(frozen=True)
class Prune:
    """Delete the lowest versions of a model."""

    model: Positional[Path]
    """The model's directory."""
    keep: int
    """How many of the highest versions to keep."""

    def run(self) -> None:
        """Writes what is gone."""
        console.check_directory(self.model)
        for gone in serving.prune(self.model, self.keep):
            console.write(str(gone))


@dataclass(frozen=True)
class Versions:
    """List, roll back or delete versions of a model."""

    command: (
        Annotated[List, subcommand("list")]
        | Annotated[Rollback, subcommand("rollback")]
        | Annotated[Prune, subcommand("prune")]
    )

    def run(self) -> None:
        """Runs the command that was given."""
        self.command.run()


@dataclass(frozen=True)
class Publish:
    """Publish the model of a finished run as the next version, or republish a version."""

    source: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run directory. With --freeze or --onnx also a version, or the directory of versions."""
    export_dir: Path | None = None
    """Where versions are published; the run's own choice by default, or beside the version."""
    freeze: bool = False
    """Make weights constants, and fold batch normalization into the convolution before it."""
    onnx: bool = False
    """Include an ONNX file for each signature that can have one, for kapps serve to use."""

    def run(self) -> None:
        """Writes the path of the version, and of which signatures there is no ONNX file."""
        if not (self.freeze or self.onnx):
            Export(self.source, self.export_dir).run()
            return
        if self.onnx:
            serving.check_format("onnx")
        if serving.is_published(self.source):
            self._once_more(self.source, self.export_dir)
            return
        target = Export(self.source, self.export_dir).target()
        with tempfile.TemporaryDirectory() as scratch:
            # Of the name of its place: the version's card and its requests name the model.
            before = Path(scratch, target.name)
            Export(self.source, before).make()
            self._once_more(before, target)

    def _once_more(self, source: Path, export_dir: Path | None) -> None:
        command_line.import_tensorflow()
        with command_line.without_chatter():
            version, left = serving.publish_for_inference(
                source, export_dir, freeze=self.freeze, onnx=self.onnx
            )
        console.write(str(version))
        for name, reason in left.items():
            console.write(f"no ONNX file for {name}: {reason}")


@dataclass(frozen=True)
class Bench:
    """How fast a published model answers: medians, 99th percentiles and examples per second."""

    model: Positional[Path]
    """A version, or the directory of versions (the highest is taken); or the run of an image
    classifier that has published one: then also its accuracy on the run's test images."""
    seconds: float = 3.0
    """For each measurement."""

    def run(self) -> None:
        """Writes a table: a row per runtime, signature and batch."""
        if not self.seconds > 0:
            raise UserError(f"--seconds is {self.seconds}; more than 0 is needed")
        model = published_by(self.model)
        serving.version_directory(model)
        command_line.import_tensorflow()
        with command_line.without_chatter():
            rows = serving.bench(model, seconds=self.seconds, kept=self._kept())
        console.write_table(serving.bench_table(rows))

    def _kept(self):
        """Test images and labels of the run of an image classifier, if this is one."""
        if not (self.model / "metrics.json").is_file():
            return None
        facts = console.read_json(self.model / "config.json")
        classifies = "test_accuracy" in console.read_json(self.model / "metrics.json")
        if not classifies or not facts.get("image_shape"):
            return None
        return serving.kept_images(self.model, facts)


def _moment(directory: Path) -> str:
    """When a version was published: the time of its last file."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(directory.stat().st_mtime))


def _key(file: Path | None) -> str | None:
    if file is None:
        return None
    console.check_readable(file)
    key = file.read_text(encoding="utf-8").strip()
    if not key:
        raise UserError(f"{file}: it holds no key")
    return key
