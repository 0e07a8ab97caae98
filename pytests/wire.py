#!/usr/bin/python3
"""The suite's verdicts on links that are not what they should be: wire.py [--build DIR] [--only WORD] [--against TARGET]

The whole suite judges a target that it starts itself, through the project's bridge on veth: loss, doubling, delay,
reordering, all at once, every reply twice, a late second port, unequal MTUs both ways, and a link that is down for two
seconds. Nothing of that is the target's fault: one line a wire, with the share of cases that came out conclusive; exits 0
only when nobody was accused, nothing was inconclusive for another reason than the link, and the shares are reached.
"""

import argparse
import contextlib
import json
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import time

import net
from aoe_layers import ETHERTYPE
from programs import Program, wait_until

PROJECT = pathlib.Path(__file__).resolve().parent.parent
RUN_SECONDS = 900
LATE_SECONDS = 0.005
PACKET_OUTGOING = 4


class Wire:
    """`rates`: the bridge's. `conclusive`: the least share of the cases that ran."""

    def __init__(self, name, conclusive, rates="", mtu=1500, target_mtu=0, suite_mtu=0, special=""):
        self.name, self.conclusive, self.rates, self.mtu, self.special = name, conclusive, rates, mtu, special
        self.target_mtu, self.suite_mtu = target_mtu or mtu, suite_mtu or mtu


WIRES = [
    Wire("clean", 1.0),
    Wire("MTU 576", 1.0, mtu=576),
    Wire("drop 0.1 %", 0.97, "drop 1000\n"),
    Wire("drop 1 %", 0.95, "drop 10000\n"),
    Wire("drop 2 %", 0.9, "drop 20000\n"),
    Wire("drop 5 %", 0.8, "drop 50000\n"),
    Wire("duplicate 0.1 %, 20 ms late", 0.97, "duplicate 1000 20ms\n"),
    Wire("duplicate 1 %, 20 ms late", 0.95, "duplicate 10000 20ms\n"),
    Wire("duplicate 5 %, 20 ms late", 0.8, "duplicate 50000 20ms\n"),
    Wire("delay 10 % up to 50 ms", 0.8, "delay 100000 50ms\n"),
    Wire("delay 10 % up to 200 ms", 0.8, "delay 100000 200ms\n"),
    Wire("reordering, 10 %", 0.8, "hold 100000\n"),
    Wire("all at once, 1 % each", 0.8, "drop 10000\nduplicate 10000 20ms\ndelay 10000 50ms\nhold 10000\n"),
    Wire("every reply twice", 0.9, special="twice"),
    Wire("a second port, 5 ms late", 0.95, special="second port"),
    Wire("MTU 9000 here, 1500 there", 0.5, mtu=9000, target_mtu=1500),
    Wire("MTU 1500 here, 9000 there", 0.5, mtu=9000, suite_mtu=1500),
    Wire("down for 2 s", 0.95, special="down"),
]


class SecondPort:
    """Answers broadcast config queries as the target does, from another address and 5 ms later."""

    def __init__(self, interface):
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((interface, 3))
        self._asked, self._over = set(), False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        self._socket.settimeout(0.2)
        while not self._over:
            with contextlib.suppress(TimeoutError, OSError):
                frame, (_, _, kind, _, _) = self._socket.recvfrom(65536)
                if len(frame) < 32 or struct.unpack_from("!H", frame, 12)[0] != ETHERTYPE or frame[19] != 1:
                    continue
                if kind != PACKET_OUTGOING and frame[0] & 1:
                    self._asked.add(frame[20:24])
                elif kind == PACKET_OUTGOING and frame[20:24] in self._asked:
                    self._asked.discard(frame[20:24])
                    other = frame[:11] + bytes([frame[11] ^ 1]) + frame[12:]
                    threading.Timer(LATE_SECONDS, self._send, [other]).start()

    def _send(self, frame):
        with contextlib.suppress(OSError):
            self._socket.send(frame)

    def close(self):
        self._over = True
        self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def laid(wire, build, folder, seed):
    """(the suite's interface, the target's, what makes trouble in between or None)"""
    with contextlib.ExitStack() as stack:
        near = net.Link(wire.mtu)
        stack.callback(near.close)
        if wire.special == "twice" or wire.rates:
            far = net.Link(wire.mtu)
            stack.callback(far.close)
            words = [build / "bin" / "aoe-sim", "bridge", "--a", near.target_end, "--b", far.host_end]
            if wire.rates:
                rates = folder / "rates"
                rates.write_text(wire.rates)
                words += ["--profile", rates, "--seed", seed]
            else:
                verdicts = folder / "twice.sim"
                verdicts.write_text("aoe-sim 1\ninitiator a linux\n" + "".join(f"frame t>sw {i} duplicate 50us\n" for i in range(400_000)))
                words += ["--replay", verdicts]
            bridge = stack.enter_context(Program(words))
            wait_until(lambda: "bridging" in bridge.output() or not bridge.alive, what="the bridge")
            assert bridge.alive, bridge.said()
            yield near.host_end, far.target_end
            return
        if wire.special == "second port":
            port = SecondPort(near.target_end)
            stack.callback(port.close)
        net.ip(f"link set {near.target_end} mtu {wire.target_mtu}", f"link set {near.host_end} mtu {wire.suite_mtu}")
        yield near.host_end, near.target_end


def target_command(against, build, state):
    if against == "vblade":
        return "/usr/sbin/vblade {shelf} {slot} {iface} {image}"
    if against == "aoe-target":
        words = "--interface {iface} --shelf {shelf} --slot {slot}"
        return f"{build / 'bin' / 'aoe-target'} {words} --state-dir {state} {{image}}"
    return against


def cut(interface, running):
    """The link is down for two seconds, three seconds after the beginning."""
    time.sleep(3)
    if running.alive:
        net.ip(f"link set {interface} down")
        time.sleep(2)
        net.ip(f"link set {interface} up")


def judge(wire, build, folder, against="aoe-target", cases=(), seed=1, image_bytes=160 << 30, words=()):
    """The report of a run over this wire, and the suite's program, ended."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(image_bytes)
    with laid(wire, build, folder, seed) as (here, there):
        command = [build / "bin" / "aoe-conformance", "run", "--link", f"af_packet:{here}", "--shelf", 1, "--slot", 1]
        command += ["--target-interface", there, "--target-image", image, "--allow", "all"]
        command += ["--target-command", target_command(against, build, state), "--report-json", folder / "report.json"]
        command += ["--undo-file", folder / "undo"]
        for pattern in cases:
            command += ["--case", pattern]
        with Program([*command, *words]) as running:
            if wire.special == "down":
                cut(there, running)
            running.wait(RUN_SECONDS)
            return json.loads((folder / "report.json").read_text()), running


LINKS_REASONS = ("link", "lost", "no answer to this request", "not answered either", "does not answer", "was gone")


def counted(report):
    """What a wire is judged by."""
    ran = [case for case in report["cases"] if case["verdict"] != "skip"]
    bad = [case for case in ran if case["verdict"] in ("fail", "warn", "error")]
    unproven = [case for case in ran if case["verdict"] == "inconclusive"]
    other = [case for case in unproven if not any(word in case["reason"] for word in LINKS_REASONS)]
    return {
        "ran": len(ran),
        "bad": bad,
        "inconclusive": len(unproven),
        "other": other,
        "share": 1 - len(unproven) / max(1, len(ran)),
        "again": sum(1 for case in ran if case.get("attempts", 1) > 1),
        "seconds": report["duration_ms"] / 1000,
        "trouble": report["trouble"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build")
    parser.add_argument("--only", default="", help="wires whose name has this in it")
    parser.add_argument("--against", default="aoe-target", help="aoe-target (default), vblade, or a command")
    parser.add_argument("--case", action="append", default=[], help="cases by id; globs (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of what is lost (default 1)")
    parser.add_argument("--baseline", type=pathlib.Path, help="what is known of the target")
    options = parser.parse_args()
    wires = [wire for wire in WIRES if options.only in wire.name]
    if not wires:
        parser.error(f"no wire has '{options.only}' in its name: {', '.join(wire.name for wire in WIRES)}")
    net.enter_namespace()
    place = net.private_tmpfs([PROJECT, options.build, pathlib.Path.cwd()])
    print(f"{'wire':<28} {'ran':>4} {'bad':>4} {'inconclusive':>12} {'conclusive':>10} {'seconds':>8}")
    well = True
    for wire in wires:
        words = ["--baseline", options.baseline.resolve()] if options.baseline else []
        with tempfile.TemporaryDirectory(dir=place) as folder:
            report, running = judge(
                wire, options.build, pathlib.Path(folder), options.against, options.case, options.seed, words=words
            )
        seen = counted(report)
        if options.baseline:
            fine = not report["baseline"]["surprises"]
            complaints = report["baseline"]["surprises"]
        else:
            fine = not seen["bad"] and not seen["other"] and not seen["trouble"] and seen["share"] >= wire.conclusive
            complaints = [f"{c['verdict']} {c['id']}: {c['reason']}" for c in seen["bad"] + seen["other"]]
        print(
            f"{wire.name:<28} {seen['ran']:>4} {len(seen['bad']):>4} {seen['inconclusive']:>12}"
            f" {100 * seen['share']:>8.1f} % {seen['seconds']:>8.1f}{'' if fine else '   NOT WELL'}",
            flush=True,
        )
        for complaint in complaints:
            print(f"    {complaint}")
        if seen["trouble"]:
            print(f"    {seen['trouble']}")
        well = well and fine
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
