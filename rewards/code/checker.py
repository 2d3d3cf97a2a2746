# Runs the tests of a program, in a sandbox that the program does not share.
#
# Standard input: a line with a secret, a line with the name of what is under test (may be empty), and
# the tests as the data set has them.  Names that the tests use and Python does not know are asked from
# the program over descriptor 3 (solution.py); plain values come back as copies, objects as handles.
# Standard output, which only this process has: "SECRET tests N", then "SECRET ok" or "SECRET no" per
# test, then "SECRET end".  Whatever else is printed does not begin with the secret.
import builtins
import io
import json
import math
import os
import sys

getattr(sys, "set_int_max_str_digits", lambda n: None)(0)
sys.setrecursionlimit(10000)
secret, entry, suite = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").split("\n", 2)
report = open(os.dup(1), "w")
sys.stdout = sys.stderr = io.StringIO()
channel = open(3, "r+b", buffering=0)
lines = open(3, "rb", closefd=False)
functions = []


def say(what):
    report.write("%s %s\n" % (secret, what))
    report.flush()


class SolutionError(Exception):
    pass


class Remote:
    """An object of the program.  Comparing it with a plain value is False: the program does not judge."""
    __slots__ = ("_id",)

    def __init__(self, number):
        self._id = number

    def __call__(self, *args, **kwargs):
        return call(self, args, kwargs)

    def __getattr__(self, name):
        return ask({"op": "attr", "of": encode(self), "name": name})

    def __getitem__(self, key):
        return self._method("__getitem__", key)

    def __setitem__(self, key, value):
        self._method("__setitem__", key, value)

    def __len__(self):
        try:
            return self._method("__len__")
        except AttributeError as error:
            raise TypeError from error

    def __iter__(self):
        return iter(ask({"op": "list", "of": encode(self)}))

    def __next__(self):
        return self._method("__next__")

    def __bool__(self):
        return ask({"op": "truth", "of": encode(self)}) is True

    def __str__(self):
        return ask({"op": "text", "of": encode(self), "name": "str"})

    def __repr__(self):
        return ask({"op": "text", "of": encode(self), "name": "repr"})

    def __hash__(self):
        return self._id

    def _method(self, name, *args, op="method"):
        return ask({"op": op, "of": encode(self), "name": name, "args": encode(list(args)), "kwargs": encode({})})


# Operators between two objects of the program are the program's business.
def operator(name):
    def apply(self, other):
        if isinstance(other, Remote):
            return self._method(name, other, op="operator")
        return {"eq": False, "ne": True}.get(name, NotImplemented)
    return apply


for name in "eq ne lt le gt ge add sub mul truediv".split():
    setattr(Remote, "__%s__" % name, operator(name))


def encode(value):
    if isinstance(value, Remote):
        return {"handle": value._id}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [encode(x) for x in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {type(value).__name__ if type(value) in (tuple, set, frozenset) else "tuple": [encode(x) for x in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(k), encode(v)] for k, v in value.items()]}
    if isinstance(value, (bytes, bytearray)):
        return {type(value).__name__: value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if (type(value).__module__, type(value).__name__) in (("decimal", "Decimal"), ("fractions", "Fraction")):
        return {type(value).__name__.lower(): str(value)}
    functions.append(value)
    return {"function": len(functions) - 1}


def decode(value):
    if isinstance(value, list):
        return [decode(x) for x in value]
    if not isinstance(value, dict):
        return value
    (kind, inner), = value.items()
    if kind == "module":
        if inner.split(".")[0] not in sys.stdlib_module_names:
            raise SolutionError("the tests may use modules of Python only, not " + str(inner))
        __import__(inner)
        return sys.modules[inner]
    return {
        "handle": lambda: Remote(int(inner)),
        "tuple": lambda: tuple(decode(inner)), "set": lambda: set(decode(inner)),
        "frozenset": lambda: frozenset(decode(inner)),
        "dict": lambda: {decode(k): decode(v) for k, v in inner},
        "bytes": lambda: bytes.fromhex(inner), "bytearray": lambda: bytearray.fromhex(inner),
        "complex": lambda: complex(*inner), "range": lambda: range(*inner),
        "decimal": lambda: __import__("decimal").Decimal(inner),
        "fraction": lambda: __import__("fractions").Fraction(inner),
    }[kind]()


def receive():
    line = lines.readline(64 << 20)
    if not line.endswith(b"\n"):
        raise SolutionError("the program is gone")
    return json.loads(line)


def send(message):
    data = (json.dumps(message) + "\n").encode()
    while data:
        data = data[channel.write(data):]


def rethrow(answer):
    args = decode(answer.get("args") or [])
    for name in answer["raise"]:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            raise kind(*args)
    raise SolutionError(*args)


# Sends a request and returns the whole answer; serves the program's calls of our functions meanwhile.
def exchange(request):
    send(request)
    while True:
        answer = receive()
        if answer.get("op") != "callback":
            break
        try:
            value = functions[answer["f"]](*decode(answer["args"]), **decode(answer["kwargs"]))
            send({"value": encode(value)})
        except Exception:
            send({"raise": []})
    if "raise" in answer:
        rethrow(answer)
    return answer


def ask(request):
    return decode(exchange(request)["value"])


# A call; lists, dicts, sets and bytearrays that the program changed in place are changed here too.
def call(target, args, kwargs):
    answer = exchange({"op": "call", "of": encode(target), "args": encode(list(args)), "kwargs": encode(kwargs)})
    for ours, theirs in zip(args, answer.get("after") or []):
        if theirs is None:
            continue
        new = decode(theirs)
        if isinstance(ours, (list, bytearray)):
            ours[:] = new
        elif isinstance(ours, (dict, set)):
            ours.clear()
            ours.update(new)
    return decode(answer["value"])


class Space(dict):
    """The names of the tests: their own first, then the program's, then Python's."""

    def __init__(self, names):
        dict.__init__(self, __name__="tests", __builtins__=builtins)
        self._names = frozenset(names)

    def __missing__(self, name):
        if name not in self._names:
            raise KeyError(name)
        value = ask({"op": "get", "name": name})
        if isinstance(value, Remote):
            self[name] = value
        return value


def plain(value):
    """Tuples as lists, as JSON would have them."""
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, dict):
        return {k if isinstance(k, str) else json.dumps(k): plain(v) for k, v in value.items()}
    return value


def same(value, expected):
    if isinstance(value, float) or isinstance(expected, float):
        number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool)
        return number(value) and number(expected) and (value == expected or math.isclose(value, expected, rel_tol=1e-9))
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(expected, dict):
        return isinstance(value, dict) and value.keys() == expected.keys() and all(
            same(value[k], expected[k]) for k in expected)
    return type(value) is type(expected) and value == expected


def read_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


# Tests as a list of functions without arguments: each returns if it passes and raises if not.
def calls(space, name, pairs):
    wrapped = all(isinstance(out, list) and len(out) == 1 for _, out in pairs)

    def one(args, expected):
        def test():
            try:
                target = space[name]
            except KeyError:
                target = getattr(space["Solution"](), name)
            value = plain(target(*json.loads(json.dumps(args))))
            assert same(value, expected) or (wrapped and same(value, expected[0]))
        return test
    return [one(*pair) for pair in pairs]


def programs(space, texts):
    codes = [compile(text, "test", "exec") for text in texts]
    return [lambda code=code: exec(code, space) for code in codes]


def load(space, tests):
    if isinstance(tests, str):
        return programs(space, [tests])
    if isinstance(tests, list) and tests and all(isinstance(t, dict) for t in tests):
        lines_of = lambda t: [json.loads(x) for x in t.split("\n") if x.strip()] if isinstance(t, str) else t
        return calls(space, entry, [(lines_of(t["input"]), read_json(t["output"]) if isinstance(t["output"], str)
                                     else t["output"]) for t in tests])
    if isinstance(tests, list):
        return programs(space, tests)
    setup = tests.get("test_setup_code") or tests.get("setup") or ""
    exec(compile(setup, "setup", "exec"), space)
    if "inputs" in tests:
        read = lambda x: read_json(x) if isinstance(x, str) else x
        name = tests.get("fn_name") or entry
        return calls(space, name, [(read(i), read(o)) for i, o in zip(tests["inputs"], tests["outputs"])])
    for key in ("test_list", "assert_case", "tests"):
        if key in tests and isinstance(tests[key], list):
            return load(space, tests[key])
        if key in tests:
            return programs(space, [tests[key]])
    check = tests["test"]
    name = tests.get("entry_point") or entry
    if name and ("\n" + check).find("\ndef check(") >= 0:
        check += "\ncheck(%s)\n" % name
    return programs(space, [check])


def main():
    first = receive()
    if "unreadable" in first:
        return say("unreadable")
    if "raise" in first:
        return say("fails")
    space = Space(first["names"])
    try:
        tests = load(space, read_json(suite))
        say("tests %d" % len(tests))
    except Exception:
        return say("bad")
    for test in tests:
        try:
            test()
            say("ok")
        except (Exception, SystemExit):
            say("no")
    say("end")


main()
