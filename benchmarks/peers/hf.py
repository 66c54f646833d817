"""Models of transformers for the CUDA benchmarks, with random weights."""

import torch
from transformers import MixtralConfig, MixtralForCausalLM, OlmoeConfig, OlmoeForCausalLM

MODELS = {"mixtral": (MixtralConfig, MixtralForCausalLM), "olmoe": (OlmoeConfig, OlmoeForCausalLM)}


def make(kind, fields, device, experts, dtype=torch.bfloat16):
    """A model in `dtype` on `device`; `experts` names transformers' way of computing them: eager, grouped_mm, ..."""
    config_class, model_class = MODELS[kind]
    config = config_class(**fields, output_router_logits=True, attn_implementation="sdpa")
    torch.manual_seed(1)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = model_class(config)
    torch.set_default_dtype(torch.float32)
    model.set_experts_implementation(experts)
    return model.to(device=device, dtype=dtype)


def wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def peak(device):
    return torch.cuda.max_memory_allocated() if device != "cpu" else 0
