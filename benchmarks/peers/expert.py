"""A SwiGLU feed-forward as a module of its own, which is how PyTorch users write an expert."""

from torch import nn
from torch.nn import functional as F


class Expert(nn.Module):
    def __init__(self, hidden, width):
        super().__init__()
        self.gate, self.up = nn.Linear(hidden, width, bias=False), nn.Linear(hidden, width, bias=False)
        self.down = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))
