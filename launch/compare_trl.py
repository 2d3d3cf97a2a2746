"""TRL's side of launch/compare-trl: the same GRPO steps, timed.  Prints one JSON object as its last line.

usage: compare_trl.py MODEL ROWS PROMPTS SAMPLES TOKENS STEPS MICRO_BATCH THREADS f32|bf16

ROWS holds {"prompt": text or messages, "answer": text} lines in training order.  Every answer has
exactly TOKENS tokens, so that both programs do the same work; bf16 means autocast in the update
(TRL's own way: weights stay in float).
"""
import json
import os
import re
import resource
import sys
import tempfile
import time


def process_age():
    """Seconds since this process was started, imports included."""
    fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
    up = float(open("/proc/uptime").read().split()[0])
    return up - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def main():
    model, rows_path = sys.argv[1:3]
    prompts, samples, tokens, steps, micro_batch, threads = map(int, sys.argv[3:9])
    os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false")
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(threads)
    rows = [json.loads(line) for line in open(rows_path)][: prompts * steps]
    times, ages, generations = [], [], []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            times.append(time.perf_counter())

        def on_step_end(self, *_, **__):
            times[-1] = time.perf_counter() - times[-1]
            ages.append(process_age())

    def last_number(completions, answer, **_):
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        found = [re.findall(r"-?\d+", text) for text in texts]
        return [float(bool(f) and f[-1] == a) for f, a in zip(found, answer)]

    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    generate = policy.generate

    def timed(*arguments, **options):
        start = time.perf_counter()
        out = generate(*arguments, **options)
        generations.append(time.perf_counter() - start)
        return out

    policy.generate = timed
    batch = prompts * samples
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=sys.argv[9] == "bf16", fp16=False, gradient_checkpointing=False,
        per_device_train_batch_size=micro_batch, gradient_accumulation_steps=batch // micro_batch,
        num_generations=samples, max_completion_length=tokens, generation_kwargs={"min_new_tokens": tokens},
        learning_rate=1e-6, lr_scheduler_type="constant", beta=0.0, max_steps=steps, shuffle_dataset=False,
        save_strategy="no", report_to="none", logging_steps=1, disable_tqdm=True)
    trainer = GRPOTrainer(
        model=policy, reward_funcs=last_number, args=config,
        processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
        train_dataset=Dataset.from_list(rows), callbacks=[Clock()])
    trainer.train()
    rest = times[1:] or times
    print(json.dumps({"step_s": sum(rest) / len(rest), "start_s": ages[0],
                      "generation_s": sum(generations[1:]) / max(1, len(generations) - 1),
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


main()
