"""The epochs of table_epochs.py in PyTorch: the environment of benchmarks/peers.

    python benchmarks/contestants/torch_table.py loader|permutation

Speaks the protocol of benchmarks/harness/worker.py. loader: a DataLoader that shuffles;
permutation: batches picked from two tensors, as those do who mind the loader's price.
"""

from __future__ import annotations

import sys

from benchmarks.harness.worker import serve

ROWS, BATCH = 100_000, 256


def prepare():
    """The work: so many epochs."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    x, y = torch.randn(ROWS, 40), torch.randint(0, 10, (ROWS,))
    layers = [nn.Linear(40, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    table = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(table, BATCH, shuffle=True, drop_last=True)

    def picked():
        for rows in torch.randperm(ROWS)[: ROWS // BATCH * BATCH].view(-1, BATCH):
            yield x[rows], y[rows]

    def work(units):
        for _ in range(units):
            for some, labels in loader if sys.argv[1] == "loader" else picked():
                optimizer.zero_grad(set_to_none=True)
                functional.cross_entropy(model(some), labels).backward()
                optimizer.step()

    parameters = sum(p.numel() for p in model.parameters())
    return work, {"parameters": parameters, "versions": {"torch": torch.__version__}}


if __name__ == "__main__":
    serve(prepare)
