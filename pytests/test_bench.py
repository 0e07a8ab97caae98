"""The bench measures what it says: its table from known figures, and one real row with a reflector that answers like a target."""
import shutil

import bench
import pytest

ROWS = [(1500, "read", "random", 2, 4)]


def test_a_share_is_the_median_of_pairs():
    results = {
        "reflector": [[(1000, 1.0), (2000, 1.0), (500, 1.0), None]],
        "other": [[(900, 3.0), (1000, 5.0), (400, 4.0), (7, 7.0)]],
    }
    told = bench.table(ROWS, ["reflector", "other"], results)
    assert "| 1500 random read 1 KiB x4 | 1k/s, 1.0 us | 0.80 (0.50-0.90), 4.0 us |" in told


def test_what_could_not_be_measured_is_no_figure():
    told = bench.table(ROWS, ["reflector", "other"], {"reflector": [[(1000, 1.0)]], "other": [[None]]})
    assert told.endswith("| - |")


def test_the_disk_itself_is_a_ceiling(tmp_path):
    (_, _, row, names), *_ = bench.FIO
    results = {names[0]: [[(500, 1.0), (900, 1.0), None]]}
    told = bench.fio_table([row], results, [[1000, 1000, 1000], [None, None, None]])
    assert told.splitlines()[2].endswith(f"| 1.0k/s | {names[0]} | 0.70 (0.50-0.90) |")
    assert len(told.splitlines()) == 3, "what fio did not measure has no line"
    if not shutil.which("fio"):
        pytest.skip("no fio")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(bench.IMAGE_MIB << 20)
    for direct in (True, False):
        bench.make_alike(image, direct)
    assert bench.fio_rate(image, "--rw=randread --ioengine=psync", 1) > 0


@pytest.mark.parametrize("name", ["reflector", "aoe-target --write-cache"])
def test_one_row_for_real(build, link, tmp_path, name):
    for program in ("aoe-reflector", "aoe-target", "aoe-initiator"):
        if not (build / "bin" / program).exists():
            pytest.skip(f"not built: {program}")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(bench.IMAGE_MIB << 20)
    one = bench.Bench(build, image, 0.2, "")
    command = bench.commands(build, [])[name]
    (figure,) = one.measure(link, command, ROWS)
    assert figure is not None and figure[0] > 0
    (figure,) = one.measure(link, command, [(1500, "write", "sequential", 2, 4)])
    assert figure is not None and figure[0] > 0


def test_commands_name_what_is_measured():
    found = bench.commands("build", ["x {iface}"])
    assert list(found)[0] == "reflector" and found["against"] == "x {iface}"
