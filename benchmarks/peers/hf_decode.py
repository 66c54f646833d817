"""Greedy decoding by transformers: tokens of `count` steps after a short prompt, in bf16.

usage: hf_decode.py DEVICE KIND FIELDS_JSON BATCH PROMPT EXPERTS
"""

import json
import sys

import torch

import hf
from protocol import serve

device, kind, fields = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
batch, prompt, experts = int(sys.argv[4]), int(sys.argv[5]), sys.argv[6]

model = hf.make(kind, fields, device, experts).eval()
model.generation_config.eos_token_id = None
ids = torch.randint(0, fields["vocab_size"], (batch, prompt), device=device)


@torch.inference_mode()
def round_of(steps):
    model.generate(ids, attention_mask=torch.ones_like(ids), min_new_tokens=steps, max_new_tokens=steps, do_sample=False)
    hf.wait(device)
    return {"devicePeak": hf.peak(device)}


serve(round_of)
