"""Fashion-MNIST by airbench's recipe (arXiv:2404.00498) in PyTorch: who is sooner accurate?

    python benchmarks/contestants/torch_airbench.py --epochs 3 [--seed 0] [--data DIRECTORY]

Written after the paper, for one channel of 28 pixels: a frozen whitening layer, three groups of
convolutions that begin as the identity, Nesterov SGD with a triangular schedule and a fast rate for
offsets, label smoothing, an average of the weights, alternating flips and shifts, and six views of
each test image. bfloat16, channels-last. It trains on the 54,000 images that kapps trains on in
number, and looks at the test split once. Prints a line of JSON: accuracy, and seconds since the
start of the process.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pathlib
import time

BEGUN = time.monotonic()
WIDTHS = (64, 256, 256)
BATCH, MOMENTUM, RATE, DECAY, OFFSET_RATE = 1024, 0.85, 11.5, 0.0153, 64.0
SMOOTHING, SHIFT, SCALE = 0.2, 2, 1 / 9


def read(directory, part):
    """Images, uint8 [n, 1, 28, 28], and labels."""
    import numpy as np

    found = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        path = pathlib.Path(directory) / f"{part}-{kind}-ubyte.gz"
        found.append(np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header))
    return found[0].reshape(-1, 1, 28, 28), found[1].astype("int64")


def main():
    """Train, test once, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    given = parser.parse_args()

    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(given.seed)
    images, labels = (torch.from_numpy(each.copy()) for each in read(given.data, "train"))
    kept = torch.randperm(len(images))[:54_000]
    images, labels = images[kept].float() / 255, labels[kept]
    mean, deviation = images.mean(), images.std()
    images = (images - mean) / deviation

    def whitening():
        """2x2 filters along the principal directions of patches, and their opposites."""
        patches = images[:5_000].unfold(2, 2, 1).unfold(3, 2, 1).reshape(-1, 4)
        values, vectors = torch.linalg.eigh(torch.cov(patches.T))
        filters = (vectors / torch.sqrt(values + 5e-4)).T.reshape(4, 1, 2, 2)
        layer = nn.Conv2d(1, 8, 2)
        layer.weight.data = torch.cat((filters, -filters))
        layer.weight.requires_grad = False
        return layer

    def convolution(channels, filters):
        layer = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        nn.init.dirac_(layer.weight[:channels])
        return layer

    def normalization(channels):
        layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
        layer.weight.requires_grad = False
        return layer

    layers, channels = [whitening(), nn.GELU()], 8
    for width in WIDTHS:
        layers += [convolution(channels, width), nn.MaxPool2d(2), normalization(width), nn.GELU()]
        layers += [convolution(width, width), normalization(width), nn.GELU()]
        channels = width
    layers += [nn.MaxPool2d(3), nn.Flatten(), nn.Linear(channels, 10, bias=False)]
    network = nn.Sequential(*layers).to(memory_format=torch.channels_last)

    trained = [p for p in network.parameters() if p.requires_grad]
    offsets = [p for p in trained if p.ndim == 1]
    kernels = [p for p in trained if p.ndim > 1]
    # Rates are for the sum of 1024 losses, as in the paper; Nesterov's momentum is in the unit.
    kilostep = 1024 * (1 + 1 / (1 - MOMENTUM))
    rate, decay = RATE / kilostep, DECAY * BATCH / RATE
    optimizer = torch.optim.SGD(
        [
            {"params": offsets, "lr": rate * OFFSET_RATE, "weight_decay": decay / OFFSET_RATE},
            {"params": kernels, "lr": rate, "weight_decay": decay},
        ],
        momentum=MOMENTUM,
        nesterov=True,
    )
    an_epoch = len(images) // BATCH
    steps = int(given.epochs * an_epoch)
    peak = int(0.23 * steps)

    def share(step):
        rising = 0.2 + 0.8 * step / max(peak, 1)
        return rising if step < peak else 1 - 0.93 * (step - peak) / max(steps - peak, 1)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    average = [value.clone() for value in network.state_dict().values()]

    def answer(x):
        with torch.autocast("cpu", torch.bfloat16):
            return network(x).float() * SCALE

    flipped_first = torch.rand(len(images)) < 0.5
    padded = functional.pad(images, (SHIFT,) * 4, "reflect")
    network.train()
    step = 0
    while step < steps:
        order, odd = torch.randperm(len(images)), step // an_epoch % 2 == 1
        for batch in order.split(BATCH)[:an_epoch]:
            if step >= steps:
                break
            down, right = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
            x = padded[batch, :, down : down + 28, right : right + 28]
            mirrored = flipped_first[batch] ^ odd
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
            x = x.contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(
                answer(x), labels[batch], label_smoothing=SMOOTHING, reduction="sum"
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % 5 == 0 or step == steps:
                kept = 0.95**5 * (step / steps) ** 3
                for slow, fast in zip(average, network.state_dict().values(), strict=True):
                    if fast.is_floating_point():
                        slow.lerp_(fast, 1 - kept)
                        fast.copy_(slow)

    network.eval()
    images, labels = (torch.from_numpy(each.copy()) for each in read(given.data, "t10k"))
    images = (images.float() / 255 - mean) / deviation
    shifted = functional.pad(images, (1,) * 4, "reflect")
    views = (images, shifted[:, :, :28, :28], shifted[:, :, 2:, 2:])
    logits = torch.zeros(len(images), 10)
    with torch.no_grad():
        for view, weight in zip(views, (0.5, 0.25, 0.25), strict=True):
            for x in (view, view.flip(-1)):
                x = x.contiguous(memory_format=torch.channels_last)
                logits += weight / 2 * torch.cat([answer(part) for part in x.split(2_000)])
    found = {
        "epochs": given.epochs,
        "test_accuracy": (logits.argmax(1) == labels).float().mean().item(),
        "command_seconds": time.monotonic() - BEGUN,
        "versions": {"torch": torch.__version__},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
