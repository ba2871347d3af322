from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, sys
from receiver.simulate import CallError
from receiver.simulate.descriptors import allow
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
allow(30)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
allow(130)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
try:
    allow(1000)
except CallError as error:
    print(error)
"""


def test_the_limit_is_raised_as_far_as_it_goes_and_what_is_missing_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.splitlines() == [
        "100",
        "200",
        "1000 connections and files need 1064 open files, and this process may have 200 (ulimit -Hn): "
        "make fewer copies, or raise the limit",
    ]
