"""ReLIC's projection head g: embeddings in, points on the unit sphere out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """[batch, inputs] -> unit-norm [batch, outputs]: linear, norm, ReLU, linear, as in SimCLR and ReLIC."""

    def __init__(self, inputs: int, hidden: int = 512, outputs: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs)
        )

    def forward(self, embedding: Tensor) -> Tensor:
        return nn.functional.normalize(self.layers(embedding).float(), dim=-1, eps=torch.finfo(torch.float32).tiny ** 0.5)
