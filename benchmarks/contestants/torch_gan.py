"""Training steps of the same DCGAN in PyTorch: the environment of benchmarks/peers.

    python benchmarks/contestants/torch_gan.py [--bfloat16] [--compile]

A step moves the discriminator once, then the generator, then the average of its weights, as
`kapps.models.GAN` does. Speaks the protocol of benchmarks/harness/worker.py. bfloat16 is autocast
over channels-last maps.
"""

from __future__ import annotations

import argparse
import copy

from benchmarks.harness.worker import serve

BATCH, LATENT_DIM, EMA = 64, 64, 0.999
FILTERS = (24, 48, 96)  # of the maps of 28, 14 and 7 pixels
DENSE_UNITS = 512


def prepare():
    """The work: so many steps on a batch that stays the same."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    large, middle, small = FILTERS

    def doubled(channels, filters):
        # Keras' "same" of a 4x4 kernel with stride 2 cuts one pixel from each side.
        layer = nn.ConvTranspose2d(channels, filters, 4, 2, padding=1, bias=False)
        return (layer, nn.BatchNorm2d(filters), nn.ReLU())

    generator = nn.Sequential(
        nn.Linear(LATENT_DIM, DENSE_UNITS, bias=False),
        nn.BatchNorm1d(DENSE_UNITS),
        nn.ReLU(),
        nn.Linear(DENSE_UNITS, small * 7 * 7, bias=False),
        nn.Unflatten(1, (small, 7, 7)),
        nn.BatchNorm2d(small),
        nn.ReLU(),
        *doubled(small, middle),
        *doubled(middle, large),
        nn.Conv2d(large, 1, 3, padding=1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, large, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(large, middle, 4, 2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(middle, small, 4, 2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(small * 7 * 7, DENSE_UNITS),
        nn.LeakyReLU(0.2),
        nn.Linear(DENSE_UNITS, 1),
    )
    players = generator, discriminator = (
        generator.to(memory_format=torch.channels_last),
        discriminator.to(memory_format=torch.channels_last),
    )
    average = copy.deepcopy(generator)
    x = torch.rand(BATCH, 1, 28, 28).to(memory_format=torch.channels_last)
    of_generator, of_discriminator = (torch.optim.Adam(each.parameters(), 1e-3) for each in players)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=given.bfloat16)

    def discriminator_loss(x):
        with autocast:
            with torch.no_grad():
                fake = generator(torch.randn(len(x), LATENT_DIM))
            real_logits, fake_logits = discriminator(x).float(), discriminator(fake).float()
        return (functional.softplus(-real_logits) + functional.softplus(fake_logits)).mean()

    def generator_loss(count):
        with autocast:
            logits = discriminator(generator(torch.randn(count, LATENT_DIM))).float()
        return functional.softplus(-logits).mean()

    if given.compile:
        discriminator_loss = torch.compile(discriminator_loss)
        generator_loss = torch.compile(generator_loss)

    def work(units):
        for _ in range(units):
            of_discriminator.zero_grad(set_to_none=True)
            discriminator_loss(x).backward()
            of_discriminator.step()
            of_generator.zero_grad(set_to_none=True)
            generator_loss(len(x)).backward()
            of_generator.step()
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(average.parameters()), list(generator.parameters()), 1 - EMA
                )

    parameters = sum(p.numel() for each in players for p in each.parameters())
    return work, {"parameters": parameters, "versions": {"torch": torch.__version__}}


if __name__ == "__main__":
    serve(prepare)
