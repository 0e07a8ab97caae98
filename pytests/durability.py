#!/usr/bin/python3
"""What was promised is there after a crash: durability.py [--only WORD] [--cycles N] [--seed N]

aoe-target serves an image on an ext4 file system on a disk of ours (careless_disk.py). A cycle: one who writes stamps is cut off
by `kill -9` of the target, or by a power cut of the disk under the file system: of what no flush covered a random part is left.
The target starts again, on what is there, and every sector is read and held against what was acknowledged. The same for the
config string and the mask list. What counts as acknowledged is what the mode promises: with --durability write every write that
was answered, with flush what a flush that was answered covers, and all that was answered where only the process died and the
page cache was written to. At the end two trials in which the check has to fail: a disk that lies about flushes, and a power cut before
a flush. Needs root, for the file system.
"""

import argparse
import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import aoe_layers as aoe
import net
from aoe_layers import AoeConfig
from dialogue import Initiator, judge_done
from programs import AoeTarget, Program, run, wait_until

PROJECT = pathlib.Path(__file__).resolve().parent.parent
DISK_MIB, IMAGE_SECTORS = 48, 16 << 11
USED = "0:4096"  # sectors that are written: few enough to be read again in no time
STATION, TROUBLE = "02:00:00:00:0d:01", 5
ADD, DELETE = 1, 2  # directives of the mask list


class Disk:
    """The careless disk with its file system, mounted in this process's own mount namespace."""

    def __init__(self, folder, lies=False):
        """A disk that lies has no file system, which would be lost with the rest."""
        self.folder, self.bare = folder, lies
        self.place, self.mounted = folder / "fuse", folder / "fs"
        self.place.mkdir()
        self.mounted.mkdir()
        self.socket, self.control = folder / "nbd", folder / "control"
        words = ["nbdkit", "-f", "-U", self.socket, "python", PROJECT / "pytests" / "careless_disk.py"]
        words += [f"size={DISK_MIB << 20}", f"control={self.control}", f"lies={int(lies)}"]
        self.server = Program(words)
        wait_until(lambda: self.control.exists() or not self.server.alive, what="the disk's control socket")
        assert self.server.alive, self.server.said()
        self.fuse = None
        self._attach()
        if not self.bare:
            done = run(["mkfs.ext4", "-q", "-F", self.place / "nbd"])
            assert done.returncode == 0, done.stderr
            self._mount()

    def _attach(self):
        self.fuse = Program(["nbdfuse", self.place / "nbd", f"nbd+unix:///?socket={self.socket}"])
        wait_until(lambda: (self.place / "nbd").exists() or not self.fuse.alive, what="nbdfuse has mounted")
        assert self.fuse.alive, self.fuse.said()

    def _detach(self):
        """Takes the kernel's memory of it along."""
        wait_until(lambda: run(["umount", self.place]).returncode == 0, what="nobody uses the disk")
        self.fuse.end()
        self.fuse.close()

    def _mount(self):
        done = run(["mount", "-o", "loop", self.place / "nbd", self.mounted])
        assert done.returncode == 0, done.stderr

    def ask(self, line):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.control))
            asking.sendall(f"{line}\n".encode())
            assert asking.makefile().readline() == "ok\n", line

    def lose_power(self, seed):
        self.ask(f"cut {seed}")
        if not self.bare:
            wait_until(lambda: run(["umount", self.mounted]).returncode == 0, what="nobody uses the file system")
        self._detach()
        self.ask("on")
        self._attach()
        if not self.bare:
            self._mount()

    def close(self):
        if self.fuse is None:
            return
        if not self.bare:
            subprocess.run(["umount", self.mounted], check=False, capture_output=True, timeout=60)
        with contextlib.suppress(AssertionError):
            self._detach()
        self.server.end()
        self.server.close()


class Ground:
    def __init__(self, build, folder, lies=False):
        self.build, self.folder = build, folder
        self.link = net.Link(1500)
        self.disk = Disk(folder, lies)
        self.state = (folder if lies else self.disk.mounted) / "state"
        self.state.mkdir()
        self.image = self.disk.place / "nbd" if lies else self.disk.mounted / "image"
        if lies:
            return
        with self.image.open("wb") as file:
            for _ in range(IMAGE_SECTORS >> 11):  # no holes: what a write allocates is the file system's durability, not ours
                file.write(bytes(1 << 20))
        subprocess.run(["sync", "-f", self.disk.mounted], check=True)

    def close(self):
        self.disk.close()
        self.link.close()

    @contextlib.contextmanager
    def target(self, options):
        words = ["--interface", self.link.target_end, "--shelf", 1, "--slot", 1, "--log-level", "error"]
        with AoeTarget(self.build / "bin" / "aoe-target", *words, "--state-dir", self.state, *options, self.image) as target:
            yield target

    def words(self, command, ledger):
        return [self.build / "bin" / "aoe-initiator", command, "-i", self.link.host_end, "--shelf", 1, "--slot", 1, "--ledger", ledger]

    def crash(self, target, power, seed):
        target.kill(signal.SIGKILL)
        target.wait()
        if power:
            self.disk.lose_power(seed)


class Trial:
    """`options`: of the target. `flushed`: it is what a flush covers that must be there. `loses`: nothing keeps the promise, and
    that must be found; `lies`: because the disk does not."""

    def __init__(self, name, options, power, flushed=False, loses=False, lies=False):
        self.name, self.options, self.power, self.flushed = name, options, power, flushed
        self.loses, self.lies = loses, lies

    def perform(self, ground, cycles, choose):
        """(writes that were answered, [what was wrong])."""
        ledger, written, wrong = ground.folder / "ledger", 0, []
        ledger.unlink(missing_ok=True)
        for number in range(cycles):
            with ground.target(self.options) as target:
                filling = [*ground.words("fill", ledger), "--range", USED, "--seed", choose.randrange(1 << 30)]
                length = 0.03 + choose.random() * 0.15
                if self.flushed:
                    done = run([*filling, "--seconds", length], seconds=60)
                    assert done.returncode == 0, done.stdout + done.stderr
                    written += writes_in(done.stdout)
                    asking = Initiator(net.Host(ground.link.host_end, STATION), net.mac_of(ground.link.target_end), 1, 1)
                    with contextlib.closing(asking.host):
                        judge_done(asking.ata(aoe.FLUSH))
                    ground.crash(target, self.power, number)
                else:
                    with Program([*filling, "--seconds", 60, "--give-up", 0.1]) as writer:
                        time.sleep(length)  # the length of the cycle is what is drawn
                        ground.crash(target, self.power, number)
                        writer.wait(60)
                        written += writes_in(writer.output())
            if not ledger.exists():
                continue  # the target was gone before the writer had found it
            with ground.target(self.options):
                done = run(ground.words("check", ledger), seconds=60)
            if done.returncode != 0:
                wrong.append(f"cycle {number}: {done.stdout}{done.stderr}")
                ledger.unlink()  # what is lost is told once
        return written, wrong


def writes_in(said):
    """Of what fill says at its end; nothing when the target was gone before it had found it."""
    return int(said.split(" writes acknowledged")[0]) if said else 0


class StateTrial:
    """The config string and the mask list, changed all the time; what was answered is there after the crash."""

    def __init__(self, name, power):
        self.name, self.power = name, power
        self.loses = self.lies = False

    def perform(self, ground, cycles, choose):
        """(changes that were answered, [what was wrong])."""
        changes, wrong = 0, []
        asking = Initiator(net.Host(ground.link.host_end, STATION), net.mac_of(ground.link.target_end), 1, 1)
        listed = "02:00:00:00:0e:%02x"
        with contextlib.closing(asking.host):
            for number in range(cycles):
                said = masked = None  # the last that was answered
                with ground.target([]) as target:
                    asking.mask((ADD, STATION))
                    for change in range(choose.randrange(1, 12)):
                        said = b"%d.%d" % (number, change)
                        asking.config(AoeConfig.FORCE, said)
                        masked = listed % (change % 250)
                        asking.mask((ADD, masked))
                        changes += 2
                    asking.host.send(asking.frame(AoeConfig(ccmd=AoeConfig.FORCE, string=b"in flight"), aoe.CMD_CONFIG))
                    ground.crash(target, self.power, number)
                with ground.target([]):
                    found = asking.config_string()
                    if found not in (said, b"in flight"):
                        wrong.append(f"cycle {number}: the config string is {found}, and {said} was answered")
                    macs = asking.mask_list()
                    if masked not in macs or STATION not in macs:
                        wrong.append(f"cycle {number}: the mask list is {macs}, and {masked} was answered")
                    for mac in macs:
                        if mac != STATION:
                            asking.mask((DELETE, mac))
        return changes, wrong


TRIALS = [
    Trial("write, kill -9", [], power=False),
    Trial("write, power cut", [], power=True),
    Trial("write --direct, kill -9", ["--direct"], power=False),
    Trial("write --direct, power cut", ["--direct"], power=True),
    Trial("flush, kill -9", ["--durability", "flush"], power=False),
    Trial("flush, power cut", ["--durability", "flush"], power=True, flushed=True),
    Trial("flush --direct, kill -9", ["--durability", "flush", "--direct"], power=False, flushed=True),
    Trial("flush --direct, power cut", ["--durability", "flush", "--direct"], power=True, flushed=True),
    StateTrial("state, kill -9", power=False),
    StateTrial("state, power cut", power=True),
    Trial("a disk that lies", [], power=True, loses=True, lies=True),
    Trial("a power cut before the flush", ["--durability", "flush"], power=True, loses=True),
]
CYCLES_THAT_LOSE = 10


def perform(trial, build, cycles, seed):
    with tempfile.TemporaryDirectory(prefix="aoe-durability.") as name:
        ground = Ground(build, pathlib.Path(name), trial.lies)
        with contextlib.closing(ground):
            return trial.perform(ground, cycles, random.Random(f"{trial.name} {seed}"))


def missing():
    """A program that this needs and that is not there; None."""
    plugins = run(["nbdkit", "--dump-plugin", "python"]).returncode if shutil.which("nbdkit") else 1
    if plugins != 0:
        return "nbdkit with its python plugin"
    return next((name for name in ("nbdfuse", "mkfs.ext4", "losetup") if not shutil.which(name)), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build")
    parser.add_argument("--only", default="", help="trials whose name has this in it")
    parser.add_argument("--cycles", type=int, default=300, help="of each trial (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.cycles < 1:
        parser.error("--cycles: at least 1")
    trials = [trial for trial in TRIALS if options.only in trial.name]
    if not trials:
        parser.error(f"--only {options.only}: there are: {'; '.join(trial.name for trial in TRIALS)}")
    if absent := missing():
        print(f"durability: {absent} is missing", file=sys.stderr)
        return 69
    if os.geteuid() != 0:
        print("durability: only root may mount the file system", file=sys.stderr)
        return 69
    net.enter_namespace()
    bad = 0
    for trial in trials:
        begin = time.monotonic()
        cycles = min(options.cycles, CYCLES_THAT_LOSE) if trial.loses else options.cycles
        amount, wrong = perform(trial, options.build.resolve(), cycles, options.seed)
        well = amount > 0 and bool(wrong) == trial.loses
        bad += not well
        if amount == 0:
            told = "NOTHING WAS WRITTEN"
        elif trial.loses:
            told = "found out" if well else "NOT FOUND OUT"
        else:
            told = f"{len(wrong)} CYCLES LOST SOMETHING" if wrong else "nothing lost"
        print(f"{trial.name}: {told} ({amount} answered, {time.monotonic() - begin:.0f} s)", flush=True)
        if wrong and not trial.loses:
            print("  " + wrong[0].replace("\n", "\n  "), flush=True)
    print(f"{len(trials) - bad} of {len(trials)} trials are well")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, OSError) as error:
        print(f"durability: {error}", file=sys.stderr)
        sys.exit(TROUBLE)
