"""What `benchmarks/run.py` can time: who does the same work, and how much of it is a turn."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping

from benchmarks.harness import peers
from benchmarks.harness.turns import Contestant

STEP, CALL = "a step", "a call"
FIRST_STEP = shlex.quote(str(peers.ROOT / "benchmarks" / "contestants" / "first_step.py"))


@dataclasses.dataclass(frozen=True)
class Workload:
    """The same work by several contestants.

    Attributes:
        title: what is done, with sizes.
        unit: what milliseconds are of.
        contestants: by name; ratios are to the first.
        units: of work in a turn.
    """

    title: str
    unit: str
    contestants: Mapping[str, Contestant]
    units: int = 10


def training(
    name: str, title: str, *, stock: bool = True, torch: str = "torch_steps.py", units: int = 10
) -> Workload:
    """Training steps of one network.

    Args:
        name: of the network, as the contestants know it.
        title: see `Workload`.
        stock: it can be made of Keras' layers and `fit` alone.
        torch: the program that does the same in PyTorch; "" is none.
        units: see `Workload`.
    """

    def ours(*flags):
        return Contestant("tensorflow_steps.py", (name, *flags))

    def theirs(*flags):
        network = (name,) if torch == "torch_steps.py" else ()
        return Contestant(torch, (*network, *flags), peer=True)

    found = {
        "kapps float32": ours(),
        "kapps bfloat16": ours("--bfloat16"),
    }
    if stock:
        found |= {
            "stock Keras float32": ours("--stock"),
            "stock Keras bfloat16": ours("--stock", "--bfloat16"),
        }
    if torch:
        found |= {
            "PyTorch eager float32": theirs(),
            "PyTorch eager bfloat16": theirs("--bfloat16"),
            "PyTorch compiled float32": theirs("--compile"),
            "PyTorch compiled bfloat16": theirs("--bfloat16", "--compile"),
        }
    return Workload(title, STEP, found, units)


def jit(name: str, title: str) -> Workload:
    """Training steps of one network, by TensorFlow's kernels and by XLA's."""
    return Workload(
        title,
        STEP,
        {
            "kapps": Contestant("tensorflow_steps.py", (name,)),
            "kapps --jit on": Contestant("tensorflow_steps.py", (name, "--jit")),
        },
    )


def prediction(batch: int) -> Workload:
    """EfficientNet-Lite0 on images of 224 pixels."""

    def by(how, *, peer=False, differs=""):
        return Contestant("prediction.py", (how, str(batch)), peer=peer, differs=differs)

    return Workload(
        f"EfficientNet-Lite0, 224 x 224, prediction of {batch}",
        CALL,
        {
            "kapps SavedModel": by("savedmodel"),
            "kapps SavedModel, frozen": by("frozen"),
            "kapps predict": by("predict"),
            "stock Keras predict": by("stock"),
            "ONNX Runtime": by("onnx"),
            "LiteRT": by("litert"),
            "OpenVINO": Contestant(
                "openvino_prediction.py", (str(batch),), peer=True, differs="from the ONNX file"
            ),
        },
        units=20 if batch == 1 else 5,
    )


def commands(title: str, **each: str) -> Workload:
    """Commands as a whole; a turn is one of each."""
    found = {
        name.replace("_", " "): Contestant(command=shlex.split(words))
        for name, words in each.items()
    }
    return Workload(title, "a command", found, units=1)


WORKLOADS = {
    "resnet": training("resnet", "resnet8_wide, 28 x 28, batch 256, Adam"),
    "vgg": training("vgg", "VGG-11 with batch normalization, 32 x 32 x 3, batch 64, Adam"),
    "cnn": training("cnn", "plain CNN (32, 64, 128), 28 x 28, batch 128, Adam"),
    "lstm": training("lstm", "two LSTM layers of 128 on 28 rows of 28, batch 128, Adam"),
    "gru": training("gru", "two GRU layers of 128 on 28 rows of 28, batch 128, Adam"),
    "vae": training(
        "vae", "gated dense VAE (300, 300), 40 latents, 28 x 28, batch 128, Adam", stock=False
    ),
    "gan": training("gan", "DCGAN, 28 x 28, batch 64, Adam", stock=False, torch="torch_gan.py"),
    "char_rnn": training(
        "char_rnn", "character LSTM, 50 steps of 64 lanes", stock=False, torch="", units=5
    ),
    "tabular": training("tabular", "MLP (256, 256) on 40 numbers, batch 256, Adam", units=50),
    "efficientnet": training(
        "efficientnet",
        "EfficientNet-Lite0 from pixels, 160 x 160, batch 32, Adam",
        units=3,
    ),
    "muon": Workload(
        "resnet8_wide, 28 x 28, batch 256, by optimizer",
        STEP,
        {
            "AdamW": Contestant("tensorflow_steps.py", ("resnet", "--optimizer", "adamw")),
            "kapps Muon": Contestant("tensorflow_steps.py", ("resnet", "--optimizer", "muon")),
            "Keras' Muon": Contestant(
                "tensorflow_steps.py",
                ("resnet", "--optimizer", "keras-muon"),
                differs="moves convolutions by AdamW",
            ),
        },
    ),
    "jit_lstm": jit("lstm", "two LSTM layers of 128 on 28 rows of 28, batch 128, with XLA"),
    "jit_vae": jit("vae", "gated dense VAE (300, 300), 28 x 28, batch 128, with XLA"),
    "prediction_1": prediction(1),
    "prediction_32": prediction(32),
    "pipeline": Workload(
        "Fashion-MNIST sized images, batch 256, shifted and mirrored",
        "a batch",
        {
            "kapps pipeline": Contestant("pipelines.py", ("kapps",)),
            "Keras layers in tf.data": Contestant("pipelines.py", ("keras",)),
            "the step it feeds": Contestant(
                "tensorflow_steps.py", ("resnet",), differs="resnet8_wide, float32"
            ),
        },
        units=50,
    ),
    "table": Workload(
        "MLP (256, 256), an epoch over 100,000 rows of 40",
        "an epoch",
        {
            "kapps": Contestant("table_epochs.py", ("kapps",)),
            "stock Keras": Contestant("table_epochs.py", ("stock",)),
            "PyTorch, DataLoader": Contestant("torch_table.py", ("loader",), peer=True),
            "PyTorch, picked rows": Contestant("torch_table.py", ("permutation",), peer=True),
        },
        units=1,
    ),
    "export": Workload(
        "SavedModel of a plain CNN (32, 64, 128)",
        "an export",
        {
            "kapps": Contestant("exporting.py", ("kapps",)),
            "stock Keras": Contestant(
                "exporting.py", ("stock",), differs="one signature, no files, no check"
            ),
        },
        units=1,
    ),
    "resume": Workload(
        "Twelve epochs of digits, by the recipe",
        "a command",
        {
            "all at once": Contestant("resuming.py", ("whole",)),
            "killed after six, the rest": Contestant("resuming.py", ("rest",)),
            "again when it is done": Contestant("resuming.py", ("done",)),
        },
        units=1,
    ),
    "startup": commands(
        "Start-up",
        kapps_help="python -m kapps train image_classifier --help",
        import_kapps="python -c 'import kapps'",
        import_kapps_and_its_models="python -c 'import kapps.models; kapps.models.cnn'",
        import_tensorflow="python -c 'import tensorflow'",
        kapps_first_step=f"python {FIRST_STEP} kapps",
        stock_Keras_first_step=f"python {FIRST_STEP} stock",
    ),
}
