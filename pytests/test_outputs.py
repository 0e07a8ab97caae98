"""Outputs destroy nothing: every option of every program that names a file to be written, against every kind of
destination. The device nodes are the test's own wherever it may make them: a broken program is to break no machine."""

import os
import pathlib
import shutil
import stat
import subprocess
import threading

import pytest

from programs import run

PROJECT = pathlib.Path(__file__).resolve().parent.parent
CAPTURE = PROJECT / "pcaps" / "corpus" / "ipxe-vblade-1500.pcap"
SCHEDULE = sorted((PROJECT / "sim" / "scenarios").glob("*.sim"))[0]
FULL_MINOR = 7  # of /dev/full

# Each writer: the program, its arguments with {out} for the output and {in} for what it reads (None: nothing).
ONE_CASE = ["run", "--model", "--case", "header.reply.is-complete"]
WRITERS = {
    "conformance text": ("aoe-conformance", [*ONE_CASE, "--report-text", "{out}"], None),
    "conformance tap": ("aoe-conformance", [*ONE_CASE, "--report-tap", "{out}"], None),
    "conformance xml": ("aoe-conformance", [*ONE_CASE, "--report-xml", "{out}"], None),
    "conformance json": ("aoe-conformance", [*ONE_CASE, "--report-json", "{out}", "--baseline", "{in}"], "baseline"),
    "pcap info": ("aoe-pcap", ["info", "{in}", "-o", "{out}"], "capture"),
    "pcap info html": ("aoe-pcap", ["info", "{in}", "--html", "{out}"], "capture"),
    "pcap judge": ("aoe-pcap", ["judge", "{in}", "-o", "{out}"], "capture"),
    "pcap diff": ("aoe-pcap", ["diff", "{in}", "{in}", "-o", "{out}"], "capture"),
    "pcap map": ("aoe-pcap", ["reconstruct", "{in}", "-o", "{free}", "--map", "{out}"], "capture"),
    "pcap image": ("aoe-pcap", ["reconstruct", "{in}", "-o", "{out}"], "capture"),
    "sim trace": ("aoe-sim", ["replay", "{in}", "--trace", "{out}"], "schedule"),
    "sim pcap": ("aoe-sim", ["replay", "{in}", "--pcap", "{out}"], "schedule"),
    "sim write": ("aoe-sim", ["replay", "{in}", "--write", "{out}"], "schedule"),
}
# An image is written by position: a pipe has none, and a device of characters only swallows it.
BY_POSITION = {"pcap image"}


class Bench:
    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.inputs = {
            "baseline": folder / "baseline.toml",
            "capture": folder / "capture.pcap",
            "schedule": folder / "schedule.sim",
        }
        self.inputs["baseline"].write_text("known = []\n")
        shutil.copy(CAPTURE, self.inputs["capture"])
        shutil.copy(SCHEDULE, self.inputs["schedule"])

    def input_of(self, writer):
        kind = WRITERS[writer][2]
        return self.inputs[kind] if kind else None

    def write(self, writer, out, **options):
        program, arguments, _ = WRITERS[writer]
        words = {"{out}": out, "{in}": self.input_of(writer), "{free}": self.folder / "free.img"}
        return run([self.build / "bin" / program, *(words.get(a, a) for a in arguments)], seconds=120, **options)

    def unchanged(self):
        """What stands in the folder: name, kind and content."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.name.startswith("free.img"):
                continue
            kind = stat.S_IFMT(path.lstat().st_mode)
            found[path.name] = (kind, path.lstat().st_ino, path.read_bytes() if path.is_file() and not path.is_symlink() else None)
        return found


@pytest.fixture(name="bench")
def bench_(request, tmp_path):
    build = pathlib.Path(request.config.option.build).resolve()
    for program in ("aoe-conformance", "aoe-pcap", "aoe-sim", "aoe-target"):
        if not (build / "bin" / program).exists():
            pytest.skip(f"not built: {program}")
    return Bench(build, tmp_path)


def full_device(folder):
    """A node like /dev/full, the test's own where it may make one and use it."""
    mine = folder / "full"
    try:
        os.mknod(mine, stat.S_IFCHR | 0o666, os.makedev(1, FULL_MINOR))
        with mine.open("wb"):
            return mine
    except OSError:
        return pathlib.Path("/dev/full")


def good(done):
    return done.returncode in (0, 1, 77)  # findings are findings


@pytest.mark.parametrize("writer", WRITERS)
def test_a_regular_file_is_replaced_when_it_is_whole(bench, writer):
    out = bench.folder / "out"
    out.write_text("before")
    first = out.stat()
    done = bench.write(writer, out)
    assert good(done), done.stderr
    assert out.read_bytes() != b"before"
    assert out.stat().st_ino != first.st_ino, "written in place: a reader could meet half of it"
    assert out.stat().st_mode == first.st_mode
    assert not list(bench.folder.glob("*.part")), "what was not whole is left over"


@pytest.mark.parametrize("writer", WRITERS)
def test_a_symlink_stays_and_its_target_is_written(bench, writer):
    (bench.folder / "elsewhere").mkdir()
    real, link = bench.folder / "elsewhere" / "real", bench.folder / "link"
    real.write_text("before")
    link.symlink_to("elsewhere/real")
    done = bench.write(writer, link)
    assert good(done), done.stderr
    assert link.is_symlink()
    assert real.read_bytes() != b"before"


@pytest.mark.parametrize("writer", sorted(set(WRITERS) - BY_POSITION))
def test_a_fifo_is_written_in_place(bench, writer):
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    reader.start()
    done = bench.write(writer, fifo)
    reader.join(30)
    assert good(done), done.stderr
    assert got and got[0], "nothing came through"
    assert fifo.is_fifo()


@pytest.mark.parametrize("writer", sorted(set(WRITERS) - BY_POSITION))
def test_a_full_device_is_an_error_and_stays_a_device(bench, writer):
    device = full_device(bench.folder)
    before = device.lstat()
    done = bench.write(writer, device)
    after = device.lstat()
    assert stat.S_ISCHR(after.st_mode) and (after.st_ino, after.st_uid) == (before.st_ino, before.st_uid)
    assert not good(done), "a full disk went unnoticed"
    # libpcap writes through a stream that keeps no reason.
    assert "No space left on device" in done.stderr or "is the disk full?" in done.stderr, done.stderr
    assert str(device) in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
@pytest.mark.parametrize("writer", sorted(set(WRITERS) - BY_POSITION))
def test_standard_output_by_both_of_its_names(bench, writer, name):
    whole = bench.folder / "whole"
    assert good(bench.write(writer, whole))
    done = bench.write(writer, name)
    assert good(done), done.stderr
    # The first line of what a file holds: times of the run further on differ from run to run.
    first = whole.read_bytes().split(b"\n")[0][:20].decode(errors="replace")
    assert first in done.stdout


@pytest.mark.parametrize("way", ["itself", "symlink", "hard link"])
@pytest.mark.parametrize("writer", [name for name, facts in WRITERS.items() if facts[2]])
def test_an_output_that_is_an_input_is_refused(bench, writer, way):
    source = bench.input_of(writer)
    out = {"itself": source, "symlink": bench.folder / "soft", "hard link": bench.folder / "hard"}[way]
    if way == "symlink":
        out.symlink_to(source.name)
    elif way == "hard link":
        os.link(source, out)
    before = bench.unchanged()
    done = bench.write(writer, out)
    assert done.returncode not in (0, 1, 77)
    assert "which is read" in done.stderr, done.stderr
    assert bench.unchanged() == before


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_that_is_not_there_is_said_and_nothing_done(bench, writer):
    before = bench.unchanged()
    done = bench.write(writer, bench.folder / "absent" / "out")
    assert done.returncode not in (0, 1, 77)
    assert "absent/out" in done.stderr, done.stderr
    assert bench.unchanged() == before


def test_a_capture_on_standard_input_is_an_input(bench):
    source = bench.inputs["capture"]
    with source.open("rb") as file:
        done = run([bench.build / "bin/aoe-pcap", "reconstruct", "-", "-o", source], stdin=file)
    assert done.returncode == 2 and "standard input, which is read" in done.stderr
    assert source.read_bytes() == CAPTURE.read_bytes()


def test_two_reports_in_one_file_are_refused(bench):
    out = bench.folder / "out"
    done = run([bench.build / "bin/aoe-conformance", *ONE_CASE, "--report-json", out, "--report-tap", out])
    assert done.returncode == 2 and "they are one file" in done.stderr


def test_a_replay_tries_its_destinations_before_the_first_frame(bench):
    source = bench.inputs["capture"]
    for option, out in (("--save", source), ("-o", bench.folder / "absent" / "out"), ("--reconstruct", source)):
        done = run([bench.build / "bin/aoe-pcap", "replay", source, "-i", "lo", "--allow", "write", option, out])
        assert done.returncode == 2 and "cannot write" in done.stderr, done.stderr
    assert source.read_bytes() == CAPTURE.read_bytes()


def test_case_captures_on_a_disk_that_fills_are_an_error_at_the_end(bench):
    """The run goes on, puts back what it changed and reports; the exit code and the last line tell of the capture."""
    folder = bench.folder / "captures"
    command = [bench.build / "bin/aoe-conformance", "run", "--model", "--case", "header.*", "--capture", folder]
    report = bench.folder / "report.json"
    assert good(run(command)), "without a limit"
    shutil.rmtree(folder)
    folder.mkdir()
    os.symlink(full_device(bench.folder), folder / "header.reply.is-complete.pcap")
    done = run([*command, "--report-json", report])
    assert done.returncode == 5, done.stdout + done.stderr
    assert "header.reply.is-complete.pcap: No space left on device" in done.stderr
    assert report.exists() and "header.reply.is-complete" in report.read_text()


@pytest.mark.parametrize(
    "command",
    [
        ["aoe-conformance", "list"],
        ["aoe-pcap", "judge", "--list"],
        ["aoe-sim", "--help"],
        ["aoe-target", "--help"],
    ],
)
def test_standard_output_on_a_full_disk_is_an_error(bench, command):
    with full_device(bench.folder).open("wb") as full:
        done = subprocess.run(
            [bench.build / "bin" / command[0], *command[1:]], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )  # fmt: skip
    assert done.returncode != 0
    assert "No space left on device" in done.stderr or "is the disk full?" in done.stderr


def test_the_target_writes_no_file_that_a_user_named(bench, tmp_path):
    """Its control socket takes no name that is taken; a state file is never written through a symlink."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(512 * 64))
    done = run([bench.build / "bin/aoe-target", "--interface", "lo", "--shelf", 1, "--slot", 1, "--control", image, "--ready-fd", 1, image])
    assert done.returncode != 0
    assert image.read_bytes() == bytes(512 * 64)


def test_the_benchmark_gives_no_device_away():
    """As root, tcpdump gives the file that it writes to another user."""
    text = (PROJECT / "pcaps" / "bench").read_text()
    assert '"-w", "-"' in text and '"-w", "/dev' not in text
    before = pathlib.Path("/dev/null").stat()
    done = subprocess.run(["tcpdump", "-r", CAPTURE, "-w", "-"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    after = pathlib.Path("/dev/null").stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
