"""The NBD door: what people use to work with disks (qemu-img, qemu-io, nbdcopy, nbdfuse, fio) works on an AoE target
through the nbdkit plugin, with the extensions in use; also through a wire that loses, doubles and delays.
"""

import json
import os
import pathlib
import signal
import subprocess

import pytest

import net
from test_ipxe import MESSAGE, MESSAGE_LBA, boot_sector
from programs import AoeTarget, Program, Vblade, run, wait_until

EXTENSIONS = "tag_inc_be,coalesced_read,coalesced_write_reply,crc8x4"
# Rates in a million, and longest delays: every hundredth frame lost, and every fiftieth late or doubled.
HOSTILE = """drop 10000
delay 20000 30ms
duplicate 20000 50ms
hold 10000
"""

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def plugin(build):
    path = build / "bin" / "nbdkit-aoe-plugin.so"
    if not path.exists():
        pytest.skip(f"not built: {path}")
    return path


class Server(Program):
    """nbdkit with the plugin, reachable when it is made."""

    def __init__(self, plugin, socket, interfaces, *settings):
        self.socket = socket
        words = [f"interface={','.join(interfaces)}", "shelf=1", "slot=1", *settings]
        super().__init__(["nbdkit", "-f", "--exit-with-parent", "-U", socket, plugin, *words])
        wait_until(lambda: pathlib.Path(socket).exists() or not self.alive, what="nbdkit's socket")
        assert self.alive, self.said()

    @property
    def uri(self):
        return f"nbd+unix:///?socket={self.socket}"


def ends_well(server):
    assert server.alive, server.said()
    assert server.end(signal.SIGTERM) == 0, server.said()


@pytest.fixture
def serve(plugin, link, tmp_path):
    made = []

    def call(*settings, interfaces=None):
        socket = tmp_path / f"nbd{len(made)}"
        made.append(Server(plugin, socket, interfaces or [link.host_end], *settings))
        return made[-1]

    yield call
    for server in made:
        server.close()


def done_well(command, seconds=100, **options):
    done = run(command, seconds=seconds, **options)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}{done.stderr}"
    return done


def test_size_and_what_it_can(serve, start):
    start()
    with serve(f"extensions={EXTENSIONS}") as server:
        told = json.loads(done_well(["nbdinfo", "--json", server.uri]).stdout)["exports"][0]
        assert told["export-size"] == 2048 * 512
        assert told["can_flush"] and told["can_fua"] and told["can_multi_conn"] and not told["is_read_only"]
        ends_well(server)


@pytest.mark.parametrize("mtu", [1500, 9000], indirect=True)
def test_qemu_io_reads_and_writes_any_bytes(serve, start, image, mtu):
    start()
    before = image.read_bytes()
    with serve(f"extensions={EXTENSIONS}") as server:
        done_well(
            ["qemu-io", "-f", "raw", "-t", "none", "-c", "write -P 0x61 512 65536", "-c", "write -P 0x62 700 9",
             "-c", "write -P 0x63 100000 1000", "-c", "flush", "-c", "read -P 0x62 700 9", "-c", "read -P 0x63 100000 1000",
             "-c", "read -P 0x61 709 3000", server.uri]
        )  # fmt: skip
        ends_well(server)
    expected = bytearray(before)
    expected[512 : 512 + 65536] = b"a" * 65536
    expected[700:709] = b"b" * 9
    expected[100000:101000] = b"c" * 1000
    assert image.read_bytes() == bytes(expected)


def test_nbdcopy_takes_the_whole_disk_both_ways(serve, start, image, tmp_path):
    start()
    with serve(f"extensions={EXTENSIONS}") as server:
        copy = tmp_path / "copy"
        done_well(["nbdcopy", server.uri, copy])
        assert copy.read_bytes() == image.read_bytes()
        content = os.urandom(2048 * 512)
        copy.write_bytes(content)
        done_well(["nbdcopy", "--flush", copy, server.uri])
        assert image.read_bytes() == content
        ends_well(server)


def test_qemu_img_compares_and_converts(serve, start, image, tmp_path):
    start()
    with serve("extensions=tag_inc_be,coalesced_read") as server:
        assert "Images are identical" in done_well(["qemu-img", "compare", server.uri, image]).stdout
        done_well(["qemu-img", "convert", "-O", "qcow2", server.uri, tmp_path / "disk.qcow2"])
        done_well(["qemu-img", "compare", tmp_path / "disk.qcow2", image])
        ends_well(server)


def test_nbdfuse_shows_a_file(serve, start, image, tmp_path):
    if not pathlib.Path("/dev/fuse").exists():
        pytest.skip("no /dev/fuse here")
    start()
    with serve(f"extensions={EXTENSIONS}") as server:
        folder = tmp_path / "mounted"
        folder.mkdir()
        with Program(["nbdfuse", folder, server.uri]) as fuse:
            try:
                wait_until(lambda: (folder / "nbd").exists() or not fuse.alive, what="nbdfuse's file")
                if not fuse.alive:
                    pytest.skip(f"nbdfuse cannot mount here: {fuse.errors().strip()}")
                assert (folder / "nbd").read_bytes() == image.read_bytes()
                with (folder / "nbd").open("r+b") as disk:
                    disk.seek(5 * 512)
                    disk.write(b"!" * 512)
            finally:
                subprocess.run(["umount", str(folder)], capture_output=True, timeout=20, check=False)
            fuse.wait()
        ends_well(server)
    assert image.read_bytes()[5 * 512 : 6 * 512] == b"!" * 512


def fio(server, *options, seconds=100):
    words = ["fio", "--name=verify", "--ioengine=nbd", f"--uri={server.uri}", "--size=1M", "--bs=4k", "--iodepth=16"]
    words += ["--rw=randwrite", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--randrepeat=1", "--verify_state_save=0"]
    out = done_well([*words, "--output-format=json", *options], seconds=seconds).stdout
    (job,) = json.loads(out[out.index("{") :])["jobs"]
    return job


def test_fio_verifies_what_it_wrote(serve, start):
    start()
    with serve(f"extensions={EXTENSIONS}") as server:
        job = fio(server, "--loops=3")
        assert job["error"] == 0 and job["write"]["total_ios"] == 3 * 256 and job["read"]["total_ios"] >= 256
        ends_well(server)


def test_fio_finds_no_mismatch_on_a_hostile_wire(build, plugin, aoe_target, image, link, tmp_path):
    near = net.Link(1500)
    try:
        rates = tmp_path / "rates"
        rates.write_text(HOSTILE)
        words = [build / "bin" / "aoe-sim", "bridge", "--a", near.target_end, "--b", link.host_end]
        options = ["--interface", link.target_end, "--shelf", 1, "--slot", 1, image]
        with AoeTarget(aoe_target, *options) as target:
            with Program([*words, "--profile", rates, "--seed", 5, "--rule", "hold-write-copies"]) as bridge:
                wait_until(lambda: "bridging" in bridge.output() or not bridge.alive, what="the bridge")
                with Server(plugin, tmp_path / "nbd", [near.host_end], f"extensions={EXTENSIONS}") as server:
                    job = fio(server, "--loops=2")
                    assert job["error"] == 0 and job["write"]["total_ios"] == 512
                    ends_well(server)
                assert bridge.end() == 0, bridge.said()
                told = bridge.output()
                assert " drop " in told and " copied " in told, told
            assert target.alive
    finally:
        near.close()


def test_a_target_that_is_killed_and_back_is_waited_for(serve, start, image):
    target = start()
    with serve(f"extensions={EXTENSIONS}") as server:
        done_well(["qemu-io", "-f", "raw", "-c", "write -P 0x61 0 4096", server.uri])
        target.kill(signal.SIGKILL)
        target.wait()
        with Program(["qemu-io", "-f", "raw", "-c", "write -P 0x62 4096 4096", "-c", "flush", server.uri]) as writing:
            start()
            assert writing.wait(30) == 0, writing.said()
        ends_well(server)
    assert image.read_bytes()[:8192] == b"a" * 4096 + b"b" * 4096


def test_it_ends_while_the_target_is_away(serve, start):
    target = start()
    with serve(f"extensions={EXTENSIONS}") as server:
        target.kill(signal.SIGKILL)
        target.wait()
        with Program(["qemu-io", "-f", "raw", "-c", "read 0 4096", server.uri]):
            server.kill(signal.SIGKILL)
            server.process.wait()


def test_a_machine_boots_from_it(serve, link, start, tmp_path):
    """The boot sector of test_ipxe, which reads on through the BIOS; here over NBD, and then over AoE."""
    disk = bytearray(16 << 20)
    disk[:512] = boot_sector()
    disk[MESSAGE_LBA * 512 : MESSAGE_LBA * 512 + len(MESSAGE)] = MESSAGE
    image = tmp_path / "boot.img"
    image.write_bytes(disk)
    start(image=image)
    with serve(f"extensions={EXTENSIONS}") as server:
        words = ["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-nodefaults", "-no-user-config", "-no-reboot"]
        words += ["-display", "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        words += ["-drive", f"file={server.uri},format=raw,if=ide", "-boot", "c"]
        with Program(words) as machine:
            wait_until(lambda: MESSAGE[:-1].decode() in machine.output() or not machine.alive, 60, what="the message")
            assert machine.wait(60) == 3, machine.said()
            assert MESSAGE[:-1].decode() in machine.output()
        ends_well(server)


BAD = {
    "nobody there": (["interface={if}", "shelf=1", "slot=9", "connect-timeout=0.3"], "e1.9 does not answer"),
    "no interface": (["interface=nowhere", "shelf=1", "slot=1"], "there is no interface 'nowhere'"),
    "no address": (["interface={if}"], "shelf= and slot="),
    "no such extension": (["interface={if}", "shelf=1", "slot=1", "extensions=fast"], "fast"),
    "no such setting": (["interface={if}", "shelf=1", "slot=1", "speed=9"], "no such setting"),
    "no number": (["interface={if}", "shelf=x", "slot=1"], "shelf"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_before_it_serves(plugin, link, start, tmp_path, case):
    start()
    words, said = BAD[case]
    words = [word.format(**{"if": link.host_end}) for word in words]
    done = run(["nbdkit", "-f", "-U", tmp_path / "nbd", plugin, *words])
    assert done.returncode != 0
    assert said in done.stderr, done.stderr


def test_it_does_not_serve_without_the_protection_that_was_asked_for(plugin, link, image, tmp_path):
    with Vblade(link, image):
        words = ["nbdkit", "-f", "-U", tmp_path / "nbd", plugin, f"interface={link.host_end}", "shelf=1", "slot=1"]
        done = run([*words, "extensions=tag_inc_be", "connect-timeout=2"], seconds=30)
        assert done.returncode != 0 and "e1.1 does not" in done.stderr, done.stderr
        with Server(plugin, tmp_path / "nbd2", [link.host_end], "extensions=tag_inc_be", "require=no") as server:
            done_well(["qemu-img", "compare", server.uri, image])
            ends_well(server)
