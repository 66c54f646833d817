"""A training step of peers/mixtral.py with AdamW and clipping, in f32 or under autocast to bf16.

usage: train_step.py THREADS CONFIG_JSON f32|bf16
"""

import json
import sys

import torch
from torch.nn import functional as F

from mixtral import Model
from protocol import serve

threads, config = int(sys.argv[1]), json.loads(sys.argv[2])
is_half = sys.argv[3] == "bf16"
torch.set_num_threads(threads)
torch.manual_seed(1)

model = Model(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
ids = torch.randint(0, config["vocab"], (config["batch"], config["length"] + 1))


def round_of(steps):
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            logits, balance = model(ids[:, :-1])
        logits = logits.float().reshape(-1, config["vocab"])
        loss = F.cross_entropy(logits, ids[:, 1:].reshape(-1)) + 0.01 * balance
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return {"loss": loss.item()}


serve(round_of)
