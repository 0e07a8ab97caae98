#!/usr/bin/python3
"""What one host, disk or log reader takes from another: attack.py [OPTIONS]

aoe-target serves e1.1, which is attacked, and e1.2 on one link; each host stands at a port of its own. A victim reads one
sector at a time, first on e1.2, then on e1.1. A flood is open-loop: so many frames a second, whatever is answered. The control
is the same flood aimed at a shelf that nobody serves: it costs the machine the same and the target nothing. Both in
alternation; a figure is the median over the rounds of the victim's rate under the attack divided by its rate beside the
control, then the longest that the victim waited for one read, in both. Exits 0 only when every bound was kept.
"""

import argparse
import contextlib
import ctypes
import json
import multiprocessing
import os
import pathlib
import random
import socket
import statistics
import struct
import sys
import tempfile
import time

import aoe_layers as aoe
import net
from aoe_layers import AoeConfig
from dialogue import Initiator
from programs import AoeTarget, run

PROJECT = pathlib.Path(__file__).resolve().parent.parent
NOBODY = 77  # a shelf that nobody serves
SHELF, ATTACKED, OTHER = 1, 1, 2
IMAGE_SECTORS = 1 << 17
# Of the control: a victim on another export keeps this, and one on the same export its share, with one attacker the half.
KEPT_BY_OTHERS, KEPT_BESIDE = 0.9, 0.5
# No silence is longer than the control's by more than this, beyond the budget of congestion pauses.
SILENCE_SECONDS = 0.05
FRAMES_AT_ONCE = 64

_libc = ctypes.CDLL(None, use_errno=True)


class _IoVector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("length", ctypes.c_uint32),
    ]


def send_flood(interface, frames, per_second, seconds):
    """Sends `frames` round and round, each time under the next tag. How many went out."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((interface, 0))
        out.setblocking(False)
        buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
        vectors = (_IoVector * len(frames))(
            *[_IoVector(ctypes.addressof(buffer), len(frame)) for buffer, frame in zip(buffers, frames)]
        )
        messages = (_Message * len(frames))()
        for message, vector in zip(messages, vectors):
            message.vectors, message.vector_count = ctypes.pointer(vector), 1
        sent, began = 0, time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            due = int((now - began) * per_second) - sent
            if due < FRAMES_AT_ONCE // 2:
                time.sleep(0.0005)
                continue
            at = sent % len(frames)
            count = min(due, FRAMES_AT_ONCE, len(frames) - at)
            for i in range(at, at + count):
                struct.pack_into("!I", buffers[i], 20, (sent + i - at) & 0x7FFFFFFF)
            done = _libc.sendmmsg(out.fileno(), ctypes.byref(messages, at * ctypes.sizeof(_Message)), count, 0)
            sent += done if done > 0 else count  # what the interface does not take is lost
        return sent


class Ground:
    """The link, its hosts and the two images."""

    def __init__(self, build, folder, mtu):
        self.build, self.folder = build, folder
        self.segment = net.Segment(3, mtu)
        self.target_port, self.attacker_port, self.victim_port = self.segment.ports
        self.target_mac = net.mac_of(self.target_port)
        self.images = {slot: folder / f"{slot}.img" for slot in (ATTACKED, OTHER)}
        for image in self.images.values():
            image.write_bytes(os.urandom(512 * IMAGE_SECTORS))
        self.control = folder / "control"
        self.state = folder / "state"
        self.state.mkdir()
        self.attacker = Initiator(net.Host(self.attacker_port, "02:00:00:00:0a:aa"), self.target_mac, SHELF, ATTACKED)

    def close(self):
        self.attacker.host.close()
        self.segment.close()

    @contextlib.contextmanager
    def target(self, attack):
        exports = "".join(
            f'[[export]]\nfile = "{image}"\n'
            f'interface = ["{self.target_port}"]\nshelf = {SHELF}\nslot = {slot}\n'
            f'state-dir = "{self.state}"\n{attack.settings}'
            for slot, image in self.images.items()
        )
        config = self.folder / "attack.toml"
        config.write_text(f'control = "{self.control}"\nlog-level = "info"\n{exports}')
        with AoeTarget(self.build / "bin" / "aoe-target", "--config", config) as target:
            yield target
            code = target.end()
            assert code == 0, target.said()

    def victim(self, slot, seconds, address):
        """(requests a second, the longest wait in seconds) of one who reads."""
        words = [self.build / "bin" / "aoe-initiator", "bench", "-i", self.victim_port, "--shelf", SHELF]
        words += ["--slot", slot, "--address", address, "--operation", "read", "--sectors", 1, "--outstanding", 1]
        words += ["--range", f"0:{IMAGE_SECTORS - 64}", "--seconds", seconds, "--json"]
        done = run(words, seconds=seconds + 60)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        told = json.loads(done.stdout)
        return told["requests_per_second"], told["latency_us"]["max"] / 1e6


class Attack:
    """`frames(ground, shelf)`: what is sent round and round. `prepare(ground)`: once the target serves."""

    def __init__(self, name, frames, prepare=None, settings="", per_second=50_000):
        self.name, self.frames, self.prepare = name, frames, prepare
        self.settings, self.per_second = settings, per_second


def _to(shelf, frame):
    raw = bytearray(bytes(frame))
    struct.pack_into("!H", raw, 16, shelf)
    return bytes(raw).ljust(60, b"\0")


def _several(make, count=FRAMES_AT_ONCE):
    """Frames by make(asking, i), each to the shelf that is wanted."""
    return lambda ground, shelf: [_to(shelf, make(ground.attacker, i)) for i in range(count)]


def _somewhere(i):
    return random.Random(i).randrange(IMAGE_SECTORS - 256)


def _coalesced(asking, i):
    frame = bytearray(bytes(asking.ata_frame(aoe.READ_EXT, lba=_somewhere(i), count=1))[: aoe.ATA_BYTES])
    entries = b"".join(
        struct.pack("!I", 0x50000000 + i) + _somewhere(256 + 64 * i + entry).to_bytes(6, "little") + bytes(5) + b"\1"
        for entry in range(60)
    )
    return bytes(frame) + bytes([60]) + entries


def _forged(asking, i):
    frame = bytearray(bytes(asking.frame(aoe.AoeExtensionsLE(strings=[b"tag_inc_be"]), aoe.CMD_EXTENSIONS)))
    frame[6:12] = b"\2\0\0" + i.to_bytes(3, "big")
    return bytes(frame)


def _probe(asking, i):
    return asking.frame(aoe.AoeExtensionsLE(strings=[b"congestion", b"%d" % (1 + i)]), aoe.CMD_EXTENSIONS)


def _mask_read(asking, _):
    return asking.frame(aoe.AoeMask(mcmd=aoe.AoeMask.READ), aoe.CMD_MASK)


ATTACKS = [
    Attack("reads", _several(lambda asking, i: asking.ata_frame(aoe.READ_EXT, lba=_somewhere(i), count=1))),
    Attack("writes", _several(lambda asking, i: asking.ata_frame(aoe.WRITE_EXT, lba=_somewhere(i), count=1, data=bytes(512)))),
    Attack("flushes", _several(lambda asking, i: asking.ata_frame(aoe.FLUSH))),
    Attack("coalesced reads", _several(_coalesced), prepare=lambda ground: ground.attacker.extend(b"coalesced_read"), per_second=2_000),
    Attack("query config", _several(lambda asking, i: asking.frame(AoeConfig(aoe_version=1), aoe.CMD_CONFIG))),
    Attack("force set", _several(lambda asking, i: asking.frame(AoeConfig(aoe_version=1, ccmd=AoeConfig.FORCE, string=b"%d" % i), aoe.CMD_CONFIG))),
    Attack("mask list reads", _several(_mask_read)),
    Attack("congestion probes", _several(_probe, 4096), per_second=20_000),
    Attack("negotiations, forged", _several(_forged, 4096)),
    Attack("reads, from a host not allowed", _several(lambda asking, i: asking.ata_frame(aoe.READ_EXT, lba=_somewhere(i), count=1)),
           settings='allow = ["02:00:00:00:0b:01"]\n'),
]
VICTIM = "02:00:00:00:0b:01"


class Measured:
    """Of one attack and one export of the victim's."""

    def __init__(self, kept, silence, silence_beside):
        self.kept, self.silence, self.silence_beside = kept, silence, silence_beside

    def cell(self):
        return (
            f"{statistics.median(self.kept):.2f} ({min(self.kept):.2f}-{max(self.kept):.2f}), "
            f"{1e3 * statistics.median(self.silence):.0f} ms ({1e3 * statistics.median(self.silence_beside):.0f} ms)"
        )


def measure(ground, attack, slot, rounds, seconds):
    kept, silence, beside = [], [], []
    with ground.target(attack):
        ground.victim(slot, 0.1, VICTIM)
        if attack.prepare:
            attack.prepare(ground)
        for _ in range(rounds):
            rates, waits = {}, {}
            for shelf in (NOBODY, SHELF):
                flood = multiprocessing.Process(
                    target=send_flood,
                    args=(ground.attacker_port, attack.frames(ground, shelf), attack.per_second, seconds + 1.0),
                )
                flood.start()
                try:
                    rates[shelf], waits[shelf] = ground.victim(slot, seconds, VICTIM)
                finally:
                    flood.kill()
                    flood.join()
                ground.attacker.host.drain()
            kept.append(rates[SHELF] / rates[NOBODY])
            silence.append(waits[SHELF])
            beside.append(waits[NOBODY])
    return Measured(kept, silence, beside)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build")
    parser.add_argument("--only", default="", help="only the attacks whose name has this in it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--mtu", type=int, default=1500)
    options = parser.parse_args()
    chosen = [attack for attack in ATTACKS if options.only in attack.name]
    if not chosen:
        parser.error(f"--only {options.only}: there are {', '.join(attack.name for attack in ATTACKS)}")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds: more than nothing")
    net.enter_namespace()
    broken = []
    print("| a flood of | frames a second | a victim on another export keeps | a victim on the same export keeps |\n| --- | --- | --- | --- |")
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aoe-attack.")))
        ground = Ground(options.build.resolve(), folder, options.mtu)
        stack.callback(ground.close)
        for attack in chosen:
            cells = []
            for slot, least in ((OTHER, KEPT_BY_OTHERS), (ATTACKED, KEPT_BESIDE)):
                found = measure(ground, attack, slot, options.rounds, options.seconds)
                cells.append(found.cell())
                if statistics.median(found.kept) < least:
                    broken.append(f"{attack.name}: e{SHELF}.{slot} keeps less than {least}")
                if statistics.median(found.silence) > statistics.median(found.silence_beside) + SILENCE_SECONDS:
                    broken.append(f"{attack.name}: e{SHELF}.{slot} waited longer than {SILENCE_SECONDS} s beyond the control's")
            print(f"| {attack.name} | {attack.per_second:,} | {' | '.join(cells)} |", flush=True)
    for line in broken:
        print(f"attack: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, OSError) as error:
        print(f"attack: {error}", file=sys.stderr)
        sys.exit(5)
