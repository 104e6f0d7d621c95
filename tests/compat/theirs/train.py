"""Train the three networks on what can be learnt in a few steps: python train.py --steps 20 [--workers 1]."""

import argparse
import json

import torch
import torch.nn.functional as F
from dual_path import DualPath
from enhancer import Enhancer
from patches import Patches
from torch.utils.data import DataLoader, TensorDataset


def examples(name, count):
    """A network, its loss, and inputs with targets that it can fit."""
    torch.manual_seed(1)
    if name == "dual_path":
        x = torch.randn(count, 2, 12, 17)
        return DualPath(channels=4, layers=1), F.mse_loss, x, torch.stack([x, -x], 1) / 2
    if name == "enhancer":
        x = torch.randn(count, 2, 10, 9)
        return Enhancer(channels=8, layers=1), F.mse_loss, x, torch.sigmoid(2 * x[:, 0])
    x = torch.randn(count, 1, 24, 24)
    return Patches(channels=16, layers=2, largest=9, classes=2), F.cross_entropy, x, (x.mean((1, 2, 3)) > 0).long()


def train(name, steps, workers):
    network, loss_of, inputs, targets = examples(name, 4)
    context = "spawn" if workers else None
    data = DataLoader(TensorDataset(inputs, targets), 4, num_workers=workers, multiprocessing_context=context)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    while len(losses) < steps:
        for x, target in data:
            loss = loss_of(network(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--networks", nargs="+", default=["dual_path", "enhancer", "patches"])
    options = parser.parse_args()
    losses = {name: train(name, options.steps, options.workers) for name in options.networks}
    print(json.dumps({name: [values[0], values[-1]] for name, values in losses.items()}))


if __name__ == "__main__":
    main()
