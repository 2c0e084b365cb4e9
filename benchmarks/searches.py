"""What `defaults.py` tries for each recipe, and on which data."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from typing import Any

from kapps.tuning.spaces import recipes as spaces

START = "as it was"  # the row that the others are compared with
Fields = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Search:
    """What is tried for one recipe; fields are those of its Config.

    Attributes:
        recipe: its name.
        data: names of `small_data.PREPARED`, or what `--dataset` takes.
        tried: fields that differ from the start, by a name for the row.
        start: fields in which the defaults that the search began with differ from those of today.
        fixed: fields of all trainings: what makes them short or the figure less noisy.
        of_data: fields that go with one data set.
        settled: what the recipe makes today of fields that are left to it, on these data.
        phase: whose figure it is, of a training in phases.
        figure: NAME:max or NAME:min; default: what a search for this recipe's settings goes by.
        why: what the table does not show of why the defaults are what they are.
    """

    recipe: str
    data: tuple[str, ...]
    tried: Mapping[str, Fields]
    start: Fields = dataclasses.field(default_factory=dict)
    fixed: Fields = dataclasses.field(default_factory=dict)
    of_data: Mapping[str, Fields] = dataclasses.field(default_factory=dict)
    settled: Fields = dataclasses.field(default_factory=dict)
    phase: str = ""
    figure: str | None = None
    why: str = ""

    @property
    def goal(self) -> tuple[str, str]:
        """The figure's name, and whether it is to be `max` or `min`."""
        return spaces.objective(self.recipe, self.figure)

    @property
    def today(self) -> dict[str, Any]:
        """The recipe's defaults, as JSON has them."""
        config = importlib.import_module(f"recipes.{self.recipe}").Config
        return _plain({field.name: field.default for field in dataclasses.fields(config)})

    def fields(self, name: str, data: str) -> dict[str, Any]:
        """The fields of a row's training that are not left to the recipe's defaults of today."""
        fixed = {**self.start, **self.fixed, **self.of_data.get(data, {})}
        return _plain({**fixed, **self.tried.get(name, {})})

    def settings(self, name: str, data: str) -> dict[str, Any]:
        """The same, and every field that another row changes, so that defaults may change later."""
        touched = {field for row in self.tried.values() for field in row}
        defaults = {field: value for field, value in self.today.items() if field in touched}
        return _plain({**defaults, **self.fields(name, data)})

    def is_default(self, name: str) -> bool:
        """Whether a row is what the recipe does today if no flag is given."""
        own, today = {**self.start, **self.tried.get(name, {})}, {**self.today, **self.settled}
        return all(today[field] == value for field, value in _plain(own).items())


def _plain(fields: Fields) -> dict[str, Any]:
    """With lists for tuples, sorted."""
    return json.loads(json.dumps(dict(sorted(fields.items()))))


# A tenth of 1,000 pictures says little. One precision for all, not a measured one.
# At 16 x 16 pixels a step costs a quarter, and there are as many as there would be.
PICTURES = {"validation_fraction": 0.25, "precision": "float32", "image_size": 16}
OF_PICTURES = {"mnist": {"validation_fraction": 0.7}, "letters": {"validation_fraction": 0.4}}
GREY = ("mnist", "letters", "grey_emoji")
BATCHES = {"batch 32": {"batch_size": 32}, "batch 128": {"batch_size": 128}}
RATES = {"rate 0.001": {"learning_rate": 0.001}, "rate 0.01": {"learning_rate": 0.01}}

TARGETS = {
    "chile": "vote",
    "participation": "lfp",
    "mortgages": "deny",
    "biopsies": "class",
    "wages": "wage",
    "houses": "price",
}

# Without a row: perceptron, whose rules have no settings (from weights of 0 its rate changes no
# decision, it ends by itself, and the delta rule's rate is computed from the data); optimizers,
# which is such a search itself, of rates and batches of every optimizer on the data at hand.
SEARCHES: dict[str, Search] = {
    "image_classifier": Search(
        "image_classifier",
        data=("mnist", "letters", "emoji", "photos"),
        start={"crop": 0.1, "filters": (16, 32, 64)},
        fixed=PICTURES,
        of_data=OF_PICTURES,
        tried={
            **BATCHES,
            **RATES,
            "filters 32 64 128": {"filters": (32, 64, 128)},
            "no shifts": {"crop": 0.0},
            "shifts of 0.05": {"crop": 0.05},
            "dropout 0.3": {"dropout": 0.3},
            "label smoothing 0.1": {"label_smoothing": 0.1},
            "Muon": {"optimizer": "muon"},
            **{
                f"shifts of 0.05, {name}": {"crop": 0.05} | fields
                for name, fields in {
                    "batch 32": {"batch_size": 32},
                    "rate 0.006": {"learning_rate": 0.006},
                    "filters 32 64 128": {"filters": (32, 64, 128)},
                    "filters 32 64 128, batch 32": {"filters": (32, 64, 128), "batch_size": 32},
                }.items()
            },
        },
    ),
    "image_classifier --model mlp": Search(
        "image_classifier",
        data=("mnist", "letters", "emoji", "photos"),
        start={"crop": 0.1},
        fixed=PICTURES | {"model": "mlp"},
        of_data=OF_PICTURES,
        tried={
            **BATCHES,
            **RATES,
            "no shifts": {"crop": 0.0},
            "shifts of 0.05": {"crop": 0.05},
            "dropout 0.3": {"dropout": 0.3},
        },
    ),
    "autoencoder": Search(
        "autoencoder",
        data=GREY,
        start={"batch_size": 64},
        fixed=PICTURES,
        of_data=OF_PICTURES,
        tried={
            **BATCHES,
            **RATES,
            "units 1024": {"units": (1024,)},
            "units 512 256": {"units": (512, 256)},
            "GELU": {"activation": "gelu"},
            "batch 32, units 1024": {"batch_size": 32, "units": (1024,)},
            "batch 32, GELU": {"batch_size": 32, "activation": "gelu"},
            "batch 32, GELU, units 1024": {
                "batch_size": 32,
                "activation": "gelu",
                "units": (1024,),
            },
        },
    ),
    "vae": Search(
        "vae",
        data=GREY,
        fixed=PICTURES | {"epochs": 40},
        of_data=OF_PICTURES,
        tried={
            **BATCHES,
            **RATES,
            "no warm-up of the KL": {"kl_warmup": 0.0},
            "warm-up of 0.5": {"kl_warmup": 0.5},
            "units 512 512": {"units": (512, 512)},
            "latents 32": {"latent_dim": 32},
            "batch 32, warm-up of 0.5": {"batch_size": 32, "kl_warmup": 0.5},
            "batch 32, units 512 512": {"batch_size": 32, "units": (512, 512)},
        },
    ),
    "vae, the usual 100 epochs": Search(
        "vae",
        data=GREY,
        fixed=PICTURES,
        of_data=OF_PICTURES,
        tried={
            "batch 32": {"batch_size": 32},
            "warm-up of 0.5": {"kl_warmup": 0.5},
            "batch 32, warm-up of 0.5": {"batch_size": 32, "kl_warmup": 0.5},
        },
    ),
    "vq_vae": Search(
        "vq_vae",
        data=GREY,
        start={"batch_size": 64, "learning_rate": None},
        settled={"learning_rate": 0.01},
        # The prior is not looked at: as small as can be.
        fixed=PICTURES | {"epochs": 20, "prior_epochs": 1, "prior_filters": 8, "prior_depth": 0},
        of_data=OF_PICTURES,
        phase="autoencoder",
        tried={
            "batch 32": {"batch_size": 32},
            **RATES,
            "vectors of 8": {"code_dim": 8},
            "vectors of 32": {"code_dim": 32},
            "restarts after 20": {"restart_after": 20},
            "decay 0.95": {"decay": 0.95},
            "batch 32, rate 0.01": {"batch_size": 32, "learning_rate": 0.01},
            "batch 32, rate 0.006": {"batch_size": 32, "learning_rate": 0.006},
        },
    ),
    "vq_vae, the usual 60 epochs": Search(
        "vq_vae",
        data=GREY,
        start={"batch_size": 64, "learning_rate": None},
        settled={"learning_rate": 0.01},
        fixed=PICTURES | {"prior_epochs": 1, "prior_filters": 8, "prior_depth": 0},
        of_data=OF_PICTURES,
        phase="autoencoder",
        tried={"batch 32, rate 0.01": {"batch_size": 32, "learning_rate": 0.01}},
    ),
    "gan": Search(
        "gan",
        data=GREY,
        start={"batch_size": 64},
        fixed=PICTURES | {"epochs": 20, "measure_every": 4},
        of_data=OF_PICTURES,
        tried={
            "batch 32": {"batch_size": 32},
            "rate 0.0005": {"learning_rate": 0.0005},
            "rate 0.002": {"learning_rate": 0.002},
            "momentum 0.5": {"beta_1": 0.5},
            "hinge": {"loss": "hinge"},
            "batch 16": {"batch_size": 16},
            "batch 32, rate 0.002": {"batch_size": 32, "learning_rate": 0.002},
        },
    ),
    "gan, the usual 60 epochs": Search(
        "gan",
        data=GREY,
        start={"batch_size": 64},
        fixed=PICTURES,
        of_data=OF_PICTURES,
        tried={
            "batch 32": {"batch_size": 32},
            "batch 32, rate 0.002": {"batch_size": 32, "learning_rate": 0.002},
        },
        why="The rate stays at 0.001, which all values of `--loss` have been tried with. For small "
        "sets `--learning-rate 0.002` is worth a trial: on the digits, too, it ends at a test "
        "Fréchet distance of 2.79 in place of 3.73; not where steps are many: after two epochs of "
        "Fashion-MNIST, 3,374 steps, it is 2.95 in place of 2.82 (one seed each).",
    ),
    "char_rnn": Search(
        "char_rnn",
        data=("jargon", "devil", "zitate"),
        fixed={"epochs": 3, "precision": "float32"},
        tried={
            "rate 0.005": {"learning_rate": 0.005},
            "rate 0.02": {"learning_rate": 0.02},
            "batch 32": {"batch_size": 32},
            "48 steps": {"k1": 48},
            "clip 0.25": {"clip": 0.25},
            "dropout 0.1": {"dropout": 0.1},
            "batch 16": {"batch_size": 16},
            "batch 32, rate 0.02": {"batch_size": 32, "learning_rate": 0.02},
            "batch 32, clip 0.25": {"batch_size": 32, "clip": 0.25},
        },
    ),
    "char_rnn, the usual 5 epochs": Search(
        "char_rnn",
        data=("jargon", "devil", "zitate"),
        fixed={"precision": "float32"},
        tried={
            "batch 32": {"batch_size": 32},
            "batch 32, rate 0.005": {"batch_size": 32, "learning_rate": 0.005},
        },
    ),
    "xor_mlp": Search(
        "xor_mlp",
        data=("step", "triangle", "bump", "chirp"),
        start={"learning_rate": 0.01},
        settled={"learning_rate": 0.03},
        fixed={"compare": False},
        figure="val_rmse:min",
        tried={
            "rate 0.003": {"learning_rate": 0.003},
            "rate 0.03": {"learning_rate": 0.03},
            "units 32": {"units": 32},
            "ReLU": {"activation": "relu"},
            # At the rates that the recipe has for them.
            "nesterov": {"optimizer": "nesterov", "learning_rate": None},
            "RMSprop": {"optimizer": "rmsprop", "learning_rate": None},
        },
    ),
    "tabular": Search(
        "tabular",
        data=("chile", "participation", "mortgages", "biopsies", "wages", "houses"),
        start={"bins": 0, "members": 1},
        fixed={"validation_fraction": 0.25},
        of_data={name: {"target": target} for name, target in TARGETS.items()},
        tried={
            "16 bins, 8 members": {"bins": 16, "members": 8},
            "16 bins": {"bins": 16},
            "8 members": {"members": 8},
            **{
                f"16 bins, 8 members, {name}": {"bins": 16, "members": 8} | fields
                for name, fields in {
                    "batch 128": {"batch_size": 128},
                    "rate 0.001": {"learning_rate": 0.001},
                    "rate 0.01": {"learning_rate": 0.01},
                    "no dropout": {"dropout": 0.0},
                    "units 128 64": {"units": (128, 64)},
                    "20 epochs": {"epochs": 20},
                }.items()
            },
        },
    ),
    "sequence_classifier": Search(
        "sequence_classifier",
        data=("trace", "watch", "letters"),
        figure="val_loss:min",
        fixed={"precision": "float32", "validation_fraction": 0.4},
        tried={
            "batch 64": {"batch_size": 64},
            "rate 0.001": {"learning_rate": 0.001},
            "rate 0.01": {"learning_rate": 0.01},
            "each series standardized": {"per_series": True},
            "LSTM-FCN": {"model": "lstm_fcn"},
            "recurrent": {"model": "rnn"},
        },
        why="Where a loss is as good as 0, as of `trace`, percent say little. What is better on "
        "`watch` (a rate of 0.01 by 8 %, LSTM-FCN by 7 %) is worse on `letters` by as much.",
    ),
    "text_classifier": Search(
        "text_classifier",
        data=("quips", "refranes", "aforismi"),
        figure="val_accuracy:max",
        fixed={"precision": "float32", "validation_fraction": 0.25}
        | {"text": "text", "target": "topic"},
        tried={
            "batch 64": {"batch_size": 64},
            **RATES,
            "words alone": {"wide": False},
            "mean of words": {"model": "mean"},
            "dropout 0.2": {"dropout": 0.2},
            "embedding of 128": {"embedding": 128},
        },
    ),
    "transfer_learning": Search(
        "transfer_learning",
        data=("letters", "emoji", "photos"),
        fixed={"validation_fraction": 0.25, "precision": "float32", "image_size": 64}
        | {"peers": False},
        of_data={"letters": {"validation_fraction": 0.6}},
        tried={
            "probe alone": {"fine_tune_epochs": 0},
            "one stage": {"fine_tune_stages": 1},
            "all stages": {"fine_tune_stages": "all"},
            "rate 0.001": {"learning_rate": 0.001},
            "rate 0.01": {"learning_rate": 0.01},
            "mirrored": {"flip": "yes"},
        },
    ),
}
