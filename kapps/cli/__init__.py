"""The `kapps` command: train, look at data and runs, publish a run again, ask a published model.

Arguments, files and directories are checked before TensorFlow is imported.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

from tyro.conf import (
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    PositionalMetavarFromFieldName,
    subcommand,
)

from kapps import __version__, command_line
from kapps.cli import console, datasets, doctor, published, recipes, runs, serving

Command = (
    Annotated[recipes.Train, subcommand("train")]
    | Annotated[recipes.Recipes, subcommand("recipes")]
    | Annotated[datasets.Data, subcommand("data")]
    | Annotated[runs.Runs, subcommand("runs")]
    | Annotated[runs.Compare, subcommand("compare")]
    | Annotated[published.Export, subcommand("export")]
    | Annotated[published.Predict, subcommand("predict")]
    | Annotated[serving.Serve, subcommand("serve")]
    | Annotated[serving.Versions, subcommand("versions")]
    | Annotated[serving.Publish, subcommand("publish")]
    | Annotated[serving.Bench, subcommand("bench")]
    | Annotated[recipes.Launch, subcommand("launch")]
    | Annotated[doctor.Doctor, subcommand("doctor")]
)


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
        config: Any = Annotated[
            Command,
            FlagCreatePairsOff,
            OmitArgPrefixes,
            OmitSubcommandPrefixes,
            PositionalMetavarFromFieldName,
        ]
        description = (__doc__ or "").partition("\n")[0]
        command_line.parse(config, argv or ["--help"], "kapps", description).run()
