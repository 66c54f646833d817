"""Forward and backward of one MoE layer in plain PyTorch.

usage: moe_layer.py loop|padded THREADS CONFIG_JSON; its dtype bf16: under autocast

loop:   separate expert modules, each on the tokens that chose it
padded: one batched product per projection, every expert padded to the fullest one
"""

import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

from expert import Expert
from protocol import serve

way, threads, config = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)
T, D, FF = config["tokens"], config["hidden"], config["width"]
E, K, SKEWED = config["experts"], config["topK"], config.get("skewed", 0)
IS_HALF = config.get("dtype") == "bf16"


class Router(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(D, E, bias=False)
        with torch.no_grad():
            self.gate.weight[:, 0] = 0
            self.gate.weight[0, 0] = 1

    def forward(self, x):
        weights, chosen = self.gate(x).softmax(-1).topk(K, -1)
        return weights / weights.sum(-1, keepdim=True), chosen


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = Router()
        self.experts = nn.ModuleList(Expert(D, FF) for _ in range(E))

    def forward(self, x):
        weights, chosen = self.router(x)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            token, slot = torch.where(chosen == e)
            if token.numel():
                y = expert(x[token]) * weights[token, slot, None]
                out.index_add_(0, token, y.to(out.dtype))
        return out


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = Router()
        self.gate_up = nn.Parameter(torch.randn(E, D, 2 * FF) / D**0.5)
        self.down = nn.Parameter(torch.randn(E, FF, D) / FF**0.5)

    def forward(self, x):
        weights, chosen = self.router(x)
        expert, slot = chosen.flatten().sort(stable=True)
        counts = torch.bincount(expert, minlength=E)
        place = torch.arange(T * K) - (counts.cumsum(0) - counts)[expert]
        token = slot // K
        padded = x.new_zeros(E, int(counts.max()), D).index_put((expert, place), x[token])
        gate, up = (padded @ self.gate_up).chunk(2, -1)
        y = ((F.silu(gate) * up) @ self.down)[expert, place] * weights.flatten()[slot, None]
        return torch.zeros_like(x).index_add(0, token, y.to(x.dtype))


layer = {"loop": Loop, "padded": Padded}[way]()
x = torch.randn(T, D)
x[:, 0] = 0
x[: round(T * SKEWED), 0] = 100
x.requires_grad_()
dY = torch.randn(T, D)


def round_of(count):
    for _ in range(count):
        layer.zero_grad(set_to_none=True)
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=IS_HALF):
            y = layer(x)
        y.float().backward(dY)


serve(round_of)
