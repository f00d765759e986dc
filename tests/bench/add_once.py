"""Run one `launcher` command in this process, and print its seconds and its peak memory."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from launcher.cli import main

if __name__ == "__main__":
    began = time.perf_counter()
    try:
        main(sys.argv[1:])
    except SystemExit as ended:
        if ended.code:
            raise
    # not by getrusage, whose peak a process inherits from the one that started it
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    megabytes = int(peak) / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": megabytes}))
