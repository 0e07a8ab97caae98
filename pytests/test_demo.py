"""The demonstration holds: a late copy of a write damages a file of the Linux driver's, and of ours, and not under
tag_inc_be. And it says so when it does not hold.
"""

import pytest

import demo
import guest

pytestmark = pytest.mark.timeout(guest.BOOT_SECONDS + 60)


@pytest.fixture
def programs_built(build):
    for name in ("aoe-target", "aoe-sim", "aoe-initiator", "aoe-pcap"):
        if not (build / "bin" / name).exists():
            pytest.skip(f"not built: {name}")
    return build


def test_the_extension_keeps_a_file_that_plain_aoe_does_not(programs_built, guest_cache, tmp_path, namespace):
    if not (guest_cache / "modules" / "order").exists():
        pytest.skip(f"no guest kernel in {guest_cache}: run pytests/guest/fetch {guest_cache}")
    found = list(demo.outcomes(programs_built, guest_cache, tmp_path))
    assert [outcome.intact for outcome in found] == [False, False, True]
    assert all(outcome.copies > 0 for outcome in found)
    assert demo.proven(found)
    judged = [demo.judged(programs_built, outcome.capture)[-1] for outcome in found]
    assert " 0 not executed" in judged[0] and " 0 not executed" in judged[1], judged
    assert " 0 executed" in judged[2], judged
    assert found[0].content == demo.editions()[1], "what came late stands in the file"


class Told:
    def __init__(self, intact, copies=1):
        self.intact, self.copies = intact, copies


@pytest.mark.parametrize(
    "found",
    [
        [Told(True), Told(False), Told(True)],
        [Told(False), Told(True), Told(True)],
        [Told(False), Told(False), Told(False)],
        [Told(False), Told(False), Told(True, copies=0)],
    ],
)
def test_nothing_is_proven_by_less(found):
    assert not demo.proven(found)
