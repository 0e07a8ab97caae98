"""Captures of a correct target that are not complete: whatever the tap lost, doubled, cut or put in another order, the target is not
accused. The captures are the simulator's, with initiators of every kind on a bad network, so that nobody chose what is missing."""

import json
import random
import struct

import pytest

from programs import run

SEEDS = range(1, 4)
PROFILES = ("plain", "aoede", "library", "cached")  # those whose network forges and corrupts nothing


NOTHING_TO_JUDGE = 77


def load(path):
    """(file header, [(time, original length, bytes)])."""
    raw = path.read_bytes()
    frames, at = [], 24
    while at < len(raw):
        seconds, fraction, kept, length = struct.unpack_from("<IIII", raw, at)
        frames.append(((seconds, fraction), length, raw[at + 16 : at + 16 + kept]))
        at += 16 + kept
    return raw[:24], frames


def save(path, header, frames):
    with path.open("wb") as file:
        file.write(header)
        for time, length, data in frames:
            file.write(struct.pack("<IIII", *time, len(data), length) + data)


def is_reply(data):
    return data[12:14] == b"\x88\xa2" and data[14] & 0x08


def loses(share, of=lambda data: True):
    return lambda frames, draw: [frame for frame in frames if not of(frame[2]) or draw.random() >= share]


def begins_late(frames, draw):
    return frames[draw.randrange(1, len(frames)) :]


def has_a_gap(frames, draw):
    at = draw.randrange(len(frames))
    return frames[:at] + frames[at + draw.randrange(1, 60) :]


def is_cut(bytes_kept):
    return lambda frames, draw: [(time, length, data[:bytes_kept]) for time, length, data in frames]


def doubles(share):
    return lambda frames, draw: [frame for one in frames for frame in [one] * (1 + (draw.random() < share))]


def swaps(frames, draw):
    frames = list(frames)
    for at in range(1, len(frames)):
        if draw.random() < 0.05:
            one, other = frames[at - 1], frames[at]
            frames[at - 1], frames[at] = (one[0], *other[1:]), (other[0], *one[1:])
    return frames


def hides_a_host(frames, draw):
    hidden = draw.choice(sorted({data[6:12] for _, _, data in frames if not is_reply(data)}))
    return [frame for frame in frames if hidden not in (frame[2][:6], frame[2][6:12])]


TAPS = {
    "complete": lambda frames, draw: frames,
    "loses 1 %": loses(0.01),
    "loses 20 %": loses(0.2),
    "loses half": loses(0.5),
    "loses requests": loses(0.3, of=lambda data: not is_reply(data)),
    "loses replies": loses(0.3, of=is_reply),
    "sees replies only": loses(1, of=lambda data: not is_reply(data)),
    "begins late": begins_late,
    "has a gap": has_a_gap,
    "cut at 37": is_cut(37),
    "cut at 600": is_cut(600),
    "doubles all": doubles(1),
    "doubles some": doubles(0.1),
    "swaps": swaps,
    "hides a host": hides_a_host,
}


@pytest.fixture(scope="module")
def captures(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("captures")
    made = {}
    for profile in PROFILES:
        for seed in SEEDS:
            path = folder / f"{profile}-{seed}.pcap"
            done = run([build / "bin" / "aoe-sim", "run", "--profile", profile, "--seed", seed, "--pcap", path], seconds=60)
            assert done.returncode in (0, 13), done.stderr
            made[path.stem] = load(path)
    return made


@pytest.mark.parametrize("tap", TAPS)
def test_what_a_tap_did_is_not_held_against_the_target(build, captures, tmp_path, tap):
    for name, (header, frames) in captures.items():
        path = tmp_path / f"{name}.pcap"
        save(path, header, TAPS[tap](frames, random.Random(f"{name} {tap}")))
        done = run([build / "bin" / "aoe-pcap", "judge", "--format", "json", path], seconds=60)
        assert done.returncode in (0, 1, NOTHING_TO_JUDGE), f"{name}: {done.stderr}"
        findings = [finding for case in json.loads(done.stdout)["cases"] for finding in case["findings"]]
        accused = [finding for finding in findings if finding["side"] == "target" and finding["verdict"] == "fail"]
        assert not accused, f"{name}, a tap that {tap}: {accused[0]['headline']}"
