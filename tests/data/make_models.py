#!/usr/bin/env python3
"""Tiny random models of every family and option, and what transformers says about them.

Writes tests/data/models/NAME/{config.json, model.safetensors, golden.safetensors}.  With `--golden FOLDER` it writes only
golden.safetensors, beside the weights of a model that exists (CN_TEST_REAL_MODEL=FOLDER test_model_parity reads it).  Needs torch, transformers and
safetensors (made with torch 2.13, transformers 5.23).  Everything is computed in double with eager attention, one
sequence at a time without padding, from the float weights that are stored.

golden.safetensors:
  token, role, group, seq_start   the batch (roles as in carnot/batch.h: 0 prompt, 1 policy, 2 environment)
  d_logp, d_entropy, d_top        seeds: dL/dchannel per token
  logp, entropy, top              channels per token (F64), 0 where the role is not policy
  logp.NAME, entropy.NAME, top.NAME   gradient of each weight for the one seed
  adamw.NAME                      weights after three clipped AdamW steps on the sum of the three
  metadata: temperature, top_form, top_amount, top_renormalised
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
COMMON = dict(vocab_size=31, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
              tie_word_embeddings=False)
MODELS = {
    "llama_tied": (dict(model_type="llama", rope_theta=10000.0, tie_word_embeddings=True), 1.0, ("top_p", 0.7, True), True),
    "llama3_scaled": (dict(model_type="llama", head_dim=6, rope_theta=500000.0,
                           rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                             original_max_position_embeddings=32)), 0.8, ("top_p", 0.6, False), False),
    "llama_linear_bias": (dict(model_type="llama", attention_bias=True, num_key_value_heads=4, rope_theta=10000.0,
                               rope_scaling=dict(rope_type="linear", factor=2.0)), 1.3, ("top_k", 5, True), False),
    "qwen2": (dict(model_type="qwen2", hidden_size=20, num_attention_heads=2, num_key_value_heads=1, rope_theta=1e6,
                   rms_norm_eps=1e-6, tie_word_embeddings=True), 1.0, ("top_k", 4, False), True),
    "qwen3": (dict(model_type="qwen3", head_dim=8, rope_theta=1e6, rms_norm_eps=1e-6), 0.7, ("top_p", 0.8, True), True),
    # Beyond the 64 columns of a block of a matrix product, and not a multiple of them.
    "llama_wide": (dict(model_type="llama", vocab_size=67, hidden_size=66, intermediate_size=130, num_hidden_layers=1,
                        num_attention_heads=3, num_key_value_heads=1, head_dim=22, rope_theta=10000.0,
                        tie_word_embeddings=True), 3.0, ("top_p", 0.7, True), False),
}


def make_batch(generator, vocab):
    """Groups that share prompts, answers of several lengths, one over 32 tokens, environment turns, one without an answer."""
    def ids(n):
        return torch.randint(3, vocab, (n,), generator=generator).tolist()
    sequences = []
    prompt = ids(7)
    for n in (5, 1, 40):
        sequences.append((0, prompt + ids(n), [0] * 7 + [1] * n))
    prompt = ids(4)
    sequences.append((1, prompt + ids(9), [0] * 4 + [1] * 3 + [2] * 2 + [1] * 3 + [2]))
    sequences.append((1, prompt + ids(2), [0] * 4 + [2] * 2))
    sequences.append((1, prompt + ids(6), [0] * 4 + [1] * 6))
    sequences.append((2, ids(50), [0] * 9 + [1] * 41))
    sequences.append((3, ids(6), [1] * 6))
    return sequences


def channels(logits, targets, temperature, top):
    form, amount, renormalised = top
    logp_all = torch.log_softmax(logits / temperature, dim=-1)
    p = logp_all.exp()
    order = torch.argsort(logp_all, dim=-1, descending=True, stable=True)
    sorted_p = p.gather(-1, order)
    if form == "top_p":
        keep_sorted = (sorted_p.cumsum(-1) - sorted_p) < amount
    else:
        keep_sorted = torch.arange(p.shape[-1]).expand_as(p) < amount
    keep = torch.zeros_like(p, dtype=torch.bool).scatter(-1, order, keep_sorted)
    logp = logp_all.gather(-1, targets[:, None])[:, 0]
    entropy = -(p * logp_all).sum(-1)
    zero = torch.zeros_like(p)
    partial = -torch.where(keep, p * logp_all, zero).sum(-1)
    if renormalised:
        mass = torch.where(keep, p, zero).sum(-1)
        return logp, entropy, mass.log() + partial / mass
    return logp, entropy, partial


def run(model, sequences, temperature, top):
    """Channels of every token of the batch, in order, as three vectors with a graph."""
    parts = []
    for _, token, role in sequences:
        ids = torch.tensor(token)
        logits = model(input_ids=ids[None]).logits[0]
        rows = [torch.zeros(1, dtype=torch.float64)] * 3
        values = channels(logits[:-1], ids[1:], temperature, top)
        trained = torch.tensor([r == 1 for r in role[1:]])
        parts.append([torch.cat([z, torch.where(trained, v, torch.zeros_like(v))]) for z, v in zip(rows, values)])
    return [torch.cat([p[i] for p in parts]) for i in range(3)]


def named(model):
    return {n: p for n, p in model.named_parameters()}


def make(name, overrides, temperature, top, with_adamw, seed):
    folder = os.path.join(HERE, "models", name)
    os.makedirs(folder, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    settings = {**COMMON, **overrides}
    config = AutoConfig.for_model(**settings)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for n, p in named(model).items():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if n.endswith("norm.weight") else 0.3 * noise)
    model.save_pretrained(folder)
    if os.path.exists(os.path.join(folder, "generation_config.json")):
        os.remove(os.path.join(folder, "generation_config.json"))
    golden(model, folder, generator, temperature, top, with_adamw)


def golden(model, folder, generator, temperature, top, with_adamw):
    model = model.double()
    sequences = make_batch(generator, model.config.vocab_size)
    n_tokens = sum(len(t) for _, t, _ in sequences)
    seeds = [0.3 * torch.randn(n_tokens, generator=generator, dtype=torch.float64) for _ in range(3)]
    out = {
        "token": torch.tensor(sum((t for _, t, _ in sequences), []), dtype=torch.int32),
        "role": torch.tensor(sum((r for _, _, r in sequences), []), dtype=torch.uint8),
        "group": torch.tensor([g for g, _, _ in sequences], dtype=torch.int32),
        "seq_start": torch.tensor([0] + torch.tensor([len(t) for _, t, _ in sequences]).cumsum(0).tolist()),
    }
    for label, seed_values in zip(("d_logp", "d_entropy", "d_top"), seeds):
        out[label] = seed_values
    values = run(model, sequences, temperature, top)
    for label, value, seed_values in zip(("logp", "entropy", "top"), values, seeds):
        out[label] = value.detach()
        model.zero_grad()
        (value * seed_values).sum().backward(retain_graph=True)
        for n, p in named(model).items():
            out[f"{label}.{n}"] = p.grad.float().clone()
    if with_adamw:
        adamw(model, sequences, seeds, temperature, top, out)
    meta = dict(temperature=str(temperature), top_form=top[0], top_amount=str(top[1]), top_renormalised=str(int(top[2])))
    save_file({k: v.detach().contiguous() for k, v in out.items()}, os.path.join(folder, "golden.safetensors"), metadata=meta)
    print(folder, sum(p.numel() for p in model.parameters()), "parameters,",
          sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)) // 1024, "kB")


def adamw(model, sequences, seeds, temperature, top, out):
    groups = [dict(params=[p for p in model.parameters() if p.dim() >= 2], weight_decay=0.1),
              dict(params=[p for p in model.parameters() if p.dim() < 2], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    for _ in range(3):
        optimizer.zero_grad()
        sum((v * s).sum() for v, s in zip(run(model, sequences, temperature, top), seeds)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    for n, p in named(model).items():
        out[f"adamw.{n}"] = p.detach().float().clone()


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--golden":
        real = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.float32, attn_implementation="eager")
        golden(real, sys.argv[2], torch.Generator().manual_seed(1), 1.0, ("top_p", 0.9, True), False)
        sys.exit(0)
    for index, (name, row) in enumerate(MODELS.items()):
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            make(name, *row, seed=100 + index)
