"""Makes tiny GGUF files of every tensor type and what they must become: golden files of test_gguf.c.

    python3 tests/data/make_gguf.py          (packages gguf 0.19, numpy, safetensors, torch; any recent version)

NAME.gguf is written by the gguf package; NAME.safetensors holds what that package dequantizes, under Hugging Face's names,
with the query and key rows of the llama family put back in Hugging Face's order (numpy, below).
"""
import os

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
T = gguf.GGMLQuantizationType
HIDDEN, INNER, HEADS, KV, DIM = 32, 64, 4, 2, 8


def byte_tokens():
    """Printable ASCII and the blank, as byte-level BPE writes them."""
    return [chr(b) for b in range(33, 127)] + ["\u0120"]


def interleave(w, heads):
    """Rows as llama.cpp's converter leaves them: halves of a head become neighbours."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def undo(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def make(name, arch, pre, types, bias, norm, tied, special, rope_factors):
    layers = 2 if arch == "llama" else 1
    rng = np.random.default_rng(7)
    tokens = byte_tokens() + ["he", "ll", "llo", "hello"] + special
    writer = gguf.GGUFWriter(os.path.join(HERE, name + ".gguf"), arch)
    writer.add_block_count(layers)
    writer.add_context_length(131072 if rope_factors else 256)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_key_length(DIM)
    writer.add_rope_dimension_count(DIM)
    writer.add_rope_freq_base(500000.0 if rope_factors else 10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - len(special)) + [3] * len(special))
    writer.add_token_merges(["h e", "l l", "ll o", "he llo"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    golden, turn = {}, 0

    def add(file_name, hf_name, shape, heads=0):
        nonlocal turn
        w = rng.standard_normal(shape).astype(np.float32)
        if heads:
            w = interleave(w, heads)
        kind = T.F32 if len(shape) == 1 else types[turn % len(types)]
        turn += len(shape) > 1
        data = gguf.quants.quantize(w, kind)
        if kind in (T.F32, T.F16):
            writer.add_tensor(file_name, data)
        else:
            writer.add_tensor(file_name, data, raw_dtype=kind)
        back = gguf.quants.dequantize(data, kind).astype(np.float32)
        golden[hf_name] = torch.from_numpy(np.ascontiguousarray(undo(back, heads) if heads else back))

    q, kv = HEADS if arch == "llama" else 0, KV if arch == "llama" else 0
    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens) + 1, HIDDEN))
    for i in range(layers):
        f, h = f"blk.{i}.", f"model.layers.{i}."
        add(f + "attn_norm.weight", h + "input_layernorm.weight", (HIDDEN,))
        add(f + "ffn_norm.weight", h + "post_attention_layernorm.weight", (HIDDEN,))
        add(f + "attn_q.weight", h + "self_attn.q_proj.weight", (HEADS * DIM, HIDDEN), q)
        add(f + "attn_k.weight", h + "self_attn.k_proj.weight", (KV * DIM, HIDDEN), kv)
        add(f + "attn_v.weight", h + "self_attn.v_proj.weight", (KV * DIM, HIDDEN))
        add(f + "attn_output.weight", h + "self_attn.o_proj.weight", (HIDDEN, HEADS * DIM))
        if bias:
            add(f + "attn_q.bias", h + "self_attn.q_proj.bias", (HEADS * DIM,), q)
            add(f + "attn_k.bias", h + "self_attn.k_proj.bias", (KV * DIM,), kv)
            add(f + "attn_v.bias", h + "self_attn.v_proj.bias", (KV * DIM,))
        if norm:
            add(f + "attn_q_norm.weight", h + "self_attn.q_norm.weight", (DIM,))
            add(f + "attn_k_norm.weight", h + "self_attn.k_norm.weight", (DIM,))
        add(f + "ffn_gate.weight", h + "mlp.gate_proj.weight", (INNER, HIDDEN))
        add(f + "ffn_up.weight", h + "mlp.up_proj.weight", (INNER, HIDDEN))
        add(f + "ffn_down.weight", h + "mlp.down_proj.weight", (HIDDEN, INNER))
    add("output_norm.weight", "model.norm.weight", (HIDDEN,))
    if not tied:
        add("output.weight", "lm_head.weight", (len(tokens) + 1, HIDDEN))
    if rope_factors:
        writer.add_tensor("rope_freqs.weight", rope_factors_llama3(500000.0, 32.0))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(golden, os.path.join(HERE, name + ".safetensors"))
    os.chmod(os.path.join(HERE, name + ".safetensors"), 0o644)


def rope_factors_llama3(base, factor, low=1.0, high=4.0, original=8192):
    """Plain over scaled frequency, as llama.cpp stores it."""
    out = []
    for i in range(0, DIM, 2):
        wave = 2 * np.pi * base ** (i / DIM)
        if wave < original / high:
            out.append(1.0)
        elif wave > original / low:
            out.append(factor)
        else:
            smooth = (original / wave - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, dtype=np.float32)


make("gguf_llama", "llama", "llama-bpe", [T.Q4_0, T.Q4_1, T.Q8_0, T.F16, T.BF16, T.F32], False, False, False,
     ["<|begin|>", "<|end|>"], True)
make("gguf_qwen2", "qwen2", "qwen2", [T.Q8_0, T.F16], True, False, True, ["<|x|>", "<|begin|>", "<|end|>"], False)
make("gguf_qwen3", "qwen3", "qwen2", [T.Q4_1, T.BF16], False, True, True, ["<|begin|>", "<|end|>"], False)
