"""The Linux kernel's aoe driver works on a target: a file system mounted over AoE, written, read back, and
then judged on the host by e2fsprogs, which never heard of the network.

vblade stands beside aoe-target to show that what fails here is the target's and not the guest's.
"""

import hashlib
import json
import subprocess
import sys

import pytest

import guest
import guest_initiator
from programs import AoeTarget, Program, run

FILE_KIB = 96
IMAGE_MIB = 8

pytestmark = pytest.mark.timeout(guest.BOOT_SECONDS + 40)


@pytest.fixture
def cache(guest_cache):
    if not (guest_cache / "modules" / "order").exists():
        pytest.skip(f"no guest kernel in {guest_cache}: run pytests/guest/fetch {guest_cache}")
    return guest_cache


@pytest.fixture
def tap(mtu, namespace):
    made = guest.Tap(mtu)
    yield made
    made.close()


def make_disk(folder):
    """An ext4 image with one file in it: (image, that file's checksum)."""
    content = b"written on the host, read over AoE\n" * 999
    (folder / "tree").mkdir()
    (folder / "tree" / "from-host").write_bytes(content)
    image = folder / "disk.ext4"
    image.write_bytes(bytes(IMAGE_MIB << 20))
    command = ["mke2fs", "-q", "-t", "ext4", "-b", 1024, "-O", "^has_journal", "-d", folder / "tree", image]
    done = run(command)
    assert done.returncode == 0, done.stderr
    return image, hashlib.sha256(content).hexdigest()


def judge(image, given, seen):
    """What the guest saw, against what is on the disk now."""
    assert "failed" not in seen and seen.get("all") == "well", seen
    assert int(seen["sectors"]) == IMAGE_MIB << 11
    assert seen["state"] == "up"
    assert seen["found"] == given
    assert seen["reread"] == seen["wrote"]
    check = run(["e2fsck", "-f", "-n", image])
    assert check.returncode == 0, check.stdout
    written = subprocess.run(
        ["debugfs", "-R", "cat /from-guest", str(image)], capture_output=True, timeout=30, check=True
    ).stdout
    assert len(written) == FILE_KIB << 10
    assert hashlib.sha256(written).hexdigest() == seen["wrote"]
    assert "from-host" not in run(["debugfs", "-R", "ls /", image]).stdout


def work(cache, folder, tap):
    with guest.linux(cache, folder, tap, kib=FILE_KIB) as machine:
        machine.wait(guest.BOOT_SECONDS)
        seen = guest.results(machine.console())
        assert seen.get("all") == "well", machine.console()
        return seen


@pytest.mark.parametrize("mtu", [1500, 9000], indirect=True)
def test_linux_works_on_aoe_target(cache, tmp_path, tap, aoe_target):
    image, given = make_disk(tmp_path)
    options = ["--interface", tap.name, "--shelf", 1, "--slot", 1, image]
    with AoeTarget(aoe_target, *options) as target:
        seen = work(cache, tmp_path, tap)
        assert target.alive
        assert target.end() == 0, target.said()
    # As many sectors as fit the MTU, and the driver makes use of them.
    assert int(seen["payload"]) >= (tap.mtu - 22) // 512 * 512
    judge(image, given, seen)


def test_linux_works_on_vblade(cache, tmp_path, tap):
    image, given = make_disk(tmp_path)
    # On a tap nobody but the guest can ask whether it is there; the guest asks until it is.
    with Program(["vblade", 1, 1, tap.name, image]) as target:
        seen = work(cache, tmp_path, tap)
        assert target.alive, target.said()
    judge(image, given, seen)


@pytest.mark.timeout(300)
def test_linux_is_judged_as_an_initiator(cache, tmp_path, tap, aoe_conformance):
    """A misbehaviour that it takes, and a write that fails, of which it has to tell who asked."""
    report = tmp_path / "report.json"
    command = f"{sys.executable} {guest_initiator.__file__} {cache} {{iface}} {tap.mtu} {{shelf}} {{slot}} {{lba}} {{sectors}} {{in}} {{out}}"
    done = run(
        [aoe_conformance, "initiator", "-i", tap.name, "--initiator-interface", tap.name, "--seconds", 120, "--case", "reply.doubled"]
        + ["--case", "error.write-fails", "--quiet", "--report-json", report, "--initiator-command", command],
        seconds=280,
    )
    cases = {case["id"]: (case["verdict"], case["reason"]) for case in json.loads(report.read_text())["cases"]}
    assert done.returncode == 0 and set(cases) == {"reply.doubled", "error.write-fails", "requests.well-formed"}, cases
    assert {verdict for verdict, _ in cases.values()} == {"pass"}, cases
