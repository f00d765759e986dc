"""Run one `launcher` command in this process, and print its seconds and its peak memory."""

from __future__ import annotations

import json
import resource
import sys
import time

from launcher.cli import main

if __name__ == "__main__":
    began = time.perf_counter()
    try:
        main(sys.argv[1:])
    except SystemExit as ended:
        if ended.code:
            raise
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": megabytes}))
