"""Nobody takes another's service: what one disk, one reader of the log, one host that cannot be answered, takes from the
others. Each test here has a real disk that hangs, a real pipe that nobody reads, a real link with a smaller MTU."""

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

import aoe_layers as aoe
import net
from aoe_layers import AoeConfig
from programs import AoeTarget, Program, run, wait_until
from test_target_process import ask_control, find

# Another's request is answered within this, on a machine that is busy with other things.
SERVICE_SECONDS = 2.0
# How long a disk's own threads make its writes after one has lasted (target/linux/handover.cc), and some more.
LEFT_TO_THREADS_SECONDS = 0.3


class HangingDisk:
    """A file whose server can be stopped: nbdfuse over nbdkit. While it hangs, the kernel holds every operation."""

    def __init__(self, folder, size="1M"):
        self.folder = pathlib.Path(folder)
        self.mount = self.folder / "mount"
        self.mount.mkdir()
        socket = self.folder / "nbd.sock"
        self.server = Program(["nbdkit", "-f", "-U", socket, "memory", size])
        wait_until(socket.exists, what="nbdkit listens")
        self.fuse = Program(["nbdfuse", self.mount / "nbd", f"nbd+unix:///?socket={socket}"])
        self.image = self.mount / "nbd"
        wait_until(self.image.exists, what="nbdfuse has mounted")

    def hang(self):
        self.server.kill(signal.SIGSTOP)

    def go_on(self):
        self.server.kill(signal.SIGCONT)

    def close(self):
        self.go_on()
        subprocess.run(["umount", "-l", self.mount], check=False, timeout=20, capture_output=True)
        self.fuse.end()
        self.server.end()
        self.fuse.close()
        self.server.close()


@pytest.fixture
def disk(tmp_path, namespace):
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no /dev/fuse")
    with contextlib.closing(HangingDisk(tmp_path)) as made:
        yield made


@pytest.fixture
def two_exports(aoe_target, link, image, tmp_path, disk):
    """e1.1 on the disk that can hang, e1.2 on another."""
    config = tmp_path / "two.toml"
    control = tmp_path / "control"
    exports = "".join(
        f'[[export]]\nfile = "{file}"\ninterface = ["{link.target_end}"]\nshelf = 1\nslot = {slot}\n'
        for slot, file in ((1, disk.image), (2, image))
    )
    config.write_text(f'control = "{control}"\n{exports}')
    with AoeTarget(aoe_target, "--config", config) as target:
        target.control = control
        yield target


def other_service(initiator, control):
    """The other export reads and writes, and the control socket answers, each within its bound."""
    began = time.monotonic()
    initiator.write(9, b"w" * 512)
    assert initiator.read(9) == b"w" * 512
    assert find(ask_control(control, "counters"), "reads") is not None
    assert time.monotonic() - began < SERVICE_SECONDS


@pytest.mark.parametrize("what", ["read", "write", "flush"])
def test_a_disk_that_hangs_takes_its_own_export_only(two_exports, start, disk, what):
    hung, other = start.initiator(slot=1), start.initiator(slot=2)
    hung.write(3, b"h" * 512)
    # On a loaded machine that write may have lasted, and for a while the disk's thread makes its writes then.
    time.sleep(LEFT_TO_THREADS_SECONDS)
    lasted = json_of(two_exports, start)["disk"]["lasted"]
    disk.hang()
    request = {
        "read": lambda: hung.ata_frame(aoe.READ_EXT, lba=100, count=1),
        "write": lambda: hung.ata_frame(aoe.WRITE_EXT, lba=100, count=1, data=b"n" * 512),
        "flush": lambda: hung.ata_frame(aoe.FLUSH),
    }[what]()
    hung.host.send(request)
    other_service(other, two_exports.control)
    disk.go_on()
    assert hung.host.await_tag(bytes(request)[20:24])
    assert hung.read(3) == b"h" * 512
    # The thread that had the loop was in the write: another one has it since.
    assert json_of(two_exports, start)["disk"]["lasted"] == lasted + (what == "write")
    assert two_exports.end() == 0, two_exports.said()


def test_many_reads_of_a_disk_that_hangs_fill_nothing_but_its_own(two_exports, start, disk):
    hung, other = start.initiator(slot=1), start.initiator(slot=2)
    disk.hang()
    for lba in range(900):  # more than operations, workers and slots together
        hung.host.send(hung.ata_frame(aoe.READ_EXT, lba=lba, count=1))
    for _ in range(3):
        other_service(other, two_exports.control)
    disk.go_on()
    # Its buffers are full at first: asked again, as an initiator does.
    wait_until(lambda: hung.host.try_ask(hung.ata_frame(aoe.READ_EXT, lba=0, count=1), 0.2), what="it serves again")
    assert two_exports.end() == 0, two_exports.said()


def test_check_tells_where_every_read_needs_a_thread(aoe_target, link, disk, tmp_path, start):
    """What --check says is what the counters of a running target show."""
    said = {}
    for name, file in (("disk", disk.image), ("image", start.image)):
        words = ["--interface", link.target_end, "--shelf", 1, "--slot", 1, "--check", file]
        done = run([aoe_target, *words])
        assert done.returncode == 0, done.stderr
        said[name] = "threads do every read" in done.stdout
        control = tmp_path / name
        target = start("--control", control, image=file)
        asking = start.initiator()
        asking.read(0)
        asking.read(0)  # in memory now, if ever
        assert (find(ask_control(control, "counters"), "hot_reads") == 0) == said[name], name
        assert target.end() == 0
    assert said["disk"], "a disk by FUSE cannot read without waiting"


def packet_sockets():
    """Of this namespace, without the head line."""
    return len(pathlib.Path("/proc/net/packet").read_text().splitlines()) - 1


def hold(asking, what):
    """A request that the kernel does not end while the disk hangs: with a write, in the thread that had the loop."""
    if what == "read":
        asking.host.send(asking.ata_frame(aoe.READ_EXT, lba=77, count=1))
    else:
        asking.host.send(asking.ata_frame(aoe.WRITE_EXT, lba=77, count=1, data=b"n" * 512))


@pytest.mark.parametrize("what", ["read", "write"])
def test_sigterm_ends_within_a_bound_and_a_second_one_at_once(two_exports, start, disk, what):
    hung, other = start.initiator(slot=1), start.initiator(slot=2)
    other.write(5, b"d" * 512)
    before = packet_sockets()
    disk.hang()
    hold(hung, what)
    wait_until(lambda: json_of(two_exports, start)["disk"]["outstanding"] == 1, what="the kernel holds it")
    two_exports.kill(signal.SIGTERM)
    wait_until(lambda: "ending on signal" in two_exports.errors(), what="the first signal")
    began = time.monotonic()
    two_exports.kill(signal.SIGTERM)
    wait_until(lambda: packet_sockets() <= before - 4, what="the address is released")
    assert time.monotonic() - began < SERVICE_SECONDS
    wait_until(lambda: f"has held a {what} at sector 77" in two_exports.errors(), what="the name of what is held")
    assert str(disk.image) in two_exports.errors()
    disk.go_on()
    assert two_exports.wait() == 1


def json_of(target, start):
    return ask_control(target.control, "counters")["exports"][0]


@pytest.mark.parametrize("what", ["read", "write"])
def test_sigterm_alone_answers_the_others_and_ends(two_exports, start, disk, what):
    hung, other = start.initiator(slot=1), start.initiator(slot=2)
    other.write(5, b"d" * 512)
    disk.hang()
    hold(hung, what)
    wait_until(lambda: json_of(two_exports, start)["disk"]["outstanding"] == 1, what="the kernel holds it")
    two_exports.kill(signal.SIGTERM)
    wait_until(lambda: f"has held a {what} at sector 77" in two_exports.errors(), seconds=12, what="gives up")
    disk.go_on()
    assert two_exports.wait() == 1
    assert start.image.read_bytes()[5 * 512 : 6 * 512] == b"d" * 512


def test_state_on_a_disk_that_hangs_takes_its_own_export_only(aoe_target, link, image, tmp_path, start, disk):
    """The state of e1.1 is being saved for ever; e1.2, the control socket and a signal do not care."""
    other_image, control = tmp_path / "other.img", tmp_path / "control"
    other_image.write_bytes(image.read_bytes())
    subprocess.run(["mkfs.ext4", "-q", disk.image], check=True, timeout=60)
    state = tmp_path / "state"
    state.mkdir()
    mounted = subprocess.run(["mount", "-o", "loop", disk.image, state], timeout=60, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no loop mounts here: {mounted.stderr.decode().strip()}")
    try:
        config = tmp_path / "two.toml"
        base = f'interface = ["{link.target_end}"]\nshelf = 1\n'
        config.write_text(
            f'control = "{control}"\n[[export]]\nfile = "{image}"\n{base}slot = 1\nstate-dir = "{state}"\n'
            f'[[export]]\nfile = "{other_image}"\n{base}slot = 2\n'
        )
        with AoeTarget(aoe_target, "--config", config) as target:
            changing, other = start.initiator(slot=1), start.initiator(slot=2)
            changing.config(AoeConfig.FORCE, b"before")
            disk.hang()
            frame = changing.frame(AoeConfig(ccmd=AoeConfig.FORCE, string=b"after"), aoe.CMD_CONFIG)
            changing.host.send(frame)
            for _ in range(3):
                other_service(other, control)
            disk.go_on()
            assert changing.host.await_tag(bytes(frame)[20:24])
            assert changing.config_string() == b"after"
            assert target.end() == 0, target.said()
    finally:
        disk.go_on()
        subprocess.run(["umount", "-l", state], check=False, timeout=20)


def test_a_write_beyond_the_limit_of_file_sizes_fails_alone(start):
    target = start(prefix=["prlimit", "--fsize=524288"])
    asking = start.initiator()
    beyond = bytes(asking.host.ask(asking.ata_frame(aoe.WRITE_EXT, lba=1500, count=1, data=b"x" * 512)))
    assert beyond[27] & 1, "ERR"
    asking.write(3, b"y" * 512)
    assert asking.read(3) == b"y" * 512
    assert asking.read(1500) == image_sector(1500)
    assert target.alive


# -- the log


def test_a_log_that_nobody_reads_costs_lines_and_no_service(aoe_target, link, image, start, tmp_path):
    """stderr and stdout are pipes of 4 KiB that nobody reads; SIGUSR1 writes to them as well."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    ready_reading, ready_writing = os.pipe()
    control = tmp_path / "control"
    words = ["--log-level", "trace", "--interface", link.target_end, "--shelf", 1, "--slot", 1, "--control", control]
    command = [aoe_target, "--ready-fd", ready_writing, *words, image]
    process = subprocess.Popen(
        [str(word) for word in command], stdout=writing, stderr=writing, stdin=subprocess.DEVNULL,
        pass_fds=(ready_writing,),
    )  # fmt: skip
    try:
        os.close(ready_writing)
        assert os.read(ready_reading, 1) == b"\n"
        asking = start.initiator()

        def some_are_lost():
            asking.extend(b"reset", b"tag_inc_le")  # a line of the log
            process.send_signal(signal.SIGUSR1)
            began = time.monotonic()
            asking.write(9, b"w" * 512)
            assert asking.read(9) == b"w" * 512
            assert time.monotonic() - began < SERVICE_SECONDS
            return ask_control(control, "counters")["log"]["lines_lost"] > 0

        wait_until(some_are_lost, seconds=60, step_seconds=0, what="more lines than a pipe and a queue hold")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SERVICE_SECONDS * 5) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)
        os.close(ready_reading)


# -- a host that is not allowed


def test_a_host_that_is_not_allowed_takes_no_slot(start, tmp_path):
    control = tmp_path / "control"
    allowed, foreign = "02:00:00:00:00:61", "02:00:00:00:00:62"
    start("--allow", allowed, "--buffer-count", 2, "--control", control)
    asking, flooding = start.initiator(allowed), start.initiator(foreign)
    frame = bytes(flooding.ata_frame(aoe.READ_EXT, lba=1, count=1))
    for lba in range(20):
        for _ in range(50):
            flooding.host.send(frame)
        assert asking.read(lba) == image_sector(lba)
    counters = ask_control(control, "counters")
    assert find(counters, "ring_drops") == 0
    assert find(counters, "ignored_masked") == 0, "they do not even wake the target"
    assert flooding.host.drain() == []


# -- a host that cannot be answered


@pytest.mark.parametrize("mtu", [9000], indirect=True)
def test_a_host_with_a_smaller_mtu_is_told_nothing_and_takes_nothing(start, link):
    """Its own interface takes 1500 bytes, the target's sends 9000: a read of 8 sectors can never arrive."""
    target = start()
    small, other = start.initiator("02:00:00:00:00:51"), start.initiator("02:00:00:00:00:52")
    net.ip(f"link set {link.host_end} mtu 1500")
    for lba in range(20):
        small.host.send(small.ata_frame(aoe.READ_EXT, lba=lba, count=8))
    began = time.monotonic()
    for lba in range(5):
        assert other.read(lba) == image_sector(lba)
    assert small.read(3) == image_sector(3), "what does fit is answered"
    assert time.monotonic() - began < SERVICE_SECONDS
    assert target.errors().count("cannot be sent") == 1, target.errors()
    counters = json.loads(wait_until(lambda: counters_line(target), what="counters"))
    assert counters["exports"][0]["interfaces"][0]["send_drops_unsendable"] >= 20


def image_sector(lba):
    return (b"sector %08d " % lba) * 32


def counters_line(target):
    target.kill(signal.SIGUSR1)
    time.sleep(0.05)
    lines = [line for line in target.output().splitlines() if line.startswith("{")]
    return lines[-1] if lines else None
