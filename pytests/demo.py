#!/usr/bin/python3
"""What a late copy of a write does to a file, and what the AoEde extensions do against it: demo.py [--build DIR] [--keep DIR]

One wire, one target, one rule on the wire: of every write to a file's sectors a copy is kept, and let go when a newer
write to them was answered. Three initiators work on that wire: the Linux kernel's own aoe driver in a virtual machine,
this project's initiator without extensions, and the same with tag_inc_be. Each replaces the file twice. Exits 0 only
when the file was damaged without the extension and not with it.
"""

import argparse
import contextlib
import hashlib
import pathlib
import re
import sys
import tempfile

import guest
import net
from programs import AoeTarget, Program, run, wait_until

PROJECT = pathlib.Path(__file__).resolve().parent.parent
FILE_KIB = 32
IMAGE_MIB = 8
BLOCK_BYTES = 4096
SECTOR_BYTES = 512


def edition(words, size):
    return (words + "\n").encode() * (size // len(words) + 1)


def editions():
    size = FILE_KIB << 10
    return [
        edition(words, size)[:size]
        for words in ("the first edition", "the second edition", "the third edition, which was acknowledged last")
    ]


def make_image(folder):
    """An ext4 image with one file, and the file's first sector. Its blocks stand in one row."""
    (folder / "tree").mkdir()
    (folder / "tree" / "letter").write_bytes(editions()[0])
    image = folder / "disk.ext4"
    image.write_bytes(bytes(IMAGE_MIB << 20))
    done = run(["mke2fs", "-q", "-t", "ext4", "-b", BLOCK_BYTES, "-O", "^has_journal", "-d", folder / "tree", image])
    assert done.returncode == 0, done.stderr
    blocks = [int(word) for word in run(["debugfs", "-R", "blocks /letter", image]).stdout.split()]
    assert len(blocks) == (FILE_KIB << 10) // BLOCK_BYTES, blocks
    assert blocks == list(range(blocks[0], blocks[0] + len(blocks))), "the file's blocks stand in one row"
    return image, blocks[0] * BLOCK_BYTES // SECTOR_BYTES


def file_on(image):
    """The file as it is on the disk, read without any network."""
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name) / "letter"
        done = run(["debugfs", "-R", f"dump /letter {out}", image])
        return out.read_bytes() if out.exists() else done.stderr.encode()


class Bridge(Program):
    def __init__(self, build, near, far, capture, lba):
        super().__init__(
            [
                build / "bin" / "aoe-sim", "bridge", "--a", near, "--b", far, "--pcap", capture,
                "--rule", "hold-write-copies", "--rule-sectors", f"{lba}:{(FILE_KIB << 10) // SECTOR_BYTES}",
            ]
        )  # fmt: skip
        wait_until(lambda: "bridging" in self.output() or not self.alive, what="the bridge says that it is there")
        assert self.alive, self.said()

    def copies(self):
        found = re.findall(r"^a>t .* copied (\d+)", self.output(), re.MULTILINE)
        return int(found[-1]) if found else 0


class Outcome:
    """What became of the file under one initiator."""

    def __init__(self, name, image, copies, capture, seen=None):
        self.name, self.copies, self.capture, self.seen = name, copies, capture, seen
        self.content = file_on(image)

    @property
    def intact(self):
        return self.content == editions()[-1] and self.seen in (None, True)

    def lines(self):
        counts = {}
        for line in self.content.decode(errors="replace").splitlines():
            counts[line] = counts.get(line, 0) + 1
        return ", ".join(f"{count} x {line!r}" for line, count in sorted(counts.items(), key=lambda x: -x[1])[:3])


def under_rule(build, folder, near, image, lba, work):
    """Target and bridge around work(); what the bridge let go."""
    link = net.Link(1500)
    capture = folder / "seen"
    try:
        options = ["--interface", link.target_end, "--shelf", 1, "--slot", 1, image]
        with AoeTarget(build / "bin" / "aoe-target", *options) as target:
            with Bridge(build, near, link.host_end, capture, lba) as bridge:
                seen = work()
                assert bridge.end() == 0, bridge.said()
                assert target.end() == 0, target.said()
                return bridge.copies(), folder / "seen.b.pcap", seen
    finally:
        link.close()


def with_linux(build, cache, folder):
    image, lba = make_image(folder)
    tap = guest.Tap(1500)
    try:

        def work():
            with guest.linux(cache, folder, tap, work="editions") as machine:
                machine.wait(guest.BOOT_SECONDS)
                results = guest.results(machine.console())
                assert "reread" in results, machine.console()
                return results["reread"] == results["wrote"]

        copies, capture, seen = under_rule(build, folder, tap.name, image, lba, work)
        return Outcome("the Linux driver, plain AoE", image, copies, capture, seen)
    finally:
        tap.close()


def with_ours(build, folder, *extensions):
    image, lba = make_image(folder)
    near = net.Link(1500)
    try:
        program = build / "bin" / "aoe-initiator"
        where = ["-i", near.host_end, "--shelf", 1, "--slot", 1, *extensions]

        def work():
            for number, content in enumerate(editions()[1:]):
                path = folder / f"edition{number}"
                path.write_bytes(content)
                done = run([program, "write", *where, "--lba", lba, path])
                assert done.returncode == 0, done.stderr
            # The copies are let go with the last answer; the bridge and the target take them in order.
            return run([program, "verify", *where, "--lba", lba, path]).returncode == 0

        copies, capture, seen = under_rule(build, folder, near.target_end, image, lba, work)
        name = "aoe-initiator, " + ("tag_inc_be" if extensions else "plain AoE")
        return Outcome(name, image, copies, capture, seen)
    finally:
        near.close()


def judged(build, capture):
    """The lines of aoe-pcap judge that name late copies."""
    out = run([build / "bin" / "aoe-pcap", "judge", capture]).stdout
    return [line.strip() for line in out.splitlines() if "late copies of writes" in line or "late copy of an older" in line]


def history(build, capture):
    """What aoe-pcap history says of the same, where there is one."""
    tool = build / "bin" / "aoe-pcap"
    if run([tool, "history", "--help"]).returncode != 0:
        return []
    out = run([tool, "history", capture]).stdout
    return [line.strip() for line in out.splitlines() if re.search("stale|late copy|older", line)]


def outcomes(build, cache, folder):
    for name in ("linux", "plain", "tags"):
        (folder / name).mkdir()
    yield with_linux(build, cache, folder / "linux")
    yield with_ours(build, folder / "plain")
    yield with_ours(build, folder / "tags", "--extensions", "tag_inc_be", "--require-extensions")


def proven(found):
    """Damaged without, intact with, and copies were let go in every run."""
    linux, plain, tags = found
    return all(o.copies > 0 for o in found) and not linux.intact and not plain.intact and tags.intact


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build")
    parser.add_argument("--cache", type=pathlib.Path, default=PROJECT / "build" / "guest")
    parser.add_argument("--keep", type=pathlib.Path, help="keep images and captures here")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if options.keep:
            folder = options.keep.resolve()
            folder.mkdir(parents=True)
        else:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        net.enter_namespace()
        print("Each replaces a file twice, on one wire: a copy of every write to it is let go when a newer one was answered.")
        found = []
        for outcome in outcomes(options.build.resolve(), options.cache.resolve(), folder):
            found.append(outcome)
            print(f"\n{outcome.name}: {outcome.copies} late copies, the file is {'intact' if outcome.intact else 'DAMAGED'}")
            print(f"  in the file      {outcome.lines()}")
            lines = judged(options.build, outcome.capture)
            print(f"  aoe-pcap judge   {lines[-1] if lines else 'no late copy seen'}")
            for line in lines[:1] if len(lines) > 1 else []:
                print(f"                   {line}")
            for line in history(options.build, outcome.capture)[:2]:
                print(f"  aoe-pcap history {line}")
    good = proven(found)
    print(f"\n{'Damaged without the extension, intact with it.' if good else 'NOT what was to be shown.'}")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(5)
