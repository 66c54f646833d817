"""A training step of transformers: bf16 weights, fused AdamW with states in bf16, the auxiliary loss on.

usage: hf_step.py DEVICE KIND FIELDS_JSON BATCH LENGTH EXPERTS COMPILE
"""

import json
import sys

import torch

import hf
from protocol import serve

device, kind, fields = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
batch, length, experts, compiled = int(sys.argv[4]), int(sys.argv[5]), sys.argv[6], sys.argv[7] == "true"

model = hf.make(kind, fields, device, experts).train()
forward = torch.compile(model) if compiled else model
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
ids = torch.randint(0, fields["vocab_size"], (batch, length), device=device)


def round_of(steps):
    loss = None
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    value = loss.item()
    hf.wait(device)
    return {"loss": value, "devicePeak": hf.peak(device)}


serve(round_of)
