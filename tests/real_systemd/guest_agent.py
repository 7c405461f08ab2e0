"""Runs in a machine of qemu, and does what the machine around it asks: a line of JSON for each program, and its answer.

It stands alone, and knows nothing of Orcha.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any

PORT = "/dev/virtio-ports/orcha"
"""A serial port whose other end is a socket of the machine around: virtio_console of Linux."""
_sending = threading.Lock()


def answer(port: int, asked: dict[str, Any]) -> None:
    """Run a program as root to its end, and write its code and what it wrote."""
    done = subprocess.run(
        asked["words"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=asked["environment"],
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    data = json.dumps({"id": asked["id"], "code": done.returncode, "output": text}).encode() + b"\n"
    with _sending:
        while data:
            data = data[os.write(port, data) :]


def main() -> None:
    """Take orders until the machine is off."""
    port = os.open(PORT, os.O_RDWR | os.O_CLOEXEC)
    with open(port, "rb", closefd=False) as orders:
        for line in orders:
            threading.Thread(target=answer, args=(port, json.loads(line)), daemon=True).start()
    sys.exit("the machine around is gone")  # systemd starts this again


if __name__ == "__main__":
    main()
