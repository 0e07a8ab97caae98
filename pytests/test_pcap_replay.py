"""aoe-pcap replay against the real aoe-target: data equal for every read, and different where it must be."""

import json
import os
import pathlib
import struct
import subprocess

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = PROJECT / "pcaps" / "corpus"
LINUX = sorted(CORPUS.glob("linux-*.pcap"))
SECONDS_MAX = 300
SECTOR_BYTES = 512


@pytest.fixture(name="build")
def build_(request):
    build = pathlib.Path(request.config.option.build).resolve()
    for name in ("aoe-pcap", "aoe-target"):
        if not (build / "bin" / name).exists():
            pytest.skip(f"not built: {name}")
    return build


def test_the_whole_corpus_replays(build):
    """Reconstructed image, replay, equal data for every read, and the image afterwards."""
    done = subprocess.run(
        [PROJECT / "pcaps" / "replay-corpus", build], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(list(CORPUS.glob("*.pcap*")))
    assert f"{count} captures replayed, 0 failed" in done.stdout


SCRIPT = """
set -e
ip link add ini0 type veth peer name tgt0
ip link set ini0 mtu 9000 up
ip link set tgt0 mtu 9000 up
exec 3<&-
mkfifo "$DIR/ready"
"$BUILD/bin/aoe-target" --interface tgt0 --shelf 9 --slot 4 --ready-fd 9 "$DIR/img" 9>"$DIR/ready" 2>"$DIR/log" &
read -r _ <"$DIR/ready" || true
exec "$BUILD/bin/aoe-pcap" replay "$CAPTURE" --interface ini0 --to e9.4 --format json "$@"
"""


def replay(build, folder, capture, *arguments):
    info = subprocess.run(
        [build / "bin" / "aoe-pcap", "info", capture, "--format", "json"], capture_output=True, timeout=SECONDS_MAX, check=True
    )  # fmt: skip
    (folder / "img").write_bytes(bytes(SECTOR_BYTES * json.loads(info.stdout)["targets"][0]["capacity_sectors"]))
    command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    command += ["bash", "-c", SCRIPT, "replay", *map(str, arguments)]
    environment = {**os.environ, "DIR": str(folder), "BUILD": str(build), "CAPTURE": str(capture)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("capture", LINUX, ids=lambda p: p.stem)
def test_another_address_and_shifted_tags(build, tmp_path, capture):
    result = replay(
        build, tmp_path, capture, "--speed", "max", "--allow", "write", "--tag-offset", "77",
        "--reconstruct", tmp_path / "img",
    )  # fmt: skip
    assert result["verdict"] == "pass", result
    assert result["sectors_equal"] >= 214
    assert result["differences"] == {}


def test_without_the_image_the_data_differ(build, tmp_path):
    """The proof that a replay can fail."""
    result = replay(build, tmp_path, CORPUS / "linux-vblade-1500.pcap", "--speed", "max", "--allow", "write")
    assert result["verdict"] == "fail"
    assert set(result["differences"]) == {"data"}
    assert all(example["detail"].startswith("first at LBA") for example in result["examples"])


def frame(reply, tag, flags, count, command, lba, data=b""):
    ours, theirs = b"\x02\xae\0\0\0\xa1", b"\x02\xae\0\0\0\x01"
    head = (ours + theirs if reply else theirs + ours) + struct.pack(
        ">HBBHBBI", 0x88A2, 0x18 if reply else 0x10, 0, 1, 1, 0, tag
    )
    return (head + bytes([flags, 0, count, command]) + lba.to_bytes(6, "little") + bytes(2) + data).ljust(60, b"\0")


def write_capture(path, frames):
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for number, content in enumerate(frames):
        out += struct.pack("<IIII", 1700000000, number * 100, len(content), len(content)) + content
    path.write_bytes(out)


def test_the_target_s_image_keeps_its_size(build, tmp_path):
    """The capture's disk was larger than the image: writing there would grow the file under the target."""
    capture = tmp_path / "beyond.pcap"
    identify = bytearray(512)
    for at, value in ((120, 64), (200, 64), (166, 0x4400), (172, 0x0400)):
        identify[at : at + 2] = value.to_bytes(2, "little")
    write_capture(capture, [
        frame(False, 1, 0, 1, 0xEC, 0), frame(True, 1, 0, 0, 0x40, 0, bytes(identify)),
        frame(False, 2, 0x40, 1, 0x24, 5), frame(True, 2, 0x40, 0, 0x40, 5, b"a" * SECTOR_BYTES),
        frame(False, 3, 0x40, 1, 0x24, 5000), frame(True, 3, 0x40, 0, 0x40, 5000, b"b" * SECTOR_BYTES),
    ])  # fmt: skip
    image = tmp_path / "img"
    replay(build, tmp_path, capture, "--speed", "max", "--allow", "write", "--reconstruct", image)
    assert image.stat().st_size == 64 * SECTOR_BYTES
    assert image.read_bytes()[5 * SECTOR_BYTES : 6 * SECTOR_BYTES] == b"a" * SECTOR_BYTES


def test_what_does_not_fit_the_link_is_said_before_anything_is_sent(build, tmp_path):
    capture = tmp_path / "large.pcap"
    write_capture(capture, [
        frame(False, 1, 0x40, 1, 0x24, 0), frame(True, 1, 0x40, 0, 0x40, 0, bytes(SECTOR_BYTES)),
        frame(False, 2, 0x40, 8, 0x24, 0), frame(True, 2, 0x40, 0, 0x40, 0, bytes(8 * SECTOR_BYTES)),
    ])  # fmt: skip
    script = """
    ip link add ini0 type veth peer name tgt0 && ip link set ini0 up && ip link set tgt0 up || exit 99
    "$1" replay "$2" --interface ini0; code=$?
    exit $code
    """
    command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    done = subprocess.run(
        [*command, "bash", "-c", script, "mtu", build / "bin" / "aoe-pcap", capture], capture_output=True, text=True,
        timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done
    assert "a frame of 4132 bytes" in done.stderr and "nothing was sent" in done.stderr


def test_strict_makes_an_allowed_difference_one(build, tmp_path):
    result = replay(
        build, tmp_path, CORPUS / "ipxe-vblade-1500.pcap", "--speed", "max", "--allow", "write",
        "--reconstruct", tmp_path / "img", "--strict", "firmware",
    )  # fmt: skip
    assert set(result["differences"]) == {"firmware"}


def test_the_captured_rhythm_is_kept(build, tmp_path):
    result = replay(
        build, tmp_path, CORPUS / "linux-vblade-1500.pcap", "--allow", "write", "--reconstruct", tmp_path / "img",
        "--speed", "2",
    )  # fmt: skip
    assert result["verdict"] == "pass"
    captured_s = 1.25
    assert result["seconds"] >= captured_s / 2 - 0.01


def test_the_replays_own_capture_can_be_judged(build, tmp_path):
    saved = tmp_path / "saved.pcap"
    replay(
        build, tmp_path, CORPUS / "linux-vblade-9000.pcap", "--speed", "max", "--allow", "write",
        "--reconstruct", tmp_path / "img", "--save", saved,
    )  # fmt: skip
    program = build / "bin" / "aoe-pcap"
    judged = subprocess.run([program, "judge", saved], capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert judged.returncode == 0, judged.stdout
    diff = subprocess.run(
        [program, "diff", CORPUS / "linux-vblade-9000.pcap", saved, "--format", "json"],
        capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert json.loads(diff.stdout)["verdict"] == "same", diff.stdout
