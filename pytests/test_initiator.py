"""aoe-initiator on real interfaces: against the reference target and vblade, over a target that is killed, and what it
says to those who ask for the impossible. What it wrote is looked at in the image, not by itself alone.
"""

import json
import os
import signal

import pytest

import net
from conftest import sector_of
from programs import AoeTarget, Program, Vblade, run, wait_until

EXTENSIONS = "tag_inc_be,coalesced_read,coalesced_write_reply,crc8x4"


@pytest.fixture
def program(build):
    path = build / "bin" / "aoe-initiator"
    if not path.exists():
        pytest.skip(f"not built: {path}")
    return path


@pytest.fixture
def ask(program, link):
    """ask("read", ...) -> the finished program, on this test's link."""

    def call(command, *options, slot=1, code=0, **more):
        words = [program, command, "-i", link.host_end]
        if command != "discover":
            words += ["--shelf", 1, "--slot", slot]
        done = run([*words, *options], **more)
        assert done.returncode == code, f"{done.args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return call


def test_discover_finds_every_target_once(ask, start, image, tmp_path):
    other = tmp_path / "other.img"
    other.write_bytes(bytes(1 << 20))
    start()
    start(image=other, slot=2)
    found = json.loads(ask("discover", "--wait", 0.2, "--json").stdout)
    assert [(f["shelf"], f["slot"]) for f in found] == [(1, 1), (1, 2)]


def test_discover_without_anybody(ask, link):
    assert "nobody answered" in ask("discover", "--wait", 0.1, code=3).stderr


@pytest.mark.parametrize("mtu", [1500, 9000], indirect=True)
@pytest.mark.parametrize("extensions", ["", EXTENSIONS])
def test_write_verify_read(ask, start, image, tmp_path, mtu, extensions):
    start()
    options = ["--extensions", extensions, "--require-extensions"] if extensions else []
    said = json.loads(ask("info", *options, "--json").stdout)
    assert said["extensions"] == extensions
    assert said["sectors_per_frame"] == (mtu - 22) // 512
    content = os.urandom(512 * 700)
    file = tmp_path / "content"
    file.write_bytes(content)
    ask("write", *options, "--lba", 100, file)
    disk = image.read_bytes()
    assert disk[100 * 512 : 800 * 512] == content
    assert disk[: 100 * 512] == b"".join(map(sector_of, range(100)))
    assert disk[800 * 512 :] == b"".join(map(sector_of, range(800, len(disk) // 512)))
    assert "0 of 700 sectors differ" in ask("verify", *options, "--lba", 100, file).stdout
    ask("read", *options, "-o", tmp_path / "all")
    assert (tmp_path / "all").read_bytes() == disk


def test_verify_names_the_sector_and_the_byte(ask, start, image, tmp_path):
    start()
    file = tmp_path / "wanted"
    content = bytearray(image.read_bytes())
    content[5 * 512 + 17] ^= 1
    file.write_bytes(content)
    said = ask("verify", file, code=1).stdout
    assert "sector 5 differs from byte 17 on" in said
    assert "1 of 2048 sectors differ" in said


def test_on_vblade_it_does_without_extensions(ask, link, image, tmp_path):
    with Vblade(link, image):
        said = ask("info", "--extensions", "tag_inc_be")
        assert "active: none" in said.stderr
        ask("read", "-o", tmp_path / "all")
        assert (tmp_path / "all").read_bytes() == image.read_bytes()
        refused = ask("info", "--extensions", "tag_inc_be", "--require-extensions", "--connect-timeout", 1, code=3)
        assert "does not give all of --extensions" in refused.stderr or "answered" in refused.stderr


def has_stamps(image):
    """A stamp has its write's number, of 32 bits, in eight bytes; the image's own sectors are letters."""
    disk = image.read_bytes()
    return any(disk[at + 4 : at + 8] == bytes(4) for at in range(0, len(disk), 512))


def test_it_goes_on_when_the_target_was_killed_and_is_back(program, link, start, image, tmp_path):
    first = start()
    ledger = tmp_path / "ledger"
    words = [program, "fill", "-i", link.host_end, "--shelf", 1, "--slot", 1, "--extensions", EXTENSIONS]
    words += ["--range", "0:2048", "--seconds", 1.5, "--ledger", ledger]
    with Program(words) as filling:
        # A stamp begins with the number of its write: no sector of the image does.
        wait_until(lambda: has_stamps(image), what="it has begun")
        first.kill(signal.SIGKILL)
        first.wait()
        start()
        assert filling.wait(60) == 0, filling.said()
        assert "acknowledged, 0 not" in filling.output()
    done = run([program, "check", "-i", link.host_end, "--shelf", 1, "--slot", 1, "--ledger", ledger])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 2048 sectors are wrong" in done.stdout


def test_check_finds_what_was_changed_behind_its_back(ask, start, image, tmp_path):
    start()
    ledger = tmp_path / "ledger"
    ask("fill", "--pattern", "sequential", "--range", "100:64", "--ledger", ledger)
    with image.open("r+b") as disk:
        disk.seek(100 * 512)
        sector = disk.read(512)
        disk.seek(110 * 512)
        disk.write(sector)
    said = ask("check", "--ledger", ledger, "--json", code=1)
    told = json.loads(said.stdout)
    assert told["wrong"] == 1 and told["first_findings"][0]["lba"] == 110
    assert "of sector 100" in told["first_findings"][0]["what"]


@pytest.mark.parametrize("extensions", ["", EXTENSIONS])
def test_bench_tells_numbers_that_belong_together(ask, start, extensions):
    start("--write-cache")
    options = ["--extensions", extensions] if extensions else []
    told = json.loads(ask("bench", *options, "--requests", 2000, "--outstanding", 8, "--json").stdout)
    assert told["requests"] == 2000 and told["failed"] == 0
    latency = told["latency_us"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    assert told["bytes_per_second"] == pytest.approx(told["requests_per_second"] * 1024)


def test_bench_asks_the_target_how_much_it_takes(ask, start):
    start("--buffer-count", 24)
    told = json.loads(ask("bench", "--requests", 500, "--outstanding", "auto", "--json").stdout)
    assert 20 <= told["outstanding"] <= 28


def test_two_processes_ask_from_two_addresses(ask, program, link, start, tmp_path):
    """Neither takes the other's answers, or ends its session."""
    start()
    words = [program, "bench", "-i", link.host_end, "--shelf", 1, "--slot", 1, "--requests", 3000, "--json"]
    with Program([*words, "--extensions", EXTENSIONS]) as one, Program([*words, "--extensions", EXTENSIONS]) as two:
        assert one.wait(60) == 0 and two.wait(60) == 0, one.said() + two.said()
        for program_run in (one, two):
            told = json.loads(program_run.output())
            assert told["requests"] == 3000 and told["extensions"] == EXTENSIONS


def test_two_paths_and_one_goes_down(program, link, aoe_target, image, tmp_path):
    other = net.Link(1500)
    try:
        words = ["--interface", link.target_end, "--interface", other.target_end, "--shelf", 1, "--slot", 1]
        ledger = tmp_path / "ledger"
        with AoeTarget(aoe_target, *words, image) as target:
            ours = [program, "fill", "-i", link.host_end, "-i", other.host_end, "--shelf", 1, "--slot", 1]
            ours += ["--extensions", "tag_inc_be", "--range", "0:2048", "--seconds", 2, "--ledger", ledger]
            with Program(ours) as filling:
                wait_until(lambda: has_stamps(image), what="writing has begun")
                net.ip(f"link set {link.host_end} down")
                assert filling.wait(60) == 0, filling.said()
            done = run([program, "check", "-i", other.host_end, "--shelf", 1, "--slot", 1, "--ledger", ledger])
            assert done.returncode == 0, done.stdout + done.stderr
            assert target.alive
    finally:
        other.close()


BAD = {
    "no such extension": (["info", "--extensions", "tag_inc_bee"], "tag_inc_bee"),
    "no such interface": (["discover", "-i", "nowhere"], "there is no interface 'nowhere'"),
    "a write without its sectors": (["bench", "--operation", "write"], "--range"),
    "beyond the disk": (["read", "--lba", 2040, "--count", 9, "-o", "{out}"], "beyond the disk of 2048 sectors"),
    "no whole sector": (["write", "{odd}"], "no whole number of sectors"),
    "no file": (["write", "{out}.no"], "No such file"),
    "a folder": (["verify", "{folder}"], "a folder"),
    "a ledger that is none": (["check", "--ledger", "{odd}"], "line 1"),
    "nowhere to write": (["read", "-o", "/no/such/folder/x"], "/no/such/folder/x"),
    "a group's address": (["info", "--address", "ff:ff:ff:ff:ff:ff"], "group"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_told_and_nothing_is_written(program, link, start, image, tmp_path, case):
    start()
    before = image.read_bytes()
    words, said = BAD[case]
    (tmp_path / "odd").write_bytes(b"x" * 700)
    names = {"out": tmp_path / "out", "odd": tmp_path / "odd", "folder": tmp_path}
    words = [str(word).format(**names) for word in words]
    if "-i" not in words:
        words[1:1] = ["-i", link.host_end]
    if words[0] != "discover":
        words += ["--shelf", "1", "--slot", "1"]
    done = run([program, *words])
    assert done.returncode in (2, 5), done.stdout + done.stderr
    assert said in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert image.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_reader_that_does_not_get_all_leaves_no_file(ask, start, image, tmp_path):
    start()
    out = tmp_path / "out"
    out.write_bytes(b"kept")
    image.write_bytes(image.read_bytes()[: 1024 * 512])  # behind the target's back: the rest is gone
    ask("read", "--count", 2048, "-o", out, code=1)
    assert out.read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"out", image.name})
