"""Training steps of the same networks in PyTorch: the environment of benchmarks/peers.

    python benchmarks/contestants/torch_steps.py NETWORK [--bfloat16] [--compile]

Speaks the protocol of benchmarks/harness/worker.py. bfloat16 is autocast over channels-last maps.
"""

from __future__ import annotations

import argparse

from benchmarks.harness.worker import serve


def prepare():
    """The work: so many steps on a batch that stays the same."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)

    def conv_bn(channels, filters, size=3, strides=1, activation=True):
        layers = [
            nn.Conv2d(channels, filters, size, strides, size // 2, bias=False),
            nn.BatchNorm2d(filters),
        ]
        return nn.Sequential(*layers, *([nn.ReLU()] if activation else []))

    class Block(nn.Module):
        def __init__(self, channels, filters, strides):
            super().__init__()
            self.first = conv_bn(channels, filters, strides=strides)
            self.second = conv_bn(filters, filters, activation=False)
            self.shortcut = nn.Identity()
            if strides > 1 or channels != filters:
                self.shortcut = nn.Sequential(
                    nn.AvgPool2d(strides, ceil_mode=True),
                    conv_bn(channels, filters, 1, activation=False),
                )

        def forward(self, x):
            return functional.relu(self.second(self.first(x)) + self.shortcut(x))

    def head(channels):
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]

    def resnet():
        blocks = [Block(64, 64, 1), Block(64, 128, 2), Block(128, 256, 2)]
        return nn.Sequential(conv_bn(1, 64), nn.MaxPool2d(2), *blocks, *head(256))

    def stages(channels, row, ceil):
        layers = []
        for filters, count in row:
            for _ in range(count):
                layers.append(conv_bn(channels, filters))
                channels = filters
            layers.append(nn.MaxPool2d(2, ceil_mode=ceil))
        return nn.Sequential(*layers, *head(channels))

    class Recurrent(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.layers = kind(28, 128, num_layers=2, batch_first=True)
            self.head = nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.layers(x)[0][:, -1])

    class Vae(nn.Module):
        """Gated layers: a value times the sigmoid of its gate."""

        def __init__(self):
            super().__init__()
            self.down = nn.ModuleList([nn.Linear(784, 600), nn.Linear(300, 600)])
            self.code = nn.Linear(300, 80)
            self.up = nn.ModuleList([nn.Linear(40, 600), nn.Linear(300, 600)])
            self.pixels = nn.Linear(300, 784)

        def forward(self, x):
            y = x
            for layer in self.down:
                y = functional.glu(layer(y))
            mean, log_var = self.code(y).float().clamp(-30, 30).chunk(2, dim=1)
            z = mean + torch.exp(log_var / 2) * torch.randn_like(mean)
            for layer in self.up:
                z = functional.glu(layer(z))
            logits = self.pixels(z).float()
            missed = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = 0.5 * torch.sum(torch.exp(log_var) + mean**2 - 1 - log_var)
            return (missed + kl) / len(x)

    def tabular():
        layers = [nn.Linear(40, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(256, 10))

    def efficientnet():
        import timm

        return timm.create_model("efficientnet_lite0", num_classes=10)

    vgg11 = ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))
    networks = {
        "resnet": (resnet, (256, 1, 28, 28)),
        "vgg": (lambda: stages(3, vgg11, True), (64, 3, 32, 32)),
        "cnn": (lambda: stages(1, ((32, 2), (64, 2), (128, 2)), True), (128, 1, 28, 28)),
        "efficientnet": (efficientnet, (32, 3, 160, 160)),
        "lstm": (lambda: Recurrent(nn.LSTM), (128, 28, 28)),
        "gru": (lambda: Recurrent(nn.GRU), (128, 28, 28)),
        "vae": (Vae, (128, 784)),
        "tabular": (tabular, (256, 40)),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=networks)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    build, shape = networks[given.network]
    model, x = build(), torch.rand(shape)
    if len(shape) == 4:
        model, x = (each.to(memory_format=torch.channels_last) for each in (model, x))
    y = torch.randint(0, 10, (shape[0],))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    parameters = sum(p.numel() for p in model.parameters())

    def loss_of(x, y):
        with torch.autocast("cpu", torch.bfloat16, enabled=given.bfloat16):
            outputs = model(x)
        if given.network == "vae":
            return outputs
        return functional.cross_entropy(outputs.float(), y)

    if given.compile:
        loss_of = torch.compile(loss_of)

    def work(units):
        for _ in range(units):
            optimizer.zero_grad(set_to_none=True)
            loss_of(x, y).backward()
            optimizer.step()

    return work, {"parameters": parameters, "versions": {"torch": torch.__version__}}


if __name__ == "__main__":
    serve(prepare)
