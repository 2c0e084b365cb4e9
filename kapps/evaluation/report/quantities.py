"""Every figure of metrics.json and metrics.csv: its name in words, its unit, which way is better.

Terminal, report, `kapps runs` and `kapps compare` ask here, so a figure has one name and one form.
A name is `test_`, `val_` or `train_` and a row of `QUANTITIES`; a whole name in it goes first. What
has no row is shown under its own name, as a share if that says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from kapps.evaluation.verdicts.words import minus

NARROW = "\u202f"  # a space that does not break, between a number and its unit
SPLITS = {"test_": "test", "val_": "validation", "train_": "training"}
SHARES = ("accuracy", "precision", "recall", "f1", "share")


class Quantity(NamedTuple):
    """One row.

    Attributes:
        words: its name.
        form: of the number, as in `format`; "%" for a share, "s" for a duration.
        unit: written after it.
        better: which way it is better; None where that depends.
    """

    words: str
    form: str = ".4g"
    unit: str = ""
    better: Literal["higher", "lower"] | None = None


def _share(words: str, better: Literal["higher", "lower"] | None = "higher") -> Quantity:
    return Quantity(words, "%", "", better)


def _nats(words: str, form: str = ".2f") -> Quantity:
    return Quantity(words, form, "nats", "lower")


QUANTITIES: dict[str, Quantity] = {
    "accuracy": _share("accuracy"),
    "balanced_accuracy": _share("balanced accuracy"),
    "top_5_accuracy": _share("true class among the top five"),
    "macro_f1": _share("F1, mean over classes"),
    "ece": _share("calibration error", "lower"),
    "ece_before_temperature": _share("calibration error before temperature scaling", "lower"),
    "ece_if_calibrated": _share("calibration error by chance alone", None),
    "ece_if_calibrated_high": _share("calibration error by chance, 95 %", None),
    "roc_auc": Quantity("area under the ROC curve", ".4f", better="higher"),
    "micro_f1": _share("F1, all labels pooled"),
    "exact": _share("all labels right"),
    "label_accuracy": _share("single labels right"),
    "trivial_loss": _nats("loss of predicting the label frequencies", ".4f"),
    "trivial_mae": Quantity("mean absolute error of predicting the mean"),
    "trivial_rmse": Quantity("root mean squared error of predicting the mean"),
    "average_precision": Quantity("average precision", ".4f", better="higher"),
    "loss": _nats("loss", ".4f"),
    "loss_after_temperature": _nats("loss after temperature scaling", ".4f"),
    "calibrated_loss": _nats("loss after temperature scaling", ".4f"),
    "r2": Quantity("R²", ".3f", better="higher"),
    "mae": Quantity("mean absolute error", better="lower"),
    "rmse": Quantity("root mean squared error", better="lower"),
    "bias": Quantity("mean error"),
    "mse": Quantity("mean squared error", ".5f", better="lower"),
    "psnr": Quantity("peak signal-to-noise ratio", ".2f", "dB", "higher"),
    "nll": _nats("negative log-likelihood, at most"),
    "nll_error": _nats("standard error of that"),
    "nll_samples": Quantity("importance samples per image", ",d"),
    "nll_floor": _nats("entropy of the binarization"),
    "negative_elbo": _nats("negative ELBO"),
    "elbo": Quantity("ELBO", ".2f", "nats", "higher"),
    "reconstruction": _nats("reconstruction"),
    "kl": Quantity("KL of the code", ".2f", "nats"),
    "bits_per_dimension": Quantity("bits per dimension", ".3f", better="lower"),
    "bits_per_character": Quantity("bits per character", ".3f", better="lower"),
    "unigram_bits_per_character": Quantity("bits of single characters", ".3f"),
    "five_gram_bits_per_character": Quantity("bits of a 5-gram", ".3f"),
    "nine_gram_bits_per_character": Quantity("bits of a 9-gram", ".3f"),
    "xz_bits_per_character": Quantity("bits of xz", ".3f"),
    "frechet": Quantity("Fréchet distance", ".3g", better="lower"),
    "frechet_floor": Quantity("Fréchet distance of real images", ".3g"),
    "kid": Quantity("kernel distance (KID)", ".2e", better="lower"),
    "kid_error": Quantity("standard error of the KID", ".2e"),
    "kid_floor": Quantity("KID of real images", ".2e"),
    "coverage": _share("real images with a sample nearby"),
    "coverage_floor": _share("real images with a real one nearby", None),
    "precision": _share("samples among real images"),
    "recall": _share("real images among samples"),
    "tstr_accuracy": _share("accuracy of a classifier trained on samples"),
    "nats_per_step": _nats("nats per step", ".4g"),
    "symbol_accuracy": _share("symbols right"),
    "code_nats": _nats("nats per code"),
    "code_bits": Quantity("bits per code", ".1f", better="lower"),
    "code_usage": _share("codes in use"),
    "perplexity": Quantity("perplexity of the codes", ".1f"),
    "anomaly_auc": Quantity("area under the ROC curve, anomalies", ".4f", better="higher"),
    "examples": Quantity("examples", ",d"),
    "characters": Quantity("characters", ",d"),
    "accuracy_without_twins": _share("accuracy without near-duplicates of training images"),
    "near_duplicates": Quantity("test images with a near-duplicate in training", ",d"),
    "label_issues": Quantity("likely label errors", ",d"),
    "pca_mse": Quantity("squared error of PCA", ".5f"),
    "mean_picture_mse": Quantity("squared error of the mean image", ".5f"),
    "trivial_mse": Quantity("squared error of the best constant", ".5f"),
    "active_units": Quantity("latents in use", ",d"),
    "mutual_information": Quantity("mutual information of image and code", ".2f", "nats"),
    "temperature": Quantity("temperature", ".3g"),
    "best_epoch": Quantity("epoch kept", ",d"),
    "parameters": Quantity("parameters", ",d"),
    "multiply_adds": Quantity("multiply-adds", ",d"),
    "train_seconds": Quantity("training time", "s"),
    "search_seconds": Quantity("search time", "s"),
    "examples_per_second": Quantity("examples per second", ".0f", better="higher"),
    "characters_per_second": Quantity("characters per second", ".0f", better="higher"),
    "search_val_accuracy": _share("best validation accuracy in the search"),
    "trials": Quantity("trials", ",d"),
    "verdict": Quantity("verdict"),
    "exported": Quantity("published as"),
}
# What is shown large, as far as a run has it, in this order.
HEADLINES = (
    "test_accuracy",
    "test_balanced_accuracy",
    "test_micro_f1",
    "test_exact",
    "test_r2",
    "test_mae",
    "test_nll",
    "test_negative_elbo",
    "test_bits_per_character",
    "five_gram_bits_per_character",
    "test_nats_per_step",
    "test_frechet",
    "test_frechet_floor",
    "test_coverage",
    "test_mse",
    "pca_mse",
    "test_ece",
    "test_loss",
    "active_units",
    "trials",
    "best_epoch",
    "train_seconds",
    "parameters",
)


def quantity(name: str) -> Quantity:
    """The row of a name, its words with the split; one made from the name where there is none.

    Args:
        name: a key of metrics.json or a column of metrics.csv.
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    prefix = next((p for p in SPLITS if name.startswith(p)), "")
    base = name[len(prefix) :]
    row = QUANTITIES.get(base)
    if row is None:
        words = " ".join("F1" if word == "f1" else word for word in base.split("_") if word)
        shared = any(word in SHARES for word in base.split("_"))
        seconds = base.endswith("seconds")
        form = "share?" if shared else "s" if seconds else ".4g"
        row = Quantity(words or name, form)
    return row._replace(words=f"{row.words} ({SPLITS[prefix]})") if prefix else row


def in_words(name: str) -> str:
    """The name of a figure, for a title."""
    words = quantity(name).words
    return words[:1].upper() + words[1:]


def shown(name: str, value: Any) -> str:
    """A figure with its unit.

    Args:
        name: of the figure.
        value: a number, or what else metrics.json holds.
    """
    row = quantity(name)
    if not is_number(value) or not math.isfinite(value):
        return cell(value)
    form = row.form
    if form == "share?":  # by its name; a count of something accurate is none
        form = "%" if -1 <= value <= 1 else ".4g"
    if form == "%":
        return f"{100 * value:.2f}{NARROW}%"
    if form == "s":
        return duration(value)
    if form == ",d" or (float(value).is_integer() and abs(value) >= 1000):
        return cell(round(float(value))) if float(value).is_integer() else cell(value)
    text = format(float(value), form)
    if float(text) == 0 != value:  # too small for its form
        text = f"{value:.2g}"
    return f"{text}{NARROW}{row.unit}" if row.unit else text


def headlines(metrics: Mapping[str, Any], most: int) -> list[str]:
    """Names of the figures that are shown large, the most important first."""
    return [name for name in HEADLINES if is_number(metrics.get(name))][:most]


def cell(value: Any) -> str:
    """A value of a table, with no unit."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return str(value)
    if math.isnan(value):
        return "not a number"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", NARROW)
    return f"{value:.4g}"


def column_value(column: str, value: Any) -> str:
    """A cell of a table whose column has a name in words.

    Args:
        column: its name; accuracy, precision, recall, F1 and share are shares; R² has three
            digits.
        value: of the cell.
    """
    words = re.split(r"[^a-z0-9]+", column.lower())
    if any(word in SHARES for word in words) and is_number(value) and -1 <= value <= 1:
        return f"{100 * value:.2f}{NARROW}%"
    if column.startswith("R²") and is_number(value):
        return minus(f"{value:.3f}")
    return cell(value)


def duration(seconds: float) -> str:
    """Seconds as one reads them."""
    if seconds < 60:
        return f"{seconds:.1f}{NARROW}s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min {seconds}{NARROW}s"
    return f"{minutes // 60}{NARROW}h {minutes % 60}{NARROW}min"


def is_number(value: Any) -> bool:
    """Whether it is one: numpy's numbers are, its arrays and text are not."""
    return not isinstance(value, (str, bytes, bool)) and hasattr(value, "__float__")
