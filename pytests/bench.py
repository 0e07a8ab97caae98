#!/usr/bin/python3
"""How fast targets are, as shares of what the wire itself lets through: bench.py [OPTIONS]

One veth pair, one load generator (aoe-initiator bench, no extensions), and in each round every target in turn: a reflector
that has no disk (the ceiling), the reference in its modes, Debian's vblade, and whatever --against names. A figure is the
median over the rounds of a target's requests a second divided by the reflector's of the same round, with the least and the
greatest; beside it the target's processor time a request. Absolute numbers of a busy machine say nothing; these say little
less when nothing else runs.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import statistics
import sys
import tempfile

import net
from programs import Program, run, wait_until

PROJECT = pathlib.Path(__file__).resolve().parent.parent
IMAGE_MIB = 256
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")

# MTU, operation, pattern, sectors a request, outstanding.
ROWS = [
    (1500, "read", "random", 2, 1),
    (1500, "read", "random", 2, 16),
    (1500, "read", "random", 2, 64),
    (1500, "write", "random", 2, 16),
    (1500, "read", "sequential", 2, 16),
    (1500, "write", "sequential", 2, 16),
    (9000, "read", "random", 8, 16),
    (9000, "write", "random", 8, 16),
    (9000, "read", "sequential", 16, 32),
    (9000, "write", "sequential", 16, 32),
]
FULL_ROWS = [
    (mtu, operation, pattern, sectors, outstanding)
    for mtu, sizes in ((1500, (2,)), (9000, (2, 8, 17)))
    for operation in ("read", "write")
    for pattern in ("random", "sequential")
    for sectors in sizes
    for outstanding in (1, 16, 64)
]


def commands(build, against):
    """Name -> command with {iface} {shelf} {slot} {image}. The reflector comes first: it is what the others are held against."""
    ours = f"{build}/bin/aoe-target --interface {{iface}} --shelf {{shelf}} --slot {{slot}} --log-level warn"
    found = {
        "reflector": f"{build}/bin/aoe-reflector {{shelf}} {{slot}} {{iface}}",
        "aoe-target": f"{ours} {{image}}",
        "aoe-target --write-cache": f"{ours} --write-cache {{image}}",
        "aoe-target --direct": f"{ours} --direct {{image}}",
        "aoe-target --direct --write-cache": f"{ours} --direct --write-cache {{image}}",
        "vblade": "/usr/sbin/vblade -b 64 {shelf} {slot} {iface} {image}",
    }
    for number, command in enumerate(against):
        found[f"against {number + 1}" if len(against) > 1 else "against"] = command
    return found


# The disk's own ceiling, by fio: what it is called, its options, and the row and the targets that are held against it. Groups of 16
# writes that share one sync are what 16 outstanding durable writes can be made of.
FIO = [
    ("random writes, one fdatasync each 16", "--rw=randwrite --ioengine=psync --fdatasync=16", (1500, "write", "random", 2, 16),
     ("aoe-target", "aoe-target --direct")),
    ("random reads, libaio, O_DIRECT, depth 64", "--rw=randread --ioengine=libaio --direct=1 --iodepth=64", (1500, "read", "random", 2, 64),
     ("aoe-target --direct",)),
]


def fio_rate(image, options, seconds):
    """Operations of 1 KiB a second on the image itself; None without fio."""
    words = ["fio", "--name=ceiling", f"--filename={image}", "--bs=1k", f"--size={IMAGE_MIB}m", "--time_based"]
    if not shutil.which("fio"):
        return None
    done = run([*words, f"--runtime={seconds}", "--output-format=json", *options.split()], seconds=seconds + 60)
    if done.returncode != 0:
        print(f"bench: fio: {done.stderr.strip()}", file=sys.stderr)
        return None
    (job,) = json.loads(done.stdout)["jobs"]
    return max(job["read"]["iops"], job["write"]["iops"])


def make_alike(image, direct):
    """Everybody finds the disk at rest, and the page cache with the whole image in it; whoever goes past it finds it empty."""
    with open(image, "rb+") as file:
        os.fsync(file.fileno())
        if direct:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while file.read(1 << 20):
                pass


def processor_us(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


class Bench:
    def __init__(self, build, image, seconds, extensions):
        self.build, self.image, self.seconds, self.extensions = build, image, seconds, extensions

    def ask(self, link, *options):
        words = [self.build / "bin" / "aoe-initiator", *options[:1], "-i", link.host_end, "--shelf", 1, "--slot", 1]
        return run([*words, *options[1:]], seconds=self.seconds + 60)

    def measure(self, link, command, rows):
        """[(requests a second, the target's processor time a request)], None for what it could not do."""
        words = [
            word.format(iface=link.target_end, shelf=1, slot=1, image=self.image) for word in shlex.split(command)
        ]
        found = []
        make_alike(self.image, "--direct" in words)
        with Program(words) as target:
            wait_until(
                lambda: not target.alive or self.ask(link, "info", "--connect-timeout", 0.5).returncode == 0,
                what=f"an answer from {words[0]}",
            )
            assert target.alive, target.said()
            for _, operation, pattern, sectors, outstanding in rows:
                before = processor_us(target.pid)
                options = ["--operation", operation, "--pattern", pattern, "--sectors", sectors]
                options += ["--outstanding", outstanding, "--seconds", self.seconds, "--json"]
                options += ["--range", f"0:{(IMAGE_MIB << 11) - 64}"]
                if self.extensions and "aoe-reflector" not in command:
                    options += ["--extensions", self.extensions]
                done = self.ask(link, "bench", *options)
                told = json.loads(done.stdout) if done.returncode == 0 else None
                if not told or not told["requests"]:
                    print(f"bench: {command}: {operation}: {done.stderr.strip()}", file=sys.stderr)
                    found.append(None)
                    continue
                spent = (processor_us(target.pid) - before) / told["requests"]
                found.append((told["requests_per_second"], spent))
            target.end()
        return found


def table(rows, names, results):
    """Markdown. results[name][row] is a list, one (rate, processor time) or None for each round."""
    lines = ["| MTU, load | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for number, (mtu, operation, pattern, sectors, outstanding) in enumerate(rows):
        cells = []
        for name in names:
            pairs = [
                (mine, ceiling)
                for mine, ceiling in zip(results[name][number], results["reflector"][number])
                if mine and ceiling
            ]
            if not pairs:
                cells.append("-")
                continue
            shares = [mine[0] / ceiling[0] for mine, ceiling in pairs]
            spent = statistics.median(mine[1] for mine, _ in pairs)
            if name == "reflector":
                cells.append(f"{statistics.median(mine[0] for mine, _ in pairs) / 1000:.0f}k/s, {spent:.1f} us")
            else:
                cells.append(f"{statistics.median(shares):.2f} ({min(shares):.2f}-{max(shares):.2f}), {spent:.1f} us")
        lines.append(f"| {mtu} {pattern} {operation} {sectors / 2:g} KiB x{outstanding} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fio_table(rows, results, ceilings):
    """Markdown: each target's median share of what fio reached on the image in the same round."""
    lines = ["| fio on the image | fio | target | share |", "| --- | --- | --- | --- |"]
    for (what, _, row, names), reached in zip(FIO, ceilings):
        for name in names:
            if row not in rows or name not in results:
                continue
            pairs = [(mine[0], most) for mine, most in zip(results[name][rows.index(row)], reached) if mine and most]
            if pairs:
                shares = [mine / most for mine, most in pairs]
                median = statistics.median(most for _, most in pairs)
                lines.append(
                    f"| {what} | {median / 1000:.1f}k/s | {name} | {statistics.median(shares):.2f} ({min(shares):.2f}-{max(shares):.2f}) |"
                )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build")
    parser.add_argument("--against", action="append", default=[], help="one more target: a command with {iface} {shelf} {slot} {image}")
    parser.add_argument("--targets", default="", help="only these of the table, by name, with commas (the reflector always)")
    parser.add_argument("--full", action="store_true", help="random and sequential, all sizes, 1, 16 and 64 outstanding")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--extensions", default="", help="that the load asks the targets for, not the reflector")
    parser.add_argument("--image-dir", default="/var/tmp", help="a folder on the disk that is meant (default /var/tmp)")
    parser.add_argument("--json", type=pathlib.Path, help="every figure, too")
    options = parser.parse_args()
    build = options.build.resolve()
    targets = commands(build, options.against)
    if options.targets:
        wanted = ["reflector", *options.targets.split(",")]
        unknown = [name for name in wanted if name not in targets]
        if unknown:
            parser.error(f"--targets {unknown[0]}: there are {', '.join(targets)}")
        targets = {name: command for name, command in targets.items() if name in wanted}
    for command in options.against:
        if "{iface}" not in command:
            parser.error(f"--against '{command}': a command with {{iface}} {{shelf}} {{slot}} {{image}} in it")
    rows = FULL_ROWS if options.full else ROWS
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds: more than nothing")
    net.enter_namespace()
    results = {name: [[] for _ in rows] for name in targets}
    ceilings = [[] for _ in FIO]
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.NamedTemporaryFile(dir=options.image_dir, prefix="aoe-bench."))
        for _ in range(IMAGE_MIB):  # no holes: a hole is read faster than a disk
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        bench = Bench(build, file.name, options.seconds, options.extensions)
        for mtu in sorted({row[0] for row in rows}):
            link = net.Link(mtu)
            stack.callback(link.close)
            at = [number for number, row in enumerate(rows) if row[0] == mtu]
            for number in range(options.rounds):
                for name, command in targets.items():
                    print(f"bench: MTU {mtu}, round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
                    for row, figure in zip(at, bench.measure(link, command, [rows[row] for row in at])):
                        results[name][row].append(figure)
                if mtu == FIO[0][2][0]:
                    for (what, words, _, _), reached in zip(FIO, ceilings):
                        print(f"bench: round {number + 1} of {options.rounds}: fio, {what}", file=sys.stderr)
                        make_alike(file.name, True)
                        reached.append(fio_rate(file.name, words, options.seconds))
    print(f"Shares of the reflector: median of {options.rounds} rounds (least-greatest), and the target's processor time a request.")
    if options.extensions:
        print(f"The load asks for {options.extensions}.")
    print()
    print(table(rows, list(targets), results))
    if any(any(reached) for reached in ceilings):
        print()
        print(fio_table(rows, results, ceilings))
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "results": results, "fio": ceilings}, indent=1))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(5)
