"""Generation by peers/mixtral.py: `prefill` reads the prompt anew each time, `decode` writes a token at a time after it.

usage: generate.py THREADS CONFIG_JSON prefill|decode PROMPT
"""

import json
import sys

import torch

from mixtral import Model
from protocol import serve

threads, config, task, prompt = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
torch.set_num_threads(threads)
torch.manual_seed(1)

model = Model(config).eval()
ids = torch.randint(0, config["vocab"], (1, prompt))


@torch.inference_mode()
def read_prompts(count):
    for _ in range(count):
        model(ids, model.new_cache())


@torch.inference_mode()
def write_tokens(count):
    cache = [list(layer) for layer in read]
    token = ids[:, -1:]
    for _ in range(count):
        logits, _ = model(token, cache)
        token = logits[:, -1].argmax(-1, keepdim=True)


if task == "decode":
    read = model.new_cache()
    with torch.inference_mode():
        model(ids, read)
serve(read_prompts if task == "prefill" else write_tokens)
