#!/usr/bin/env python3
"""Makes tests/data/fuzz: small well-formed files from which the fuzzers start and which test_corpus changes.
Needs numpy, safetensors, gguf.  Output is the same on every run."""
import json
import os
import struct

import gguf
import numpy as np
from safetensors.numpy import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz")


def path(*parts):
    full = os.path.join(HERE, *parts)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def text(value, *parts):
    with open(path(*parts), "w", encoding="utf-8") as file:
        file.write(value)


def make_json():
    text("""// a comment
{ "run": {"name": "x", "seed": 3}, /* another */
  "algorithm": {"type": "dapo", "surrogate": {"clip_low": 0.2, "clip_high": 2.8e-1,}, "kl": "none"},
  "entropy": ["bonus"], "rewards": ["format", {"type": "length", "weight": -0.5}],
  "eval": {"k": [1, 4], "samples": 4}, "model": {"init": {"a": [null, true, {"b": "\\u00e9\\ud83d\\ude00\\n"}]}}
}
""", "json", "config.json")
    text('{"optimizer": {"lr": 1e-06, "betas": [0.9, 0.95]}, "train": {"steps": 10, "samples": 8},'
         ' "env": {"type": "sort"}, "rollout": {"stop": ["\\\\", "\\"", "x"], "mismatch_stop": null}}',
         "json", "strict.json")
    text('{"algorithm.clip_high": 0.3, "a": {"": [[[[]]]]}, "x": -0.0, "y": 1E+2, "z": "\\u0000"}', "json", "odd.json")


def make_safetensors():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_file({"a": values, "b.weight": values.astype(np.float16), "c": np.arange(5, dtype=np.int32)},
              path("safetensors", "mixed.safetensors"), metadata={"format": "pt"})
    save_file({"empty": np.zeros((0, 3), dtype=np.float32), "one": np.ones(1, dtype=np.float32)},
              path("safetensors", "small.safetensors"))
    header = json.dumps({"t": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    with open(path("safetensors", "bf16.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + b"\x80\x3f" * 4)


def make_gguf():
    def write(name, kinds):
        writer = gguf.GGUFWriter(path("gguf", name), "llama")
        writer.add_block_count(1)
        writer.add_context_length(64)
        writer.add_embedding_length(32)
        writer.add_feed_forward_length(64)
        writer.add_head_count(2)
        writer.add_head_count_kv(1)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(10000.0)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["a", "b", "\u0120c", "<|end|>"])
        writer.add_token_types([1, 1, 1, 3])
        writer.add_bos_token_id(3)
        writer.add_eos_token_id(3)
        rng = np.random.default_rng(1)
        for i, kind in enumerate(kinds):
            values = rng.standard_normal((4, 32)).astype(np.float32)
            if kind == "F32":
                writer.add_tensor(f"t{i}", values)
            elif kind == "F16":
                writer.add_tensor(f"t{i}", values.astype(np.float16))
            else:
                quant = getattr(gguf.GGMLQuantizationType, kind)
                writer.add_tensor(f"t{i}", gguf.quants.quantize(values, quant), raw_dtype=quant)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    write("plain.gguf", ["F32", "F16", "BF16"])
    write("quants.gguf", ["Q4_0", "Q4_1", "Q8_0"])


def byte_letters():
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters, more = {}, 0
    for byte in range(256):
        letters[byte] = chr(byte) if byte in plain else chr(256 + more)
        more += byte not in plain
    return letters


def make_tokenizer():
    letters = byte_letters()
    vocab = {letters[byte]: byte for byte in range(256)}
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("\u0120", "w"), ("1", "2")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    gpt2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    added = [{"id": len(vocab), "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True}]

    def write(name, pre, pair):
        tree = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
                "pre_tokenizer": pre, "post_processor": None,
                "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                          "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                          "merges": [list(m) if pair else " ".join(m) for m in merges]}}
        text(json.dumps(tree, ensure_ascii=False), "tokenizer", name)

    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write("gpt2.json", level, True)
    split = {"type": "Split", "pattern": {"Regex": gpt2}, "behavior": "Isolated", "invert": False}
    write("split.json", {"type": "Sequence", "pretokenizers": [split, dict(level, use_regex=False)]}, False)


def make_jsonl():
    def rows(name, *values):
        text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values), "jsonl", name)

    rows("shapes.jsonl",
         {"prompt": "1+1?", "solution": "2", "level": 3},
         {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
          "reward_model": {"ground_truth": "4", "style": "rule"}, "data_source": "x"},
         {"input": "caf\u00e9", "label": 7},
         {"question": "How many?", "answer": "First 2, then 3.\n#### 5"},
         {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello\u0000"}]},
         {"rendered": "<|im_start|>user\nx", "answer": "y"})
    rows("gsm8k.jsonl", *[{"question": f"Ann has {n} apples and buys 2.", "answer": f"<<{n}+2={n + 2}>>\n#### {n + 2}"}
                          for n in range(4)])


make_json()
make_safetensors()
make_gguf()
make_tokenizer()
make_jsonl()
