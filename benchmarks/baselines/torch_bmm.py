"""The notebook's forward network in PyTorch: the networks of all folds side by side by ``bmm``.

One fused Adam with amsgrad moves all; the loss is the sum of the folds' own.

Usage: python torch_bmm.py FILE.npz N_EPOCHS
"""

from __future__ import annotations

import sys
from itertools import pairwise

import torch
from serve import read_folds, serve

BATCH, WIDTH = 16, 32


def main():
    x, y, folds = read_folds(sys.argv[1])
    epochs, n = int(sys.argv[2]), len(folds)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    longest = max(rows.size for rows in folds)
    steps = -(-longest // BATCH)
    rows = torch.zeros((n, longest), dtype=torch.long)
    real = torch.zeros((n, longest), dtype=torch.bool)
    for i, own in enumerate(folds):
        rows[i, : own.size], real[i, : own.size] = torch.from_numpy(own), True
    sizes = [x.shape[1], WIDTH, WIDTH, y.shape[1]]

    def fit(epochs):
        weights = [
            torch.empty(n, a, b).uniform_(-0.05, 0.05).requires_grad_() for a, b in pairwise(sizes)
        ]
        biases = [torch.zeros(n, 1, b, requires_grad=True) for b in sizes[1:]]
        optimiser = torch.optim.Adam(weights + biases, 1e-4, eps=1e-7, amsgrad=True, fused=True)
        for _ in range(epochs):
            order = torch.where(real, torch.rand(n, longest), 2.0).argsort(dim=1)
            shuffled, present = rows.gather(1, order), real.gather(1, order)
            total = torch.zeros(n)
            for step in range(steps):
                part = slice(step * BATCH, (step + 1) * BATCH)
                index, mask = shuffled[:, part], present[:, part].float()
                hidden = torch.baddbmm(biases[0], x[index], weights[0])
                hidden = torch.baddbmm(biases[1], hidden, weights[1]).relu()
                answer = torch.baddbmm(biases[2], hidden, weights[2])
                size = mask.sum(1).clamp(min=1.0)
                loss = ((answer - y[index]).abs().mean(2) * mask).sum(1) / size
                optimiser.zero_grad()
                loss.sum().backward()
                optimiser.step()
                total += (loss * mask.sum(1)).detach()
        return (total / real.sum(1)).mean()

    fit(2)
    serve(lambda: fit(epochs))


if __name__ == "__main__":
    main()
