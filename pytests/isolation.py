#!/usr/bin/python3
"""Whether a case's verdict depends on what ran before it: isolation.py [OPTIONS]

The whole suite against a target that it starts itself, in its own order and in a shuffled one; then each case alone, against a
target that was started for it with an image and a state of its own. One line for each case that did not come out the same,
and for each that a run left out; exits 0 only when there is none.
"""

import argparse
import collections
import json
import pathlib
import random
import sys
import tempfile
import time

import net
from programs import run
from wire import PROJECT, target_command

RUN_SECONDS = 900
CASE_SECONDS = 300


class Ground:
    def __init__(self, build, place, against, mtu, image_bytes):
        self.build, self.place, self.against, self.image_bytes = build, place, against, image_bytes
        self.link = net.Link(mtu)

    def verdicts(self, *words, seconds=RUN_SECONDS):
        """Case -> (verdict, reason) of a run against a target of its own."""
        with tempfile.TemporaryDirectory(dir=self.place) as name:
            folder = pathlib.Path(name)
            with (folder / "image").open("wb") as file:
                file.truncate(self.image_bytes)
            command = [self.build / "bin" / "aoe-conformance", "run", "--interface", self.link.host_end, "--shelf", 1]
            command += ["--slot", 1, "--target-interface", self.link.target_end, "--target-image", folder / "image"]
            command += ["--target-command", target_command(self.against, self.build, "{state}"), "--allow", "all"]
            command += ["--quiet", "--undo-file", folder / "undo", "--report-json", folder / "report.json", *words]
            if self.against == "aoe-target":
                command += ["--target-buffers", "--buffer-count {buffers}"]
            done = run(command, seconds=seconds)
            if not (folder / "report.json").exists():
                raise AssertionError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
            report = json.loads((folder / "report.json").read_text())
        return {case["id"]: (case["verdict"], case["reason"]) for case in report["cases"]}


def compare(name, told, alone, complain):
    for case, (verdict, reason) in sorted(alone.items()):
        if case not in told:
            complain(f"{case}: missing in {name}")
        elif told[case][0] != verdict:
            complain(f"{case}: {verdict} alone, {told[case][0]} in {name}\n      alone: {reason}\n      {name}: {told[case][1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build")
    parser.add_argument("--against", default="aoe-target", help="aoe-target (default), vblade, or a command with {iface} {shelf} {slot} {image} {state}")
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--case", action="append", default=[], help="cases by id; globs (default: all)")
    parser.add_argument("--sample", type=int, default=0, help="only so many cases, drawn with the seed (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the shuffled order and of the sample")
    parser.add_argument("--image-mib", type=int, default=160 << 10)
    options = parser.parse_args()
    net.enter_namespace()
    ground = Ground(options.build.resolve(), net.private_tmpfs([PROJECT, options.build, pathlib.Path.cwd()]), options.against, options.mtu, options.image_mib << 20)
    differences = []

    def complain(line):
        differences.append(line)
        print(f"  {line}", flush=True)

    try:
        chosen = [word for pattern in options.case for word in ("--case", pattern)]
        whole = {
            "the whole run": ground.verdicts(*chosen),
            f"order {options.seed}": ground.verdicts("--shuffle", options.seed, *chosen),
        }
        cases = sorted(name for name in whole["the whole run"] if not name.startswith("run."))
        if options.sample:
            cases = sorted(random.Random(options.seed).sample(cases, min(options.sample, len(cases))))
        began, alone = time.monotonic(), {}
        for number, case in enumerate(cases, 1):
            alone[case] = ground.verdicts("--case", case, seconds=CASE_SECONDS)[case]
            if sys.stderr.isatty() or number % 100 == 0:
                print(f"{number} of {len(cases)} alone, {time.monotonic() - began:.0f} s", file=sys.stderr)
    finally:
        ground.link.close()
    for name, told in whole.items():
        compare(name, told, alone, complain)
    counted = collections.Counter(verdict for verdict, _ in alone.values())
    print(f"{options.against}, MTU {options.mtu}: {len(alone)} cases alone ({', '.join(f'{n} {v}' for v, n in sorted(counted.items()))}); {len(differences)} came out otherwise in a whole run")
    return 1 if differences else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, OSError) as error:
        print(f"isolation: {error}", file=sys.stderr)
        sys.exit(5)
