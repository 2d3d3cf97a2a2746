/* Programs that try to get out of the sandbox or to harm the machine, and what must come of each.
 * Included by test_sandbox.c alone. */
#ifndef TESTS_SANDBOX_CASES_H
#define TESTS_SANDBOX_CASES_H

#include "rewards/sandbox/sandbox.h"

/* Calls of the kernel by number, as ctypes reaches them without any library's help. */
#define CALLS                                                                                      \
    "import ctypes, os, sys\n"                                                                     \
    "libc = ctypes.CDLL(None, use_errno=True)\n"                                                   \
    "def call(*a):\n"                                                                              \
    "    ctypes.set_errno(0)\n"                                                                    \
    "    r = libc.syscall(*[ctypes.c_long(x) for x in a])\n"                                       \
    "    return 'refused' if r < 0 and ctypes.get_errno() == 38 else 'DONE %d %d' % (r, "          \
    "ctypes.get_errno())\n"

static const struct escape {
    const char *name, *program;
    enum sandbox_end end;
    const char *out; /* what it prints, all of it; NULL: anything */
} escapes[] = {
    /* harmless ones: the sandbox does not break what is allowed */
    {"hello", "print('hello')", SANDBOX_END_EXITED, "hello\n"},
    {"input", "print(sum(map(int, input().split())))", SANDBOX_END_EXITED, "42\n"},
    {"its folder", "open('a', 'w').write('x'); print(open('/tmp/a').read())", SANDBOX_END_EXITED,
     "x\n"},
    {"threads and children",
     "import threading, subprocess\n"
     "t = [threading.Thread(target=lambda: None) for _ in range(8)]\n"
     "[x.start() for x in t]; [x.join() for x in t]\n"
     "print(subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout)",
     SANDBOX_END_EXITED, "b'child\\n'\n"},
    /* processes */
    {"fork bomb, counted",
     "import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(60)\n    n += "
     "1\n"
     "except OSError as e:\n  print(n <= 32, n >= 16, e.errno)",
     SANDBOX_END_EXITED, "True True 11\n"},
    {"fork bomb, real", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
     SANDBOX_END_TIME, ""},
    {"double fork",
     "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    "
     "time.sleep(60)\n"
     "  os._exit(0)\nprint('left')",
     SANDBOX_END_EXITED, "left\n"},
    {"threads without end",
     "import threading, time\nn = 0\ntry:\n  while True:\n    "
     "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    n += 1\n"
     "except RuntimeError:\n  print(n <= 32)\nimport os; os._exit(0)",
     SANDBOX_END_EXITED, NULL},
    {"signals to everybody",
     "import os, signal\n"
     "for pid in (1, os.getppid(), 0x7fffffff):\n  for s in (9, 19, 15):\n"
     "    try: os.kill(pid, s)\n    except OSError: pass\n"
     "try: os.kill(-1, 9)\nexcept OSError: pass\nprint('alive')",
     SANDBOX_END_EXITED, "alive\n"},
    {"stops itself", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", SANDBOX_END_WALL,
     ""},
    /* time */
    {"spin", "while True: pass", SANDBOX_END_TIME, ""},
    {"spin, deaf to signals",
     "import signal\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n"
     "  except (OSError, ValueError): pass\nwhile True: pass",
     SANDBOX_END_TIME, ""},
    {"spin in children", "import os\nfor i in range(4): os.fork()\nwhile True: pass",
     SANDBOX_END_TIME, ""},
    {"sleep", "import time; time.sleep(60)", SANDBOX_END_WALL, ""},
    {"closes everything and sleeps", "import os, time; os.closerange(0, 64); time.sleep(60)",
     SANDBOX_END_WALL, ""},
    /* memory */
    {"memory at once", "try: bytearray(4 << 30)\nexcept MemoryError: print('no')",
     SANDBOX_END_EXITED, "no\n"},
    {"memory in pieces",
     "x = []\ntry:\n  while True: x.append(bytearray(1 << 20))\n"
     "except MemoryError:\n  del x; print('no')",
     SANDBOX_END_EXITED, "no\n"},
    {"memory in many processes",
     "import os, time\nfor i in range(4): os.fork()\nx = bytearray(60 << 20)\ntime.sleep(60)",
     SANDBOX_END_MEMORY, ""},
    {"memory that is shared counts once",
     "import os, time\nx = bytearray(60 << 20)\nfor i in range(3): os.fork()\ntime.sleep(0.3)\n"
     "print('ok') if os.getpid() == 2 else 0",
     SANDBOX_END_EXITED, "ok\n"},
    /* disk */
    {"disk, one file",
     "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\ntry:\n  f = open('x', 'wb')\n"
     "  while True: f.write(bytes(1 << 20))\nexcept OSError as e: print(e.errno in (27, 28))",
     SANDBOX_END_EXITED, "True\n"},
    {"disk, many files",
     "i = 0\ntry:\n  while True:\n    i += 1\n    open('x%d' % i, 'wb').write(bytes(1 << 20))\n"
     "except OSError as e: print(e.errno, i < 80)",
     SANDBOX_END_EXITED, "28 True\n"},
    {"disk, empty files",
     "i = 0\nwhile True:\n  i += 1\n  open('x%d' % i, 'w').close()\n  if i > 8192: "
     "import time; time.sleep(1)",
     SANDBOX_END_DISK, ""},
    {"writes elsewhere",
     "n = 0\nfor p in ('/x', '/dev/x', '/dev/shm/x', '/usr/x', '/usr/bin/x', '/proc/x', "
     "'/proc/sys/kernel/hostname', '/proc/sysrq-trigger'):\n"
     "  try: open(p, 'w').write('1'); print(p)\n  except OSError: n += 1\nprint(n)",
     SANDBOX_END_EXITED, "8\n"},
    /* output */
    {"output without end", "while True: print('x' * 1000)", SANDBOX_END_OUTPUT, NULL},
    {"errors without end", "import sys\nwhile True: sys.stderr.write('x' * 1000)",
     SANDBOX_END_OUTPUT, ""},
    {"invalid UTF-8", "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\x80a')",
     SANDBOX_END_EXITED,
     "\xff\xfe\x80"
     "a"},
    {"exit code 0 at once", "import os; os._exit(0)", SANDBOX_END_EXITED, ""},
    /* network */
    {"network",
     "import socket\nn = 0\n"
     "for f in (socket.AF_INET, socket.AF_INET6, 16, 17, 40):\n  for t in (1, 2, 3):\n"
     "    try: socket.socket(f, t); print('open', f)\n    except OSError: n += 1\nprint(n)",
     SANDBOX_END_EXITED, "15\n"},
    {"interfaces",
     "print(sorted(x.split(':')[0].strip() for x in open('/proc/net/dev') if ':' in x))",
     SANDBOX_END_EXITED, "['lo']\n"},
    /* the kernel */
    {"ptrace", CALLS "print(call(101, 16, 1, 0, 0), call(101, 0, 0, 0, 0))", SANDBOX_END_EXITED,
     "refused refused\n"},
    {"other processes' memory",
     CALLS "print(call(310, 1, 0, 0, 0, 0, 0), call(311, 1, 0, 0, 0, 0, 0))", SANDBOX_END_EXITED,
     "refused refused\n"},
    {"memory of process 1",
     "for p in ('/proc/1/mem', '/proc/1/maps', '/proc/1/environ'):\n"
     "  try: f = open(p, 'r+b'); f.write(b'x'); f.flush(); print('wrote', p)\n"
     "  except OSError: print('no')",
     SANDBOX_END_EXITED, "no\nno\nno\n"},
    {"namespaces",
     CALLS "print(call(272, 0x10000000), call(272, 0x20000), call(308, 0, 0), "
           "call(56, 0x10000000 | 17, 0, 0, 0, 0), call(435, 0, 0))",
     SANDBOX_END_EXITED, "refused refused refused refused refused\n"},
    {"mounts and roots",
     CALLS "print(call(165, 0, 0, 0, 0, 0), call(166, 0, 0), call(155, 0, 0), call(161, 0), "
           "call(428, 0, 0, 0), call(429, 0, 0, 0, 0, 0), call(430, 0, 0))",
     SANDBOX_END_EXITED, "refused refused refused refused refused refused refused\n"},
    {"large doors of the kernel",
     CALLS "print(call(250, 0, 0, 0, 0, 0), call(248, 0, 0, 0, 0, 0), call(321, 0, 0, 0), "
           "call(298, 0, 0, 0, 0, 0), call(425, 1, 0), call(323, 0), call(175, 0, 0, 0), "
           "call(246, 0, 0, 0, 0), call(304, 0, 0, 0), call(135, 0x0040000))",
     SANDBOX_END_EXITED,
     "refused refused refused refused refused refused refused refused refused refused\n"},
    {"memory that no limit counts",
     CALLS "print(call(319, 0, 0), call(29, 0, 1 << 30, 0o1600), call(68, 0, 0o1600), "
           "call(240, 0, 0, 0, 0), call(278, 0, 0, 0, 0))",
     SANDBOX_END_EXITED, "refused refused refused refused refused\n"},
    {"typing into a terminal", CALLS "print(call(16, 0, 0x5412, 0), call(16, 0, 0x1541c, 0))",
     SANDBOX_END_EXITED, "refused refused\n"},
    {"privileges",
     "s = open('/proc/self/status').read() + open('/proc/1/status').read()\n"
     "print(s.count('CapEff:\\t0000000000000000'), s.count('CapBnd:\\t0000000000000000'), "
     "s.count('NoNewPrivs:\\t1'), s.count('Seccomp:\\t2'))",
     SANDBOX_END_EXITED, "2 2 2 2\n"},
    {"becomes root",
     "import os\nfor f in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: "
     "os.setgid(0), "
     "lambda: os.setgroups([0])):\n  try: f(); print('DONE')\n  except OSError: print('no')",
     SANDBOX_END_EXITED, "no\nno\nno\nno\n"},
    /* what there is to read */
    {"processes", "import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))",
     SANDBOX_END_EXITED, "[1, 2]\n"},
    {"descriptors", "import os; print(len(os.listdir('/proc/self/fd')))", SANDBOX_END_EXITED,
     "4\n"},
    {"environment",
     "import os\nall = b''\nfor p in ('1', '2', 'self'):\n  try: all += open('/proc/%s/environ' % "
     "p, "
     "'rb').read()\n  except OSError: pass\nprint(b'CARNOT' in all, sorted(os.environ) == "
     "['HOME', 'LANG', 'PATH', 'PWD', 'PYTHONDONTWRITEBYTECODE', 'PYTHONHASHSEED', 'TMPDIR'])",
     SANDBOX_END_EXITED, "False True\n"},
    {"command lines",
     "print(open('/proc/1/cmdline', 'rb').read().split(b'\\0')[0], open('/proc/1/cmdline', "
     "'rb').read().count(b'carnot'))",
     SANDBOX_END_EXITED, "b'bwrap' 0\n"},
    {"files of the host",
     "import os\nprint([p for p in ('/etc', '/home', '/root', '/var', '/work', '/sys', '/run', "
     "'/boot', "
     "'/mnt') if os.path.exists(p)], os.listdir('/tmp'))",
     SANDBOX_END_EXITED, "[] ['main.py']\n"},
    {"links out of the folder",
     "import os\nfor i, p in enumerate(('/etc/passwd', '/proc/1/root/etc/passwd', "
     "'/proc/self/root/../../etc/passwd', '/proc/1/cwd/../etc/passwd', "
     "'/proc/2/root/../etc/passwd')):\n"
     "  os.symlink(p, 'l%d' % i)\n"
     "  try: open('l%d' % i).read(); print('READ', p)\n  except OSError: pass\n"
     "os.remove('main.py'); os.symlink('/etc/shadow', 'main.py'); print('done')",
     SANDBOX_END_EXITED, "done\n"},
    {"its folder becomes a link",
     "import os\nfor f in (lambda: os.rename('/tmp', '/tmp2'), lambda: os.rmdir('/tmp'), "
     "lambda: os.symlink('/etc', '/tmp'), lambda: os.mkdir('/new')):\n"
     "  try: f(); print('DONE')\n  except OSError: print('no')",
     SANDBOX_END_EXITED, "no\nno\nno\nno\n"},
    {"devices", "import os; print(sorted(os.listdir('/dev')))", SANDBOX_END_EXITED,
     "['core', 'fd', 'full', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', "
     "'tty', 'urandom', 'zero']\n"},
};

#endif
