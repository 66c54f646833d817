"""A Mixtral-style training step in plain PyTorch: separate expert modules, a loop over experts, AdamW and clipping.

usage: train_step.py THREADS CONFIG_JSON
"""

import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

from expert import Expert
from protocol import serve

threads, config = int(sys.argv[1]), json.loads(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(1)

VOCAB, D, LAYERS = config["vocab"], config["hidden"], config["layers"]
HEADS, FF, EXPERTS, K = config["heads"], config["ff"], config["experts"], config["topK"]
BATCH, LENGTH = config["batch"], config["length"]


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate_half(x):
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))

    def forward(self, x, cos, sin, blocked):
        batch, length, _ = x.shape
        q, k, v = (p(x).view(batch, length, HEADS, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        scores = (q @ k.transpose(2, 3) / (D // HEADS) ** 0.5).masked_fill(blocked, float("-inf"))
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, D))


class MoE(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(D, EXPERTS, bias=False)
        self.experts = nn.ModuleList(Expert(D, FF) for _ in range(EXPERTS))

    def forward(self, x):
        flat = x.view(-1, D)
        probs = self.router(flat).softmax(-1)
        weights, chosen = probs.topk(K, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for e, expert in enumerate(self.experts):
            token, slot = torch.where(chosen == e)
            if token.numel():
                out.index_add_(0, token, expert(flat[token]) * weights[token, slot, None])
        share = F.one_hot(chosen, EXPERTS).float().mean((0, 1))
        return out.view_as(x), EXPERTS * (share * probs.mean(0)).sum()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention, self.norm2, self.moe = RMSNorm(D), Attention(), RMSNorm(D), MoE()

    def forward(self, x, *angles):
        x = x + self.attention(self.norm1(x), *angles)
        y, loss = self.moe(self.norm2(x))
        return x + y, loss


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, D)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm, self.head = RMSNorm(D), nn.Linear(D, VOCAB, bias=False)

    def forward(self, ids):
        length = ids.shape[1]
        width = D // HEADS
        angles = torch.outer(torch.arange(length).float(), 1e4 ** (-torch.arange(0, width, 2) / width))
        cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
        blocked = torch.ones(length, length, dtype=torch.bool).triu(1)
        x, balance = self.embed(ids), 0
        for layer in self.layers:
            x, loss = layer(x, cos, sin, blocked)
            balance = balance + loss
        return self.head(self.norm(x)), balance


model = Model()
for parameter in model.parameters():
    if parameter.ndim > 1:
        nn.init.normal_(parameter, std=0.02)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
ids = torch.randint(0, VOCAB, (BATCH, LENGTH + 1))


def round_of(steps):
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        logits, balance = model(ids[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, VOCAB), ids[:, 1:].reshape(-1)) + 0.01 * balance
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return {"loss": loss.item()}


serve(round_of)
