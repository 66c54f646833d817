"""A small operator without gradients, called over and over: what a call costs in Python."""

import torch

from protocol import serve

torch.set_num_threads(1)
torch.set_grad_enabled(False)
a, b = torch.ones(1, 1), torch.ones(1, 1)
add = torch.add


def calls(count):
    for _ in range(count):
        add(a, b)


serve(calls)
