"""The subcommands of `kapps`, as one type that tyro parses."""

from typing import Annotated

from tyro.conf import (
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    PositionalMetavarFromFieldName,
    subcommand,
)

from kapps.cli import datasets, doctor, published, recipes, runs, serving

Command = Annotated[
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
    | Annotated[doctor.Doctor, subcommand("doctor")],
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    PositionalMetavarFromFieldName,
]
