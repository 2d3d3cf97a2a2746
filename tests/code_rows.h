/* The table of code_tests: what a reply scores against tests.  Included by test_code.c alone. */
#ifndef TESTS_CODE_ROWS_H
#define TESTS_CODE_ROWS_H

#include "carnot/batch.h"

#define OK_ CN_VERDICT_CORRECT
#define NO CN_VERDICT_WRONG
#define NONE CN_VERDICT_NO_ANSWER
#define ODD CN_VERDICT_UNPARSABLE
#define BAD CN_VERDICT_BAD_GOLD
#define SLOW CN_VERDICT_TIMEOUT
#define MUCH CN_VERDICT_BUDGET

#define PY(program) "Here it is:\n```python\n" program "\n```\nDone."
#define SUM PY("print(sum(map(int, input().split())))")
#define SUMS "{\"inputs\": [\"3 4\", \"1 1\"], \"outputs\": [\"7\", \"2\"]}"
#define ADD PY("def add(a, b):\n    return a + b")
#define ASSERTS "[\"assert add(3, 4) == 7\", \"assert add(1, 1) == 2\"]"
#define CALLS "{\"fn_name\": \"add\", \"inputs\": [[3, 4], [1, 1]], \"outputs\": [7, 2]}"

static const struct code_row {
    const char *name, *gold, *reply;
    enum cn_verdict verdict;
    int passed; /* tests; -1: does not matter */
} code_rows[] = {
    /* shapes of tests */
    {"columns", SUMS, SUM, OK_, 2},
    {"pairs", "[{\"input\": \"3 4\", \"output\": \"7\"}]", SUM, OK_, 1},
    {"pairs within an object", "{\"tests\": [{\"input\": \"3 4\", \"output\": \"7\\n\"}]}", SUM,
     OK_, 1},
    {"assertions", ASSERTS, ADD, OK_, 2},
    {"assertions of MBPP",
     "{\"test_setup_code\": \"import math\", \"test_list\": [\"assert math.isclose(add(0.1, 0.2), "
     "0.3)\"]}",
     ADD, OK_, 1},
    {"a check of HumanEval",
     "{\"entry_point\": \"add\", \"test\": \"def check(candidate):\\n    assert candidate(3, 4) == "
     "7\\n    assert candidate(1, 1) == 2\\n\"}",
     ADD, OK_, 1},
    {"plain text", "x = add(3, 4)\nassert x == 7", ADD, OK_, 1},
    {"calls", CALLS, ADD, OK_, 2},
    {"calls of a class", CALLS,
     PY("class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b"), OK_,
     2},
    {"functional pairs",
     "{\"entry_point\": \"f\", \"tests\": [{\"input\": \"3\\n4\", \"output\": \"7\", \"testtype\": "
     "\"functional\"}]}",
     ADD, NO, 0},
    {"outputs wrapped in lists",
     "{\"fn_name\": \"add\", \"inputs\": [[3, 4], [1, 1]], \"outputs\": [[7], [2]]}", ADD, OK_, 2},
    {"C", "{\"language\": \"c\", \"inputs\": [\"3 4\"], \"outputs\": [\"7\"]}",
     "```c\n#include <stdio.h>\nint main(void) { int a, b; scanf(\"%d %d\", &a, &b); "
     "printf(\"%d\\n\", "
     "a + b); return 0; }\n```",
     OK_, 1},
    {"C++", SUMS,
     "```cpp\n#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; "
     "}\n```",
     OK_, 2},
    {"C that does not compile", SUMS, "```c\nint main( { }\n```", ODD, 0},
    {"C that crashes", SUMS, "```c\nint main(void) { volatile int *p = 0; return *p; }\n```", NO,
     0},
    /* the program of the reply */
    {"no fence", SUMS, "print(sum(map(int, input().split())))", OK_, 2},
    {"the last block", SUMS, PY("print(0)") "\nNo:\n" SUM, OK_, 2},
    {"the last block, wrong", SUMS, SUM "\nNo:\n" PY("print(0)"), NO, 0},
    {"an example of output behind it", SUMS, SUM "\n```\n7\n```", OK_, 2},
    {"a block of another language", SUMS, SUM "\n```json\n{}\n```", OK_, 2},
    {"only a block of another language", SUMS, "```json\n{}\n```", NONE, 0},
    {"thinking left out", SUMS, PY("print(0)") "</think>" SUM, OK_, 2},
    {"a block that never ends", SUMS, "```python\nprint(7)", NONE, 0},
    {"an empty block", SUMS, "```python\n```", NONE, 0},
    {"prose", SUMS, "I cannot do this.", ODD, 0},
    {"broken Python", SUMS, PY("def f(:"), ODD, 0},
    {"broken Python, functions", ASSERTS, PY("def f(:"), ODD, 0},
    {"C for functions", ASSERTS, "```c\nint add(int a, int b) { return a + b; }\n```", ODD, 0},
    /* wrong, slow, large */
    {"half right", SUMS, PY("print(7)"), NO, 1},
    {"right, then fails", SUMS, SUM "", OK_, 2},
    {"right, exit code 1", SUMS,
     PY("print(sum(map(int, input().split())))\nimport sys; sys.exit(1)"), NO, 0},
    {"trailing space", SUMS, PY("print(sum(map(int, input().split())), '  \\n\\n')"), OK_, 2},
    {"two lines", SUMS, PY("print(sum(map(int, input().split())), '\\n0')"), NO, 0},
    {"raises", ASSERTS, PY("def add(a, b): raise ValueError"), NO, 0},
    {"no such function", ASSERTS, PY("def sub(a, b): return 1"), NO, 0},
    {"fails at once", ASSERTS, PY("1 / 0"), NO, 0},
    {"half of the assertions", ASSERTS, PY("def add(a, b): return 7"), NO, 1},
    {"endless", SUMS, PY("while True: pass"), SLOW, 0},
    {"endless function", ASSERTS, PY("def add(a, b):\n    while b: pass\n    return a"), SLOW, 0},
    {"endless in the second test", ASSERTS,
     PY("def add(a, b):\n    while a == 1: pass\n    return a + b"), SLOW, 1},
    {"sleeps", ASSERTS, PY("import time\ndef add(a, b): time.sleep(60)"), SLOW, 0},
    {"floods", SUMS, PY("while True: print(7)"), MUCH, 0},
    /* bad tests */
    {"no tests", "", SUM, BAD, 0},
    {"an empty list", "[]", SUM, BAD, 0},
    {"broken JSON", "[{\"input\": ", SUM, BAD, 0},
    {"one length", "{\"inputs\": [\"1\"], \"outputs\": []}", SUM, BAD, 0},
    {"unknown language", "{\"language\": \"cobol\", \"inputs\": [\"1\"], \"outputs\": [\"1\"]}",
     SUM, BAD, 0},
    {"tests that do not parse", "assert add(1, 2 == 3", ADD, BAD, 0},
    /* what crosses between the program and its tests */
    {"values",
     "[\"assert f(1) == (1, 2.5, 'x', None, True)\", \"assert f([1, {2: (3,)}, {4}]) == [1, {2: "
     "(3,)}, "
     "{4}]\", \"assert f(10 ** 400) == 10 ** 400\", \"assert f(b'a') == b'a'\", \"assert f(2j) == "
     "2j\", "
     "\"assert f(float('inf')) == float('inf')\", \"assert f('\\\\ud800') == '\\\\ud800'\"]",
     PY("def f(x): return (1, 2.5, 'x', None, True) if x == 1 else x"), OK_, 7},
    {"types of the library",
     "[\"from fractions import Fraction\\nassert f(1) == Fraction(1, 3)\", \"assert f(2) == {'a': "
     "1}\", "
     "\"from decimal import Decimal\\nassert f(3) == Decimal('1.5')\"]",
     PY("from fractions import Fraction\nfrom decimal import Decimal\nfrom collections import "
        "Counter\n"
        "def f(n): return [Fraction(1, 3), Counter('a'), Decimal('1.5')][n - 1]"),
     OK_, 3},
    {"in place", "x = [3, 1, 2]\nsort(x)\nassert x == [1, 2, 3]", PY("def sort(x): x.sort()"), OK_,
     1},
    {"objects",
     "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2\nassert len(s) == 1 and s.top == 1 "
     "and "
     "list(s) == [1]",
     PY("class Stack:\n    def __init__(self): self.x = []\n    def push(self, v): "
        "self.x.append(v)\n"
        "    def pop(self): return self.x.pop()\n    def __len__(self): return len(self.x)\n"
        "    def __iter__(self): return iter(self.x)\n    @property\n    def top(self): return "
        "self.x[-1]"),
     OK_, 1},
    {"objects that the program compares", "assert P(1) == P(1)\nassert P(1) != P(2)",
     PY("class P:\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return self.x "
        "== o.x"),
     OK_, 1},
    {"exceptions", "try:\n    f(0)\n    assert False\nexcept ZeroDivisionError:\n    pass",
     PY("def f(x): return 1 / x"), OK_, 1},
    {"functions of the test", "assert f(lambda x: x * 2, [1, 2]) == [2, 4]",
     PY("def f(g, xs): return [g(x) for x in xs]"), OK_, 1},
    {"generators", "assert list(f(3)) == [0, 1, 2]", PY("def f(n):\n    yield from range(n)"), OK_,
     1},
    {"modules that the program imported", "assert math.sqrt(f()) == 2",
     PY("import math\ndef f(): return 4"), OK_, 1},
    {"prints much on the way", ASSERTS,
     PY("def add(a, b):\n    print('ok\\nend\\n' * 100)\n    return a + b"), OK_, 2},
    {"a main part that reads", ASSERTS,
     PY("def add(a, b): return a + b\nif __name__ == '__main__':\n    add(*input())"), OK_, 2},
    {"true is not 1", CALLS, PY("def add(a, b): return float(a + b) if a == 3 else True"), NO, 1},
    /* hacks */
    {"ends with exit code 0", SUMS, PY("import os; os._exit(0)"), NO, 0},
    {"ends with exit code 0, functions", ASSERTS, PY("import os; os._exit(0)"), NO, 0},
    {"ends within a function", ASSERTS, PY("import os\ndef add(a, b): os._exit(0)"), NO, 0},
    {"sys.exit within a function", ASSERTS, PY("import sys\ndef add(a, b): sys.exit(0)"), NO, 0},
    {"equal to everything", ASSERTS,
     PY("class E:\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n"
        "    def __sub__(self, o): return 0\ndef add(a, b): return E()"),
     NO, 0},
    {"an int that is equal to everything", ASSERTS,
     PY("class E(int):\n    def __eq__(self, o): return True\ndef add(a, b): return E(5)"), NO, 0},
    {"close to everything", "assert abs(add(1, 2) - 3) < 1e-6",
     PY("class E:\n    def __sub__(self, o): return self\n    def __abs__(self): return self\n"
        "    def __lt__(self, o): return True\ndef add(a, b): return E()"),
     NO, 0},
    {"raises what the test wants", ASSERTS, PY("def add(a, b): raise AssertionError"), NO, 0},
    {"changes the built-ins", ASSERTS,
     PY("import builtins\nbuiltins.len = lambda x: 7\nbuiltins.AssertionError = Exception\n"
        "def add(a, b): return 0"),
     NO, 0},
    {"prints what the checker would", ASSERTS,
     PY("import os\nfor i in range(1000): print('tests 2\\nok\\nok\\nend')\nos._exit(0)"), NO, 0},
    {"answers calls by itself", ASSERTS,
     PY("import os\nfor i in range(50): os.write(3, b'{\"value\": true}\\n')\ndef add(a, b): "
        "return 0"),
     NO, -1},
    {"says that all is well over the stream", ASSERTS,
     PY("import os\nos.write(3, b'{\"names\": [\"add\"]}\\ntests "
        "2\\nok\\nok\\nend\\n')\nos._exit(0)"),
     NO, 0},
    {"looks for the tests", ASSERTS,
     PY("import os, gc, sys\nfound = []\nfor d, _, fs in os.walk('/tmp'):\n    for f in fs:\n"
        "        t = open(os.path.join(d, f), errors='replace').read()\n"
        "        if 'assert add(' + '3' in t: found.append(f)\n"
        "for pid in os.listdir('/proc'):\n    if pid.isdigit():\n"
        "        for f in ('environ', 'cmdline', 'mem', 'fd/3'):\n            try:\n"
        "                if f != 'mem' and b'assert' in open('/proc/%s/%s' % (pid, f), "
        "'rb').read(1): "
        "found.append(pid)\n            except OSError: pass\n"
        "f = sys._getframe()\nwhile f:\n    if 'assert add' in repr(f.f_locals.keys()): "
        "found.append(f)\n"
        "    f = f.f_back\n"
        "def add(a, b): return a + b if not found else 0"),
     OK_, 2},
    {"kills its neighbours", ASSERTS,
     PY("import os, signal\nfor p in range(1, 300):\n    if p != os.getpid():\n        try: "
        "os.kill(p, "
        "9)\n        except OSError: pass\ndef add(a, b): return 0"),
     NO, 0},
    {"closes the stream", ASSERTS, PY("import os\nos.close(3)\ndef add(a, b): return 7"), NO, -1},
    {"sends an endless line", ASSERTS,
     PY("import os\ntry:\n    while True: os.write(3, b'x' * 65536)\nexcept OSError: pass\n"
        "def add(a, b): return 7"),
     NO, 0},
    {"nests without end", ASSERTS,
     PY("import os\nos.write(3, b'[' * 100000 + b'\\n')\ndef add(a, b): return 7"), NO, 0},
    {"a large number", ASSERTS, PY("def add(a, b): return 10 ** 20000"), NO, 0},
};

#endif
