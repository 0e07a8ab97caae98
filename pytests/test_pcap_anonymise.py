"""aoe-pcap anonymise over every capture that the project has: what the judge says stays, what was in it is gone."""

import json
import struct

import pytest

from conftest import PROJECT
from programs import run

CAPTURES = sorted(
    path
    for folder in ("corpus", "truth")
    for path in (PROJECT / "pcaps" / folder).rglob("*")
    if path.suffix in (".pcap", ".pcapng") or path.name.endswith((".pcap.gz", ".pcap.zst"))
)
RUN_BYTES = 8


@pytest.fixture
def pcap(build):
    program = build / "bin" / "aoe-pcap"
    if not program.exists():
        pytest.skip("not built: aoe-pcap")
    return lambda *words: run([program, *words], seconds=120)


def findings(pcap, path, *words):
    done = pcap("judge", path, "--format", "json", "--examples", "50", *words)
    report = json.loads(done.stdout)
    said = sorted(
        (finding.get("frame", 0), finding["side"], finding["verdict"], finding["clause"])
        for case in report["cases"]
        for finding in case["findings"]
    )
    return done.returncode, said


def frames(path):
    """Of a pcap as we write it."""
    raw = path.read_bytes()
    order = "<" if raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while at + 16 <= len(raw):
        size = struct.unpack_from(order + "I", raw, at + 8)[0]
        yield raw[at + 16 : at + 16 + size]
        at += 16 + size


def runs_of(frame, start):
    """What would give somebody away: eight bytes that are no constant and no counter of the protocol's."""
    for at in range(start, len(frame) - RUN_BYTES):
        piece = frame[at : at + RUN_BYTES]
        if len(set(piece)) > 4:
            yield piece


def test_there_are_captures():
    assert len(CAPTURES) > 100


@pytest.mark.parametrize("complete", [False, True])
def test_what_the_judge_says_stays(pcap, tmp_path, complete):
    words = ["--complete"] if complete else []
    wrong = []
    for path in CAPTURES:
        small = tmp_path / "anonymous.pcap"
        done = pcap("anonymise", path, "-o", small)
        assert done.returncode == 0, f"{path}: {done.stderr}"
        before, after = findings(pcap, path, *words), findings(pcap, small, *words)
        if before != after:
            wrong.append((path.name, [x for x in before[1] if x not in after[1]], [x for x in after[1] if x not in before[1]]))
    assert wrong == []


def test_nothing_of_the_data_and_no_address_is_left(pcap, tmp_path):
    for path in CAPTURES:
        if path.suffix != ".pcap" or path.stat().st_size > 1 << 20:
            continue
        small = tmp_path / "anonymous.pcap"
        assert pcap("anonymise", path, "-o", small).returncode == 0
        before, after = list(frames(path)), list(frames(small))
        for old, new in zip(before, after):
            if old[12:14] != b"\x88\xa2" or len(old) < 36:
                continue
            assert len(old) == len(new) and old[12:24] == new[12:24], path
            for mac in (old[0:6], old[6:12]):
                if mac not in (b"\xff" * 6, b"\0" * 6):
                    assert mac not in new, path
            data = old[19] == 0 and (old[14] & 8 or old[27] in (0x30, 0x34))
            identify = old[14] & 8 and len(old) >= 548 and old[36 + 2 * 49 + 1] & 2
            if data and not identify and not old[24] & 1 or (data and not old[14] & 8):
                kept = [piece for piece in runs_of(old, 36) if piece in new]
                assert kept == [], f"{path}: {kept[0].hex()}"


def test_a_second_run_gives_other_names(pcap, tmp_path):
    path = next(path for path in CAPTURES if path.name.startswith("linux-vblade-1500"))
    for name in ("a", "b"):
        assert pcap("anonymise", path, "-o", tmp_path / name).returncode == 0
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_the_capture_itself_is_no_destination(pcap, tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(CAPTURES[0].read_bytes())
    before = path.read_bytes()
    done = pcap("anonymise", path, "-o", path)
    assert done.returncode == 2 and "that is the capture itself" in done.stderr
    assert path.read_bytes() == before
