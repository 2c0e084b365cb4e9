"""The `kapps` command: train, look at data and runs, publish a run again, ask a published model.

Arguments, files and directories are checked before TensorFlow is imported.
"""

import sys
from collections.abc import Sequence
from typing import Any

from kapps import __version__, command_line
from kapps.cli import console, recipes


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point of the `kapps` command.

    Args:
        argv: Arguments; `sys.argv[1:]` when None.

    Raises:
        SystemExit: 2 for a user's mistake, with one message.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    with command_line.exit_codes():
        if argv == ["--version"]:
            console.write(f"kapps {__version__}")
            return
        if argv[:1] == ["train"] and argv[1:2] not in ([], ["-h"], ["--help"]):
            recipes.Train(argv[1], tuple(argv[2:])).run()
            return
        from kapps.cli import commands  # `train` answers without the others

        config: Any = commands.Command
        description = (__doc__ or "").partition("\n")[0]
        command_line.parse(config, argv or ["--help"], "kapps", description).run()
