"""Forward and backward of one MoE layer of transformers, in bf16.

usage: hf_layer.py DEVICE KIND FIELDS_JSON TOKENS EXPERTS
"""

import json
import sys

import torch

import hf
from protocol import serve

device, kind, fields = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
tokens, experts = int(sys.argv[4]), sys.argv[5]

layer = hf.make(kind, {**fields, "num_hidden_layers": 1, "vocab_size": 64}, device, experts).model.layers[0].mlp
width = fields["hidden_size"]
x = torch.randn(1, tokens, width, device=device, dtype=torch.bfloat16).requires_grad_()
d_y = torch.randn(1, tokens, width, device=device, dtype=torch.bfloat16)


def round_of(steps):
    for _ in range(steps):
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(d_y)
        layer.zero_grad(set_to_none=True)
        x.grad = None
    hf.wait(device)
    return {"devicePeak": hf.peak(device)}


serve(round_of)
