"""Stands where an agent CLI stands: notes how it was called, prints what it is told to, then ends or misbehaves.

FAKE_PLAY is a JSON file: `stdout` and `stderr` (lists of lines), `then` (`exit CODE`, `hang`, `signal N`, `child`), `saw` (where to note).
"""

import json
import os
import signal
import sys
import time

with open(os.environ["FAKE_PLAY"], encoding="utf-8") as stream:
    play = json.load(stream)
with open(play["saw"], "w", encoding="utf-8") as stream:
    json.dump({"argv": sys.argv, "stdin": sys.stdin.read(), "environment": dict(os.environ)}, stream)
for name, target in (("stderr", sys.stderr), ("stdout", sys.stdout)):
    for line in play[name]:
        target.write(line.replace("HUGE", "x" * 8_000_000) + "\n")
    target.flush()
what, _, number = play["then"].partition(" ")
if what == "hang":
    time.sleep(300)
if what == "signal":
    os.kill(os.getpid(), int(number))
if what == "child":
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(300)
    number = "0"
sys.exit(int(number))
