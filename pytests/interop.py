#!/usr/bin/python3
"""The Linux kernel's own aoe driver on a hostile day: interop.py [--build DIR] [--only WORD] [--kib N] [--rounds N]

A guest makes an ext4 file system on a target, four writers at a time fill it, what was synced is compared past the cache,
and e2fsck looks at the image from outside. Over both MTUs, with the target killed in the middle and back, through a wire
that loses, doubles and delays (but lets no older write pass a newer one, against which plain AoE has nothing), and the same
with vblade. Beside them: an image that grows under the guest, and two targets on two interfaces at once. One line a trial; exits 0 only when all of them are well.
"""

import argparse
import contextlib
import hashlib
import json
import pathlib
import signal
import sys
import tempfile
import time

import guest
import net
from programs import AoeTarget, Program, run, wait_until

PROJECT = pathlib.Path(__file__).resolve().parent.parent
IMAGE_MIB = 48
# The driver's waits grow with loss: every hundredth frame lost makes a job of seconds one of a minute.
HOSTILE = """drop 10000
delay 20000 20ms
duplicate 20000 60ms
hold 5000
"""
LOSSY = "drop 50000\n"
TRIAL_SECONDS = 240


class Trial:
    """One target, one wire, one guest."""

    def __init__(self, name, mtu=1500, target="aoe-target", options=(), bridge=None, kill=False, work="load"):
        self.name, self.mtu, self.target, self.options = name, mtu, target, list(options)
        self.bridge, self.kill, self.work = bridge, kill, work  # bridge: the rates of a wire that is not clean


TRIALS = [
    Trial("ext4 at MTU 1500"),
    Trial("ext4 at MTU 9000", mtu=9000),
    Trial("ext4, the target killed with -9 and back", kill=True),
    Trial("ext4, --write-cache, killed with -9 and back", options=["--write-cache"], kill=True),
    Trial("ext4 through loss, delays and duplicates, newest write last", bridge=HOSTILE),
    Trial("ext4 through the same at MTU 9000", mtu=9000, bridge=HOSTILE),
    Trial("ext4 through the same, killed with -9 and back", bridge=HOSTILE, kill=True),
    Trial("ext4 through a loss of 5 %", bridge=LOSSY),
    Trial("an image that grows, found anew", work="grown"),
    Trial("two targets on two interfaces", work="both"),
    Trial("two targets on two interfaces, MTU 9000", mtu=9000, work="both"),
    Trial("vblade, ext4 at MTU 1500", target="vblade"),
    Trial("vblade, ext4 through loss, delays and duplicates, newest write last", target="vblade", bridge=HOSTILE),
]


def new_image(path, mib=IMAGE_MIB):
    with path.open("wb") as file:
        file.truncate(mib << 20)
    return path


def start_target(trial, build, interface, image, shelf=1):
    if trial.target == "vblade":
        return Program(["vblade", shelf, 1, interface, image])
    words = ["--interface", interface, "--shelf", shelf, "--slot", 1, *trial.options, image]
    return AoeTarget(build / "bin" / "aoe-target", *words)


@contextlib.contextmanager
def bridged(trial, build, folder, tap):
    """The interface that the target is to take; with a bridge between it and the guest, if there is one."""
    if not trial.bridge:
        yield tap.name, None
        return
    link = net.Link(trial.mtu)
    try:
        rates = folder / "rates"
        rates.write_text(trial.bridge)
        words = [build / "bin" / "aoe-sim", "bridge", "--a", tap.name, "--b", link.host_end, "--profile", rates]
        words += ["--seed", 3, "--rule", "newest-write-last", "--record", folder / "record.sim", "--pcap", folder / "wire"]
        with Program(words) as bridge:
            wait_until(lambda: "bridging" in bridge.output() or not bridge.alive, what="the bridge")
            yield link.target_end, bridge
            assert bridge.end() == 0, bridge.said()
    finally:
        link.close()


def watched(trial, build, folder):
    """The observer on both sides of a bridge has nothing to say against the reference."""
    if not trial.bridge or trial.target != "aoe-target":
        return
    for side in "ab":
        judge = run([build / "bin" / "aoe-pcap", "judge", "--strict", "--format", "json", folder / f"wire.{side}.pcap"])
        assert judge.returncode == 0, judge.stdout + judge.stderr
        counts = json.loads(judge.stdout)["summary"]
        assert counts["pass"] >= 20, (side, counts)


def perform(trial, build, cache, folder, kib=96, rounds=2):
    """What the guest saw; raises AssertionError when anything is not as it was promised."""
    image = new_image(folder / "disk")
    tap = guest.Tap(trial.mtu)
    targets = []
    try:
        with contextlib.ExitStack() as stack:
            interface, bridge = stack.enter_context(bridged(trial, build, folder, tap))
            targets.append(stack.enter_context(start_target(trial, build, interface, image)))
            machine = stack.enter_context(guest.linux(cache, folder, tap, kib=kib, work="load", rounds=rounds))
            if trial.kill:
                machine.wait_for("RESULT round 1")
                targets[-1].kill(signal.SIGKILL)
                targets[-1].wait()
                targets.append(stack.enter_context(start_target(trial, build, interface, image)))
            machine.wait(TRIAL_SECONDS)
            console = machine.console()
            seen = guest.results(console)
            assert seen.get("all") == "well", console
            assert int(seen["checked"]) == 4 * rounds and seen["readonly"] == "0", seen
            assert targets[-1].alive, targets[-1].said()
            if bridge:
                bridge.kill(signal.SIGUSR1)
                wait_until(lambda: " drop " in bridge.output(), what="something was lost")
        check = run(["e2fsck", "-f", "-n", image])
        assert check.returncode == 0, check.stdout
        watched(trial, build, folder)
        return seen
    finally:
        tap.close()


def perform_grown(trial, build, cache, folder, kib=96, rounds=2):
    """The target ends, its image grows, and it is back: the guest asks again and uses all of it."""
    del rounds
    image = new_image(folder / "disk")
    tap = guest.Tap(trial.mtu)
    try:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(start_target(trial, build, tap.name, image))
            machine = stack.enter_context(guest.linux(cache, folder, tap, kib=kib, work="grown"))
            machine.wait_for("RESULT grow me")
            assert first.end() == 0, first.said()
            with image.open("r+b") as file:
                file.truncate(2 * IMAGE_MIB << 20)
            stack.enter_context(start_target(trial, build, tap.name, image))
            machine.wait(TRIAL_SECONDS)
            seen = guest.results(machine.console())
            assert seen.get("all") == "well", machine.console()
            assert int(seen["grown"]) == 2 * IMAGE_MIB << 11, seen
            assert seen["wrote"] == seen["old"] == seen["new"], seen
        with image.open("rb") as file:
            old = file.read(kib << 10)
            file.seek(IMAGE_MIB << 20)
            assert file.read(kib << 10) == old
            assert hashlib.sha256(old).hexdigest() == seen["wrote"]
        return seen
    finally:
        tap.close()


def perform_both(trial, build, cache, folder, kib=96, rounds=2):
    """A guest with two cards, each with a target of its own behind it."""
    del rounds
    shelves = (1, 2)
    taps = [guest.Tap(trial.mtu) for _ in shelves]
    try:
        with contextlib.ExitStack() as stack:
            images = [new_image(folder / f"disk{shelf}") for shelf in shelves]
            for shelf, tap, image in zip(shelves, taps, images):
                stack.enter_context(start_target(trial, build, tap.name, image, shelf))
            machine = guest.linux(cache, folder, taps[0], kib=kib, other_tap=taps[1], work="both", other="e2.1")
            stack.enter_context(machine).wait(TRIAL_SECONDS)
            seen = guest.results(machine.console())
            assert seen.get("all") == "well", machine.console()
        for shelf, image in zip(shelves, images):
            with image.open("rb") as file:
                there = hashlib.sha256(file.read(kib << 10)).hexdigest()
            assert there == seen[f"wrote.e{shelf}.1"] == seen[f"reread.e{shelf}.1"], (shelf, there, seen)
        assert seen["wrote.e1.1"] != seen["wrote.e2.1"], seen
        return seen
    finally:
        for tap in taps:
            tap.close()


# By what the guest does.
PERFORM = {"load": perform, "grown": perform_grown, "both": perform_both}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build")
    parser.add_argument("--cache", type=pathlib.Path, default=PROJECT / "build" / "guest")
    parser.add_argument("--only", default="", help="trials whose name has this in it")
    parser.add_argument("--kib", type=int, default=512, help="of each file (default 512)")
    parser.add_argument("--rounds", type=int, default=3, help="of four files each (default 3)")
    options = parser.parse_args()
    trials = [trial for trial in TRIALS if options.only in trial.name]
    if not trials:
        parser.error(f"--only {options.only}: there are: {'; '.join(trial.name for trial in TRIALS)}")
    net.enter_namespace()
    bad = 0
    for trial in trials:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="aoe-interop.") as name:
            try:
                kib = options.kib // 4 if trial.bridge else options.kib
                PERFORM[trial.work](trial, options.build.resolve(), options.cache.resolve(), pathlib.Path(name), kib, options.rounds)
                said = "well"
            except AssertionError as error:
                bad += 1
                said = f"NOT WELL\n{error}"
        print(f"{trial.name}: {said} ({time.monotonic() - begin:.0f} s)", flush=True)
    print(f"{len(trials) - bad} of {len(trials)} trials are well")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
