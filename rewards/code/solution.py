# Runs inside the sandbox of the policy's program: loads main.py and serves calls to it.
#
# One JSON value per line over descriptor 3; the checker, in a sandbox of its own, is the other end.
# Nothing here is secret or trusted: the program can do what it likes with this process, and all it
# can reach that way is to answer a call with some value, which is what it is asked for anyway.
import itertools
import json
import operator
import sys

getattr(sys, "set_int_max_str_digits", lambda n: None)(0)
sys.setrecursionlimit(10000)
channel = open(3, "r+b", buffering=0)
lines = open(3, "rb", closefd=False)
handles = []


# Plain values cross as JSON, with one-key objects for what JSON lacks; anything else stays here and
# crosses as the number of a handle.
def encode(value, depth=0):
    if depth > 200:
        raise ValueError("nested too deeply")
    kind = type(value)
    if kind in (bool, int, float, str, type(None)):
        return value
    deeper = lambda items: [encode(x, depth + 1) for x in items]
    library = (kind.__module__, kind.__name__) if kind.__module__ in ("collections", "decimal", "fractions") else None
    if isinstance(value, list) or library == ("collections", "deque"):
        return deeper(value)
    if isinstance(value, tuple):
        return {"tuple": deeper(value)}
    if isinstance(value, dict):
        return {"dict": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items()]}
    if isinstance(value, (set, frozenset)):
        return {kind.__name__ if kind in (set, frozenset) else "set": deeper(value)}
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, (bytes, bytearray)):
        return {"bytearray" if isinstance(value, bytearray) else "bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if library in (("decimal", "Decimal"), ("fractions", "Fraction")):
        return {kind.__name__.lower(): str(value)}
    if isinstance(value, type(sys)):
        return {"module": value.__name__}
    if kind.__module__ == "numpy":
        return encode(value.tolist(), depth + 1)
    handles.append(value)
    return {"handle": len(handles) - 1}


def decode(value):
    if isinstance(value, list):
        return [decode(x) for x in value]
    if not isinstance(value, dict):
        return value
    (kind, inner), = value.items()
    if kind == "handle":
        return handles[inner]
    if kind == "function":
        return lambda *args, **kwargs: ask({"op": "callback", "f": inner, "args": encode(list(args)),
                                            "kwargs": encode(kwargs)})
    return {
        "tuple": lambda: tuple(decode(inner)), "set": lambda: set(decode(inner)),
        "frozenset": lambda: frozenset(decode(inner)),
        "dict": lambda: {decode(k): decode(v) for k, v in inner},
        "bytes": lambda: bytes.fromhex(inner), "bytearray": lambda: bytearray.fromhex(inner),
        "complex": lambda: complex(*inner), "range": lambda: range(*inner),
        "decimal": lambda: __import__("decimal").Decimal(inner),
        "fraction": lambda: __import__("fractions").Fraction(inner),
    }[kind]()


def send(message):
    data = (json.dumps(message) + "\n").encode()
    while data:
        data = data[channel.write(data):]


def raised(error):
    try:
        args = encode(list(error.args))
    except Exception:
        args = []
    return {"raise": [c.__name__ for c in type(error).__mro__], "args": args}


# Calls back into the checker, which may call here again before it answers.
def ask(message):
    send(message)
    while True:
        line = lines.readline()
        if not line:
            raise SystemExit
        answer = json.loads(line)
        if "op" in answer:
            serve(answer)
        elif "raise" in answer:
            raise RuntimeError("the test's function failed")
        else:
            return decode(answer["value"])


def perform(request, space):
    op = request["op"]
    if op == "get":
        return space[request["name"]], None
    target = decode(request["of"])
    if op == "attr":
        return getattr(target, request["name"]), None
    if op == "list":
        return list(itertools.islice(target, 100000)), None
    if op == "truth":
        return bool(target), None
    if op == "text":
        return (repr if request["name"] == "repr" else str)(target), None
    args, kwargs = decode(request["args"]), decode(request["kwargs"])
    if op == "operator":
        return getattr(operator, request["name"])(target, *args), None
    if op == "method":
        return getattr(target, request["name"])(*args), None
    before = [json.dumps(encode(x)) if isinstance(x, (list, dict, set, bytearray)) else None for x in args]
    value = target(*args, **kwargs)
    after = [encode(x) if b is not None and json.dumps(encode(x)) != b else None
             for x, b in zip(args, before)]
    return value, after


def serve(request):
    try:
        value, after = perform(request, space)
        answer = {"value": encode(value)}
        if after and any(x is not None for x in after):
            answer["after"] = after
    except Exception as error:
        answer = raised(error)
    send(answer)


solution = type(sys)("solution")
sys.modules["solution"] = solution
space = solution.__dict__
try:
    program = compile(open("main.py", "rb").read(), "main.py", "exec")
except (SyntaxError, ValueError):
    program = None
    send({"unreadable": True})
try:
    if program:
        exec(program, space)
        send({"names": [n for n in space if not n.startswith("__")]})
except Exception as error:
    send(raised(error))
while True:
    line = lines.readline()
    if not line:
        break
    serve(json.loads(line))
