"""aoe-conformance on links that are not what they should be: unequal MTUs, an interface that goes down, and signals in
the middle of it. No call of it may wait or spin for ever there, and no such link is the target's fault.
"""

import signal
import time

import pytest

import net
from programs import wait_until
from test_conformance_cli import EVERYTHING, asked_much, disk, reference, suite  # noqa: F401  (fixtures)

# What must be over "at once" is given this on a busy machine; without an end it would take for ever.
SOON_SECONDS = 8


@pytest.mark.parametrize("mtu", [9000], indirect=True)
def test_frames_that_a_smaller_mtu_swallows_are_lost_and_the_run_ends(suite, link, reference):
    net.ip(f"link set {link.target_end} mtu 1500")
    done = suite.run(link, "--case", "config.length.*", "--allow", EVERYTHING, seconds=120)
    counted = suite.reports().verdicts()
    assert done.returncode not in (-signal.SIGKILL, 5), done
    assert counted["error"] == 0
    assert sum(counted.values()) > 5


def test_an_interface_that_goes_down_is_told_and_a_signal_ends_the_run(suite, link, reference):
    with suite.start(link, "--case", "ata.*", "--case", "config.*", "--allow", EVERYTHING) as running:
        wait_until(lambda: asked_much(reference), what="the suite asks")
        net.ip(f"link set {link.host_end} down")
        time.sleep(0.5)
        running.kill(signal.SIGTERM)
        running.wait(10 + SOON_SECONDS)
    assert not suite.reports().json["complete"]


def test_a_second_signal_ends_it_at_once(suite, link, reference):
    with suite.start(link, "--case", "ata.*", "--case", "config.*", "--allow", EVERYTHING) as running:
        wait_until(lambda: asked_much(reference), what="the suite asks")
        reference.kill(signal.SIGSTOP)  # putting back cannot go on
        try:
            running.kill(signal.SIGTERM)
            time.sleep(0.5)
            assert running.alive, "one signal lets it put back"
            running.kill(signal.SIGTERM)
            began = time.monotonic()
            assert running.wait(SOON_SECONDS) == 128 + signal.SIGTERM
            assert time.monotonic() - began < SOON_SECONDS
            assert "second signal" in running.errors()
        finally:
            reference.kill(signal.SIGCONT)
