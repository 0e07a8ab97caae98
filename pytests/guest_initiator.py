#!/usr/bin/python3
"""The Linux kernel's aoe driver as a command for aoe-conformance initiator: guest_initiator.py CACHE TAP MTU SHELF SLOT LBA SECTORS IN OUT

Boots the guest on the tap, whose other end plays the target; it writes IN with an fsync, reads the sectors back past the cache, and says
on its console what became of it. Exits 0 when dd did. CACHE: what `guest/fetch` made.
"""

import base64
import pathlib
import re
import sys
import tempfile

import guest
from programs import run, wait_until

# The driver gives up after 180 s of silence; a case does not last that long.
DEAD_SECONDS = 20
GUEST_SECONDS = 3600  # the case has a bound of its own
FAILED, TROUBLE = 1, 5


class Tap:
    """One that is there already."""

    def __init__(self, name, mtu):
        self.name, self.mtu = name, mtu


def main():
    cache, tap, mtu, shelf, slot, lba, sectors, source, sink = sys.argv[1:]
    wait_until(lambda: "NO-CARRIER" in run(["ip", "link", "show", tap]).stdout, what=f"the guest before has left {tap}")
    with tempfile.TemporaryDirectory(prefix="aoe-guest.") as folder:
        machine = guest.linux(
            pathlib.Path(cache), folder, Tap(tap, int(mtu)), device=f"e{shelf}.{slot}", work="judged", files={"in": source},
            lba=lba, sectors=sectors, dead=DEAD_SECONDS,
        )  # fmt: skip
        with machine:
            machine.wait(GUEST_SECONDS)
            said = machine.console()
    seen = guest.results(said)
    print(said, file=sys.stderr)
    if seen.get("written") != "0" or seen.get("read") != "0":
        return FAILED
    # The kernel's own lines may stand in between.
    lines = re.search(r"BEGIN\n(.*?)END", said, re.DOTALL).group(1).splitlines()
    pathlib.Path(sink).write_bytes(base64.b64decode("".join(line for line in lines if re.fullmatch(r"[A-Za-z0-9+/=]+", line))))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AssertionError as error:
        print(error, file=sys.stderr)
        sys.exit(TROUBLE)
