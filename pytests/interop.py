#!/usr/bin/python3
"""The Linux kernel's own aoe driver on a hostile day: interop.py [--build DIR] [--only WORD] [--kib N] [--rounds N]

A guest makes an ext4 file system on a target, four writers at a time fill it, what was synced is compared past the cache,
and e2fsck looks at the image from outside. Over both MTUs, with the target killed in the middle and back, through a wire
that loses, doubles and delays (but lets no older write pass a newer one, against which plain AoE has nothing), and the same
with vblade. One line a trial; exits 0 only when all of them are well.
"""

import argparse
import contextlib
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
TRIAL_SECONDS = 240


class Trial:
    """One target, one wire, one guest."""

    def __init__(self, name, mtu=1500, target="aoe-target", options=(), bridge=False, kill=False):
        self.name, self.mtu, self.target, self.options = name, mtu, target, list(options)
        self.bridge, self.kill = bridge, kill


TRIALS = [
    Trial("ext4 at MTU 1500"),
    Trial("ext4 at MTU 9000", mtu=9000),
    Trial("ext4, the target killed with -9 and back", kill=True),
    Trial("ext4, --write-cache, killed with -9 and back", options=["--write-cache"], kill=True),
    Trial("ext4 through loss, delays and duplicates, newest write last", bridge=True),
    Trial("ext4 through the same at MTU 9000", mtu=9000, bridge=True),
    Trial("ext4 through the same, killed with -9 and back", bridge=True, kill=True),
    Trial("vblade, ext4 at MTU 1500", target="vblade"),
    Trial("vblade, ext4 through loss, delays and duplicates, newest write last", target="vblade", bridge=True),
]


def start_target(trial, build, interface, image):
    if trial.target == "vblade":
        return Program(["vblade", 1, 1, interface, image])
    words = ["--interface", interface, "--shelf", 1, "--slot", 1, *trial.options, image]
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
        rates.write_text(HOSTILE)
        words = [build / "bin" / "aoe-sim", "bridge", "--a", tap.name, "--b", link.host_end, "--profile", rates]
        words += ["--seed", 3, "--rule", "newest-write-last", "--record", folder / "record.sim"]
        with Program(words) as bridge:
            wait_until(lambda: "bridging" in bridge.output() or not bridge.alive, what="the bridge")
            yield link.target_end, bridge
            assert bridge.end() == 0, bridge.said()
    finally:
        link.close()


def perform(trial, build, cache, folder, kib=96, rounds=2):
    """What the guest saw; raises AssertionError when anything is not as it was promised."""
    image = folder / "disk"
    with image.open("wb") as file:
        file.truncate(IMAGE_MIB << 20)
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
        return seen
    finally:
        tap.close()


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
                perform(trial, options.build.resolve(), options.cache.resolve(), pathlib.Path(name), kib, options.rounds)
                said = "well"
            except AssertionError as error:
                bad += 1
                said = f"NOT WELL\n{error}"
        print(f"{trial.name}: {said} ({time.monotonic() - begin:.0f} s)", flush=True)
    print(f"{len(trials) - bad} of {len(trials)} trials are well")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
