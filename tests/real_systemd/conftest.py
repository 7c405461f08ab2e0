"""A machine with a real systemd for each Debian that TEST_SYSTEMD names (`make systemd`), and Orcha installed there.

`trixie` is a container, and `trixie-vm` a machine of qemu with a kernel of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from real_systemd.container import Container, cannot_be_made
from real_systemd.guest import Guest
from real_systemd.unit import MachineUnit
from real_systemd.virtual_machine import VirtualMachine, cannot_be_emulated

SUITES = os.environ.get("TEST_SYSTEMD", "").split()
ROOT = Path(__file__).resolve().parents[2]
ROOTS = Path("/var/tmp/orcha-systemd")  # it is kept: a root takes minutes
EMULATED = "-vm"
PREPARE = """
for name in alice bob; do useradd --create-home --shell /bin/bash $name; done
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
mkdir -p /var/log/journal
cd /etc/systemd/system
for unit in console-getty.service getty.target systemd-timesyncd.service systemd-networkd.service \
    systemd-resolved.service apt-daily.timer apt-daily-upgrade.timer systemd-firstboot.service; do
    ln -sf /dev/null $unit
done
printf '#!/bin/sh\\nexec /usr/bin/python3 -P -m orcha "$@"\\n' >/usr/local/bin/orcha
chmod 755 /usr/local/bin/orcha
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a machine time to be made and booted."""
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:  # of all folders: to compare paths as such takes each process of a run 0.2 s
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    subprocess.run((sys.executable, "-m", "pip", "wheel", *options, ROOT), check=True)
    (path,) = folder.glob("*.whl")
    return path


NOT_ASKED_FOR = pytest.param("", marks=pytest.mark.skip(reason="TEST_SYSTEMD names no Debian: see make systemd"))


@pytest.fixture(scope="session", params=SUITES or [NOT_ASKED_FOR])
def machine(request: pytest.FixtureRequest, wheel: Path) -> Iterator[Guest]:
    """Give a machine that has been booted, with Orcha, and the users alice and bob."""
    suite, is_emulated = request.param.removesuffix(EMULATED), request.param.endswith(EMULATED)
    if (reason := cannot_be_emulated() if is_emulated else cannot_be_made()) is not None:
        pytest.skip(reason)
    root = ROOTS / request.param
    kernel = ["--kernel"] if is_emulated else []
    subprocess.run((sys.executable, ROOT / "scripts" / "systemd-root", suite, root, *kernel), check=True)
    folder = Path(tempfile.mkdtemp(prefix=f"orcha-{request.param}-", dir=ROOTS))
    made: Guest
    if is_emulated:
        subprocess.run(("cp", "--archive", "--reflink=auto", root, folder / "root"), check=True)
        made, over = VirtualMachine(folder / "root", folder), folder / "root"
    else:
        made, over = Container([folder / "orcha", root], folder), folder / "orcha"
    (python,) = (path.name for path in (root / "usr" / "lib").glob("python3.?*"))
    modules = over / "usr" / "local" / "lib" / python / "dist-packages"
    fitting = ("--python-version", python.removeprefix("python"), "--only-binary=:all:", "--no-compile")
    install = (sys.executable, "-m", "pip", "install", "--quiet", *fitting, "--target", modules, wheel)
    subprocess.run(install, check=True)
    try:
        made.prepare(PREPARE)
        made.boot()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


@pytest.fixture
def unit(machine: Guest) -> Iterator[MachineUnit]:
    """Give the unit of the machine's service, installed and not started."""
    made = MachineUnit(machine)
    made.install()
    yield made
    made.remove()
