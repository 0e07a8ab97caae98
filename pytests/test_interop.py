"""A short form of interop.py: a file system of the Linux driver's own making survives a target that is killed, and a wire
that loses, doubles and delays; two targets on two interfaces.
"""

import pytest

import interop

SHORT = [
    "ext4, the target killed with -9 and back",
    "ext4 through loss, delays and duplicates, newest write last",
    "two targets on two interfaces",
]

pytestmark = pytest.mark.timeout(interop.TRIAL_SECONDS + 60)


@pytest.mark.parametrize("name", SHORT)
def test_linux_keeps_its_data(build, guest_cache, tmp_path, namespace, name):
    for program in ("aoe-target", "aoe-sim"):
        if not (build / "bin" / program).exists():
            pytest.skip(f"not built: {program}")
    if not (guest_cache / "modules" / "order").exists():
        pytest.skip(f"no guest kernel in {guest_cache}: run pytests/guest/fetch {guest_cache}")
    (trial,) = [trial for trial in interop.TRIALS if trial.name == name]
    interop.PERFORM[trial.work](trial, build, guest_cache, tmp_path, kib=64, rounds=2)
