"""A small Mixtral as one writes it in plain PyTorch: separate expert modules, a loop over experts, a cache that grows by `cat`."""

import torch
from torch import nn
from torch.nn import functional as F

from expert import Expert


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
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))

    def forward(self, x, cos, sin, blocked, past=None):
        batch, length, hidden = x.shape
        q, k, v = (p(x).view(batch, length, self.heads, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        if past is not None:
            if past:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            past[:] = [k, v]
        scores = (q @ k.transpose(2, 3) / (hidden // self.heads) ** 0.5).masked_fill(blocked, float("-inf"))
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, hidden))


class MoE(nn.Module):
    def __init__(self, hidden, width, experts, top_k):
        super().__init__()
        self.top_k = top_k
        self.router = nn.Linear(hidden, experts, bias=False)
        self.experts = nn.ModuleList(Expert(hidden, width) for _ in range(experts))

    def forward(self, x):
        flat = x.view(-1, x.shape[-1])
        probs = self.router(flat).softmax(-1)
        weights, chosen = probs.topk(self.top_k, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for e, expert in enumerate(self.experts):
            token, slot = torch.where(chosen == e)
            if token.numel():
                y = expert(flat[token]) * weights[token, slot, None]
                out.index_add_(0, token, y.to(out.dtype))
        share = F.one_hot(chosen, len(self.experts)).float().mean((0, 1))
        return out.view_as(x), len(self.experts) * (share * probs.mean(0)).sum()


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["hidden"]
        self.norm1, self.attention = RMSNorm(hidden), Attention(hidden, config["heads"])
        self.norm2, self.moe = RMSNorm(hidden), MoE(hidden, config["ff"], config["experts"], config["topK"])

    def forward(self, x, *attention):
        x = x + self.attention(self.norm1(x), *attention)
        y, loss = self.moe(self.norm2(x))
        return x + y, loss


class Model(nn.Module):
    """forward(ids [B, T], cache) -> logits [B, T, V] (of the last position alone where there is a cache), balance loss"""

    def __init__(self, config):
        super().__init__()
        hidden, vocab = config["hidden"], config["vocab"]
        self.width = hidden // config["heads"]
        self.embed = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["layers"]))
        self.norm, self.head = RMSNorm(hidden), nn.Linear(hidden, vocab, bias=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def new_cache(self):
        return [[] for _ in self.layers]

    def forward(self, ids, cache=None):
        length = ids.shape[1]
        past = cache[0][0].shape[2] if cache and cache[0] else 0
        positions = torch.arange(past, past + length).float()
        angles = torch.outer(positions, 1e4 ** (-torch.arange(0, self.width, 2) / self.width))
        cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
        blocked = torch.ones(length, past + length, dtype=torch.bool).triu(past + 1)
        x, balance = self.embed(ids), 0
        for i, layer in enumerate(self.layers):
            x, loss = layer(x, cos, sin, blocked, cache[i] if cache else None)
            balance = balance + loss
        return self.head(self.norm(x if cache is None else x[:, -1:])), balance
