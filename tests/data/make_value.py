#!/usr/bin/env python3
"""PPO with a value head on tiny random models, by autograd in double: tests/data/models/NAME/value.safetensors.

Reads the models and batches that make_models.py wrote.  Needs torch, transformers and safetensors (made with torch 2.13,
transformers 5.24).  The loss is written from the papers: Schulman et al. 2017 (clipped ratio), and the clipped value loss

    L = mean_t max(-A r, -A clip(r, 0.8, 1.2)) + mean_t 1/2 max((V - R)^2, (clip(V, V_old - 0.2, V_old + 0.2) - R)^2)

over the policy's tokens, with r = exp(logp - logp_old) and V = w . h + b of the final hidden row that predicts the token.

value.safetensors:
  value_head.weight, value_head.bias              where the head starts
  logp_old, advantage, value_old, value_target    constants per token (F64), 0 where the role is not policy
  value                                           the channel per token (F64)
  loss                                            one number
  ppo.NAME                                        gradient of each weight, the head's included
"""
import os
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ("llama_tied", "qwen2", "qwen3")
CLIP, VALUE_CLIP = 0.2, 0.2


def channels(model, head, golden, temperature):
    """logp and value of every token of the batch, with a graph; 0 where the role is not policy."""
    token, role = golden["token"].long(), golden["role"]
    start = golden["seq_start"].tolist()
    logp, value = [], []
    for begin, end in zip(start, start[1:]):
        ids, trained = token[begin:end], role[begin + 1:end] == 1
        hidden = model.model(input_ids=ids[None]).last_hidden_state[0]
        scores = torch.log_softmax(model.lm_head(hidden[:-1]) / temperature, dim=-1)
        zero = torch.zeros(1, dtype=torch.float64)
        of_next = scores.gather(-1, ids[1:, None])[:, 0]
        values = hidden[:-1] @ head["weight"][0] + head["bias"][0]
        logp += [zero, torch.where(trained, of_next, torch.zeros_like(of_next))]
        value += [zero, torch.where(trained, values, torch.zeros_like(values))]
    return torch.cat(logp), torch.cat(value)


def ppo(logp, value, constants, trained):
    ratio = (logp - constants["logp_old"]).exp()
    a, target, old = constants["advantage"], constants["value_target"], constants["value_old"]
    policy = torch.maximum(-a * ratio, -a * ratio.clamp(1 - CLIP, 1 + CLIP))
    bounded = old + (value - old).clamp(-VALUE_CLIP, VALUE_CLIP)
    critic = 0.5 * torch.maximum((value - target) ** 2, (bounded - target) ** 2)
    return (policy + critic)[trained].mean()


def make(name, seed):
    folder = os.path.join(HERE, "models", name)
    with safe_open(os.path.join(folder, "golden.safetensors"), "pt") as f:
        golden = {k: f.get_tensor(k) for k in ("token", "role", "seq_start")}
        temperature = float(f.metadata()["temperature"])
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").double()
    weight = 0.3 * torch.randn(1, model.config.hidden_size, generator=generator)
    head = {"weight": weight.double().requires_grad_(), "bias": torch.tensor([0.125]).double().requires_grad_()}
    trained = golden["role"] == 1
    trained[golden["seq_start"][:-1]] = False
    logp, value = channels(model, head, golden, temperature)
    noise = {k: torch.randn(len(logp), generator=generator, dtype=torch.float64) for k in ("logp", "value", "a", "r")}
    constants = {"logp_old": logp.detach() + 0.3 * noise["logp"], "advantage": noise["a"],
                 "value_old": value.detach() + 0.4 * noise["value"], "value_target": noise["r"]}
    constants = {k: torch.where(trained, v, torch.zeros_like(v)) for k, v in constants.items()}
    loss = ppo(logp, value, constants, trained)
    loss.backward()
    out = {**constants, "value": value.detach(), "loss": loss.detach()[None],
           "value_head.weight": weight, "value_head.bias": torch.tensor([0.125])}
    for n, p in [*model.named_parameters(), *((f"value_head.{k}", v) for k, v in head.items())]:
        out[f"ppo.{n}"] = p.grad.float().clone()
    save_file({k: v.detach().contiguous() for k, v in out.items()}, os.path.join(folder, "value.safetensors"))
    print(name, "loss", loss.item())


if __name__ == "__main__":
    for index, chosen in enumerate(MODELS):
        if len(sys.argv) < 2 or chosen in sys.argv[1:]:
            make(chosen, seed=200 + index)
