"""What stands between a shell and a recipe's `main(config)`: flags, exit codes, messages.

Nothing here imports TensorFlow, so `--help`, a bad flag and a failed check answer at once.

    parse               argv -> a frozen dataclass, the flags and `--help` made by tyro
    from_values         the same from values by field, as a space has them
    run                 what the last line of every recipe calls
    call                the same from Python
    exit_codes          context manager: a user's mistake -> one message on stderr, exit code 2
    import_tensorflow   TensorFlow without its start-up lines
    without_chatter     context manager: holds back TensorFlow's lines that say nothing to a user
"""

import contextlib
import dataclasses
import errno
import inspect
import io
import os
import pathlib
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from kapps import evaluation, training
from kapps.errors import UserError
from kapps.invocation import localized, recipe_command

Config = TypeVar("Config")

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE

# The system's words for each: libraries in C++ hand on the text and not always the number.
_DISK_ERRORS = {
    errno.ENOSPC: ("No space left on device", "the disk is full"),
    errno.EDQUOT: ("Disk quota exceeded", "the disk quota is used up"),
    errno.EROFS: ("Read-only file system", "this file system is read-only"),
    errno.EACCES: ("Permission denied", "permission denied"),
    errno.EPERM: ("Operation not permitted", "operation not permitted"),
}

# What TensorFlow logs while it starts on a machine where nothing is wrong.
_CHATTER = re.compile(
    rb"All log messages before absl::InitializeLog|oneDNN custom operations are on"
    rb"|Could not find cuda drivers|failed call to cuInit|Unable to register cu\w+ factory"
    rb"|oneDNN supports DT_\w+ only on platforms|Created TensorFlow Lite XNNPACK delegate"
    rb"|fully_quantize: \d, inference_type"  # what LiteRT's calibration says
    rb"|binary is optimized to use available CPU|To enable the following instructions"
)


def parse(
    config_class: type[Config] | Callable[..., Config],
    argv: Sequence[str] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> Config:
    """Turns command-line arguments into a config.

    Flags, defaults and help come from the fields of the dataclass and the docstring under each;
    a field `batch_size` is the flag `--batch-size`, a bool `augment` is `--augment/--no-augment`.
    With a class variable `PRESETS`, values of fields by the name of a preset, `--preset NAME` puts
    these in the place of the defaults; flags that are given go before it.

    Args:
        config_class: A (frozen) dataclass, or whatever else `tyro.cli` takes.
        argv: Arguments; `sys.argv[1:]` when None.
        prog: Name of the program in the usage line; `sys.argv[0]` when None.
        description: Text over the flags; the docstring of the config's module when None.

    Raises:
        SystemExit: code 0 after `--help`, 2 after a bad argument (one message on stderr).
        UserError: an unknown preset, or none after `--preset`.
    """
    import tyro

    if description is None:
        description = sys.modules[config_class.__module__].__doc__ or ""
    description += _presets_in_words(config_class)
    argv, preset = _without_preset(config_class, sys.argv[1:] if argv is None else argv)
    default: Any = config_class(**preset) if preset else tyro.MISSING_NONPROP
    out, err = _Like(sys.stdout), _Like(None)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return tyro.cli(
                config_class,
                args=argv,
                prog=prog,
                description=_keep_lines(description),
                default=default,
            )
    finally:
        # What tyro has to say is written after the redirection: help without the blank lines it
        # doubles, an error without its box.
        if out.getvalue():
            sys.stdout.write(_tidy(out.getvalue(), plain=not out.isatty()))
        if err.getvalue():
            sys.stderr.write(_message(err.getvalue()))


def from_values(config_class: type[Config], values: Mapping[str, Any], prog: str) -> Config:
    """Turns values into a config, as flags with these values would.

    Args:
        config_class: A dataclass.
        values: By field: numbers, truth values, or text with a comma between the values of a
            field that has several.
        prog: Name for messages.

    Raises:
        UserError: A value that the flag does not take.
    """
    kinds = {field.name: str(field.type) for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    argv = []
    for name, value in values.items():
        flag, text = name.replace("_", "-"), str(value)
        if kinds[name] == "bool":
            argv.append(f"--{flag}" if text.lower() in ("true", "yes", "1") else f"--no-{flag}")
        else:
            argv += [f"--{flag}", *(text.split(",") if "tuple" in kinds[name] else [text])]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse(config_class, argv, prog=prog)
    except SystemExit:
        message = said.getvalue().removeprefix("error: ").strip()
        raise UserError(f"{prog}: {message}") from None


def _without_preset(config_class: Any, argv: Sequence[str]) -> tuple[list[str], Mapping[str, Any]]:
    """The arguments but `--preset NAME` or `--preset=NAME`, and what the preset stands for."""
    presets, left, values = getattr(config_class, "PRESETS", {}), [], {}
    words = iter(argv)
    for word in words:
        flag, _, name = word.partition("=")
        if not presets or flag != "--preset":
            left.append(word)
            continue
        name = name or next(words, "")
        if name not in presets:
            raise UserError(f"--preset {name}: it is one of {', '.join(presets)}")
        values = presets[name]
    return left, values


def _presets_in_words(config_class: Any) -> str:
    presets = getattr(config_class, "PRESETS", {})
    return "".join(
        f"\n\n--preset {name} stands for {training.command(config_class(**values), '')}. "
        "Flags you give override it."
        for name, values in presets.items()
    )


def finished(config: Any, run: training.Run) -> bool:
    """Whether there is nothing left to do in a run directory."""
    return run.finished


def run(
    main: Callable[[Config, training.Run], Any],
    config_class: type[Config],
    check: Callable[[Config], None] | None = None,
    argv: Sequence[str] | None = None,
    *,
    is_done: Callable[[Config, training.Run], bool] = finished,
    instead: Callable[[Config], dict[str, Any] | None] | None = None,
) -> None:
    """Runs a recipe from the shell: the last line of it, under `__name__ == "__main__"`.

    Reads the flags, checks them, opens the run directory, shows the result of a run that is
    finished; only then TensorFlow is imported, and `main(config, run)` called.

    Args:
        main: The recipe. What it returns is not printed.
        config_class: Its config dataclass; see `parse`.
        check: Raises `UserError` for what can be known at once.
        argv: Arguments; `sys.argv[1:]` when None.
        is_done: Whether there is nothing left to do; a search's budget may have grown.
        instead: Does something else than a run of its own, if it returns figures: a worker of a
            search on several machines.

    Raises:
        SystemExit: 2 for a user's mistake or a disk that cannot be written, 130 when interrupted.
            Any other exception is a bug and keeps its traceback.
    """
    with exit_codes("interrupted; run the same command to continue"):
        told = localized(sys.modules[main.__module__].__doc__ or "", config_class)
        config = parse(config_class, argv, recipe_command(config_class), told)
        if check is not None:
            check(config)
        training.check_tracker(config)
        if instead is not None and instead(config) is not None:
            return
        with training.open_run(recipe_of(main), config) as opened:
            if is_done(config, opened):
                if not opened.data_may_have_changed:
                    sys.stdout.write(_finished(config, opened))
                    return
                print("the data files have changed since: they are checked again")  # noqa: T201
            training.track(opened)
            import_tensorflow()
            main(config, opened)


def call(
    recipe: types.ModuleType, config: Any, *, augment: Callable | None = None
) -> dict[str, Any]:
    """A recipe from Python: `call(vae, vae.Config(epochs=2))`.

    Args:
        recipe: Its module; has `main`, and may have `check`, `is_done` and `instead`.
        config: Its configuration.
        augment: What else is done to training images, `(images, seed) -> images`, see
            `data.OwnAugmentation`; of the recipes that classify pictures.

    Returns:
        The final figures, as in metrics.json; those of a finished run are read.

    Raises:
        UserError: A mistake in the flags, the data or the run directory.
    """
    settings = {} if augment is None else {"augment": augment}
    if settings.keys() - inspect.signature(recipe.main).parameters.keys():
        raise UserError(f"{recipe_of(recipe.main)} takes no augmentation of your own")
    getattr(recipe, "check", training.check)(config)
    training.check_tracker(config)
    other = getattr(recipe, "instead", lambda config: None)(config)
    if other is not None:
        return other
    is_done = getattr(recipe, "is_done", finished)
    with training.open_run(recipe_of(recipe.main), config) as opened:
        if is_done(config, opened) and not opened.data_may_have_changed:
            if augment is not None:
                training.own_augmentation(augment, opened)  # was it that one?
            return opened.metrics()
        training.track(opened)
        return recipe.main(config, opened, **settings)


def recipe_of(main: Callable) -> str:
    """The name of a recipe: that of its file."""
    return pathlib.Path(main.__code__.co_filename).stem


def _finished(config: Any, run: training.Run) -> str:
    lines = [f"{run.path} is finished; --overwrite starts afresh"]
    lines.append(evaluation.summary(run.metrics(), run.path))
    if config.export and not run.metrics().get("exported"):
        lines.append(f"it was not exported; to export it: kapps export {run.path}")
    return "".join(f"{line}\n" for line in lines)


@contextlib.contextmanager
def exit_codes(interrupted: str = "interrupted") -> Iterator[None]:
    """Ends the program with one message and an exit code where the user can mend the cause.

    Args:
        interrupted: What to say after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a label outside a narrow encoding
    try:
        yield
        sys.stdout.flush()  # a closed pipe shows itself here, not while the interpreter ends
    except UserError as error:
        _end(f"error: {error}", USAGE_ERROR)
    except KeyboardInterrupt:
        _end(interrupted, INTERRUPTED)
    except BrokenPipeError:
        # The reader (`head`, `less`) has gone. Python flushes once more at exit: into nothing.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from None
    except Exception as error:
        message = _disk_message(error)
        if message is None:
            raise
        _end(f"error: {message}", USAGE_ERROR)


def import_tensorflow() -> None:
    """Imports TensorFlow and finds its devices without the lines that say nothing to a user.

    `TF_CPP_MIN_LOG_LEVEL` is set to 3 unless the environment sets it, and any value there below 2
    shows everything. It does not reach the lines logged while the libraries load (TF 2.21), so
    those are held back and all but the known chatter is handed on. Keras is told to use
    TensorFlow, whatever another project left in `keras.json`. Logical devices are not fixed yet:
    `tf.config.set_visible_devices` and the strategies work afterwards.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if level in ("0", "1") or "tensorflow" in sys.modules:
        return
    with without_chatter():
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")  # logs a failed cuInit where there is no GPU


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Holds back what C++ writes to file descriptor 2, and hands on what is not chatter.

    Not for long work: nothing is seen before it ends, progress neither.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held.read().splitlines(keepends=True):
                if not _CHATTER.search(line):
                    os.write(2, line)


def _end(message: str, code: int) -> None:
    with contextlib.suppress(OSError):  # what was answered stands before what went wrong
        sys.stdout.flush()
    with contextlib.suppress(OSError):  # stderr may be closed, or on the disk that is full
        sys.stderr.write(message.rstrip() + "\n")
    raise SystemExit(code) from None


def _disk_message(error: BaseException) -> str | None:
    """One line for a full, read-only or forbidden disk; None when the error is something else."""
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        for code, (system_text, words) in _DISK_ERRORS.items():
            by_text = _from_tensorflow_or_hdf5(seen) and system_text in str(seen)
            if number == code or by_text:
                path = getattr(seen, "filename", None) or _path_in(str(seen))
                return f"{path}: {words}" if path else f"{words}: {_first_line(seen)}"
        seen = seen.__cause__
    return None


def _from_tensorflow_or_hdf5(error: BaseException) -> bool:
    """True for the exceptions that carry the system's error as text alone."""
    return isinstance(error, OSError) or any(
        base.__name__ == "OpError" and base.__module__.startswith("tensorflow")
        for base in type(error).__mro__
    )


def _path_in(text: str) -> str | None:
    """The first absolute path in a message (TensorFlow writes `/a/b; No space left ...`)."""
    found = re.search(r"(?:^|[\s'\"(=])(/[^\s;:'\",)]+)", text)
    return found.group(1) if found else None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


class _Like(io.StringIO):
    """Collects text while answering `isatty` and `encoding` like the stream it stands for."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    @property
    def encoding(self) -> str | None:  # tyro draws boxes where this is UTF-8
        return getattr(self._stream, "encoding", None) if self.isatty() else None


def _keep_lines(docstring: str) -> str:
    """Parts an indented line from the sentence after it.

    Tyro joins a line that starts with a letter to the one before it, also to a command.
    """
    kept: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        if line[:1].isalpha() and kept and kept[-1][:1].isspace():
            kept.append("")
        kept.append(line)
    return "\n".join(kept)


def _tidy(text: str, plain: bool) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    lines = re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"
    return lines.replace("•", "*") if plain else lines


def _message(box: str) -> str:
    """Tyro's error box without the box: `error: ` and the text, the title left out."""
    text = re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]", "", box)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and set(line) != {"-"}]
    body = lines[1:] or lines
    return "\n  ".join([f"error: {body[0]}", *body[1:]]) + "\n"
