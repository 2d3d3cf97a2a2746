"""The same pairs by Math-Verify and by `carnot grade`; launch/compare-math-verify runs it."""
import json
import logging
import subprocess
import sys
import time

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
carnot, path = sys.argv[1:]
REPEAT = 20  # of Carnot's run, so that its start and its pipes do not count


def formula(text):
    """Math-Verify reads LaTeX between marks only."""
    return text if "$" in text or "\\boxed" in text else f"${text}$"


pairs = []
for line in open(path, encoding="utf-8"):
    field = line.rstrip("\n").split("\t")
    if not line.startswith("#") and len(field) == 4 and field[1] == "auto":
        pairs.append([text.replace("⏎", "\n") for text in field[2:]])

theirs, start = [], time.perf_counter()
for gold, reply in pairs:
    try:
        theirs.append(verify(parse(formula(gold)), parse(formula(reply))))
    except Exception:  # it gives up: no verdict
        theirs.append(None)
theirs_s = (time.perf_counter() - start) / len(pairs)


def grade(times):
    rows = [json.dumps({"response": reply, "ground_truth": gold}) for gold, reply in pairs] * times
    start = time.perf_counter()
    done = subprocess.run([carnot, "grade", "--reward", "math"], input="\n".join(rows).encode(),
                          stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - start, done.stdout.splitlines()


once_s, out = grade(1)
ours = [json.loads(line)["verdict"] == "correct" for line in out]
ours_s = (grade(1 + REPEAT)[0] - once_s) / REPEAT / len(pairs)
same = sum(a == b for a, b in zip(ours, theirs))
print(f"{len(pairs)} pairs: Math-Verify {1e6 * theirs_s:.0f} us a pair, carnot grade {1e6 * ours_s:.1f} us "
      f"with JSON in and out: {theirs_s / ours_s:.0f} times as fast; the same verdict on {same}")
