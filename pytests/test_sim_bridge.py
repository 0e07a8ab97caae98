"""aoe-sim bridge between two real interfaces: an initiator on one side, a target on the other, and the simulator's
verdicts on the live wire between them. What arrives is judged by the captures and the replies, not by the bridge's word.
"""

import re
import signal

import pytest
from scapy.utils import rdpcap

import aoe_layers as aoe
import net
from conftest import sector_of
from dialogue import Initiator, judge_done
from programs import Program, Vblade, run, wait_until

RATES = """# whole kinds off, the others heavy
drop 60000
delay 150000 3ms
duplicate 150000 3ms
hold 100000
pad 50000
"""
FRAMES = 150


@pytest.fixture
def sim(build):
    path = build / "bin" / "aoe-sim"
    if not path.exists():
        pytest.skip(f"not built: {path}")
    return path


@pytest.fixture
def near(mtu, namespace):
    """The initiator's side of the bridge: hosts speak at host_end."""
    made = net.Link(mtu)
    yield made
    made.close()


class Bridge(Program):
    """Ready when it says so."""

    def __init__(self, sim, near, far, *options):
        super().__init__([sim, "bridge", "--a", near.target_end, "--b", far.host_end, *options])
        wait_until(lambda: "bridging" in self.output() or not self.alive, what="the bridge says that it is there")
        assert self.alive, self.said()

    def counters(self):
        """The last ones told: {"a>t": {"in": 7, ...}, "t>a": {...}}"""
        return self._parse(self.output())

    def counters_now(self):
        """Asked for, by SIGUSR1."""
        before = len(self.output())
        self.kill(signal.SIGUSR1)
        wait_until(lambda: "waiting " in self.output()[before:], what="counters")
        return self._parse(self.output()[before:])

    @staticmethod
    def _parse(output):
        found = {}
        for line in output.splitlines():
            if line.startswith(("a>t ", "t>a ")):
                name, *words = line.split()
                found[name] = dict(zip(words[::2], map(int, words[1::2])))
        return found


def across(near, far, mac=None):
    """An initiator at the near end that talks to the target at the far end."""
    return Initiator(near.host(mac), far.target_mac, 1, 1, near)


def verdicts(path):
    return [line for line in path.read_text().splitlines() if line.startswith("frame ")]


def packets(path):
    return [bytes(packet) for packet in rdpcap(str(path))]


def schedule(tmp_path, *lines):
    path = tmp_path / "given.sim"
    path.write_text("\n".join(["aoe-sim 1", "initiator a linux", *lines, "expect intact", ""]))
    return path


def pour(near, far):
    """The same FRAMES frames of differing lengths at the near end; nobody answers."""
    host = near.host()
    for number in range(FRAMES):
        message = aoe.AoeAta(cmdstat=aoe.WRITE_EXT, lba=number, count=1, aflags=0x41)
        data = aoe.AoeData(bytes([number]) * (1 + 7 * number))
        host.send(host.frame(message / data, dst=far.target_mac, tag=number, cmd=0, shelf=1, slot=1))


def poured(sim, near, far, tmp_path, name, *options):
    """What a bridge made of that: its verdicts, and what left it, in order."""
    record, prefix = tmp_path / f"{name}.sim", tmp_path / name
    with Bridge(sim, near, far, *options, "--frames", FRAMES, "--record", record, "--pcap", prefix) as bridge:
        pour(near, far)
        assert bridge.wait() == 0, bridge.said()
        counters = bridge.counters()["a>t"]
    out = packets(tmp_path / f"{name}.b.pcap")
    assert counters["in"] == FRAMES == len(packets(tmp_path / f"{name}.a.pcap"))
    assert counters["out"] == len(out)
    return verdicts(record), out, counters


def test_the_same_seed_and_frames_give_the_same_verdicts_and_a_replay_does_too(sim, near, link, tmp_path):
    rates = tmp_path / "rates"
    rates.write_text(RATES)
    seeded = ("--profile", rates, "--seed")
    first, out, counters = poured(sim, near, link, tmp_path, "first", *seeded, 7)
    again, again_out, again_counters = poured(sim, near, link, tmp_path, "again", *seeded, 7)
    replayed, replayed_out, replayed_counters = poured(
        sim, near, link, tmp_path, "replayed", "--replay", tmp_path / "first.sim"
    )
    other, _, _ = poured(sim, near, link, tmp_path, "other", *seeded, 8)
    assert first == again == replayed
    assert other != first
    # Which frames come, how often and with what bytes; when a delayed one comes is the clock's matter.
    assert sorted(out) == sorted(again_out) == sorted(replayed_out)
    assert counters == again_counters == replayed_counters
    assert counters["out"] == FRAMES - counters["drop"] + counters["duplicate"]
    for kind in ("drop", "delay", "duplicate", "hold", "pad"):
        assert sum(f" {kind}" in line for line in first) == counters[kind] > 0, kind


def test_a_record_is_a_schedule_that_the_simulator_reads(sim, near, link, tmp_path):
    rates = tmp_path / "rates, by hand"
    rates.write_text(RATES)
    poured(sim, near, link, tmp_path, "kept", "--profile", rates, "--seed", 3)
    done = run([sim, "replay", tmp_path / "kept.sim"])
    assert done.returncode == 0, done.stderr


def test_what_no_verdict_strikes_crosses_as_it_is(sim, near, link, start, tmp_path):
    start()
    with Bridge(sim, near, link, "--replay", schedule(tmp_path), "--pcap", tmp_path / "both") as bridge:
        initiator = across(near, link)
        initiator.write(3, b"live" * 128)
        assert initiator.read(3) == b"live" * 128
        assert initiator.read(4) == sector_of(4)
        assert bridge.end(signal.SIGINT) == 0, bridge.said()
        counters = bridge.counters()
    near_side, far_side = packets(tmp_path / "both.a.pcap"), packets(tmp_path / "both.b.pcap")
    aoe_only = [[p for p in side if p[12:14] == b"\x88\xa2"] for side in (near_side, far_side)]
    assert sorted(aoe_only[0]) == sorted(aoe_only[1])
    assert counters["a>t"]["in"] == counters["a>t"]["out"] == 3
    assert set(counters["a>t"]) <= {"in", "out", "neighbours"}


def test_neighbours_cross_unjudged(sim, near, link, tmp_path):
    given = schedule(tmp_path, *(f"frame a>sw {i} drop" for i in range(50)))
    arp = bytes.fromhex("ffffffffffff 02000000aa01 0806") + b"who has" + bytes(39)
    with Bridge(sim, near, link, "--replay", given, "--pcap", tmp_path / "both", "--frames", 1) as bridge:
        host = near.host()
        host.send(arp)
        host.send(host.frame(aoe.AoeConfig(), dst=link.target_mac))
        assert bridge.wait() == 0, bridge.said()
        assert bridge.counters()["a>t"] == {"in": 1, "out": 0, "drop": 1, "neighbours": 1}
    assert packets(tmp_path / "both.b.pcap") == [arp]


def test_a_held_frame_is_overtaken(sim, near, link, tmp_path):
    given = schedule(tmp_path, "frame a>sw 0 hold 2", "frame a>sw 1 truncate 40", "frame sw>t 1 flip 0")
    with Bridge(sim, near, link, "--replay", given, "--pcap", tmp_path / "both", "--frames", 4) as bridge:
        host = near.host()
        sent = [bytes(host.frame(aoe.AoeConfig(), dst=link.target_mac)).ljust(60, b"\0") for _ in range(4)]
        for frame in sent:
            host.send(frame)
        assert bridge.wait() == 0, bridge.said()
    flipped = bytes([sent[2][0] ^ 1]) + sent[2][1:]
    assert packets(tmp_path / "both.b.pcap") == [sent[1][:40], flipped, sent[0], sent[3]]


OLD, NEW = b"old!" * 128, b"new!" * 128
LATE_MS = 400


def late_duplicate(sim, near, link, tmp_path, index, first_tag, negotiate=()):
    """Two writes of one sector, and the first once more when both have been answered. What is on the disk then."""
    given = schedule(tmp_path, f"frame a>sw {index} duplicate {LATE_MS}ms")
    with Bridge(sim, near, link, "--replay", given, "--pcap", tmp_path / "both") as bridge:
        initiator = across(near, link)
        if negotiate:
            assert initiator.extend(*negotiate) == [name.upper() for name in negotiate]
        for tag, data in ((first_tag, OLD), (first_tag + 1, NEW)):
            judge_done(initiator.ata(aoe.WRITE_EXT, lba=5, count=1, data=data, tag=tag))
        initiator.host.await_tag(first_tag)  # the duplicate was answered too
        found = initiator.read(5)
        assert bridge.end() == 0, bridge.said()
        assert bridge.counters()["a>t"]["duplicate"] == 1
    writes = [p[36:40] for p in packets(tmp_path / "both.b.pcap") if p[14:20] == b"\x10\x00\x00\x01\x01\x00" and p[27] == aoe.WRITE_EXT]
    assert writes == [OLD[:4], NEW[:4], OLD[:4]], "the duplicate came last"
    return found


def test_under_plain_aoe_a_late_duplicate_of_a_write_damages_data(sim, near, link, start, tmp_path):
    start()
    assert late_duplicate(sim, near, link, tmp_path, 0, first_tag=7) == OLD


def test_under_tag_inc_be_the_same_duplicate_is_not_performed(sim, near, link, start, tmp_path):
    start()
    assert late_duplicate(sim, near, link, tmp_path, 1, first_tag=7, negotiate=[b"tag_inc_be"]) == NEW


def test_vblade_is_damaged_by_it_as_well(sim, near, link, image, tmp_path):
    with Vblade(link, image):
        assert late_duplicate(sim, near, link, tmp_path, 0, first_tag=7) == OLD


def test_counters_are_told_on_sigusr1_and_it_goes_on(sim, near, link, start, tmp_path):
    start()
    with Bridge(sim, near, link, "--replay", schedule(tmp_path)) as bridge:
        across(near, link).config()
        counters = bridge.counters_now()
        assert counters["a>t"]["in"] == counters["t>a"]["in"] == 1
        assert bridge.alive
        assert bridge.end() == 0


def test_a_profile_of_the_simulators_by_name(sim, near, link, tmp_path):
    first, _, _ = poured(sim, near, link, tmp_path, "first", "--profile", "corrupt", "--seed", 1)
    again, _, _ = poured(sim, near, link, tmp_path, "again", "--profile", "corrupt", "--seed", 1)
    assert first == again != []


def test_it_ends_by_the_clock(sim, near, link, tmp_path):
    with Bridge(sim, near, link, "--replay", schedule(tmp_path), "--for", "0.05") as bridge:
        assert bridge.wait() == 0, bridge.said()
        assert bridge.counters()["a>t"]["in"] == 0


def test_an_interface_that_goes_away_ends_it_and_the_record_is_kept(sim, near, link, tmp_path):
    record = tmp_path / "kept.sim"
    given = schedule(tmp_path, "frame a>sw 0 drop")
    with Bridge(sim, near, link, "--replay", given, "--record", record) as bridge:
        host = near.host()
        host.send(host.frame(aoe.AoeConfig(), dst=link.target_mac))
        wait_until(lambda: bridge.counters_now()["a>t"]["in"] == 1, what="the frame is in")
        net.ip(f"link set {link.host_end} down")
        assert bridge.wait() == 2
        assert re.search(rf"{link.host_end}: receive: Network is down", bridge.errors()), bridge.said()
    assert verdicts(record) == ["frame a>sw 0 drop"]


BAD = {
    "no such interface": (["--b", "nowhere"], 'there is no interface "nowhere"'),
    "twice the same": (["--b", "{a}"], "a bridge needs two interfaces"),
    "loopback": (["--b", "lo"], "lo is no Ethernet interface"),
    "down": (["--b", "{down}"], "is down: ip link set"),
    "no such profile": (["--profile", "wild", "--seed", 1], '"wild" is no profile (plain, aoede, hostile, corrupt, library, cached)'),
    "a kind that is none": (["--profile", "{rates}", "--seed", 1], 'line 2: "drip" is no kind of fault'),
    "no verdicts at all": ([], "--replay"),
    "a profile without a seed": (["--profile", "plain"], "--seed"),
    "both": (["--profile", "plain", "--seed", 1, "--replay", "{sim}"], "excludes"),
    "no such schedule": (["--replay", "{sim}.no"], "cannot read"),
    "a third host": (["--replay", "{third}"], "a verdict on b>sw"),
    "nowhere to capture": (["--replay", "{sim}", "--pcap", "/no/such/folder/x"], "cannot write /no/such/folder/x.a.pcap"),
    "nowhere to record": (["--replay", "{sim}", "--record", "/no/such/folder/x.sim"], "cannot write /no/such/folder/x.sim"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_told_in_one_line(sim, near, link, tmp_path, case):
    options, said = BAD[case]
    (tmp_path / "rates").write_text("hold 1000\ndrip 5\n")
    third = tmp_path / "third.sim"
    third.write_text("aoe-sim 1\ninitiator a linux\ninitiator b linux\nframe b>sw 0 drop\nexpect intact\n")
    names = {"a": near.target_end, "down": near.host_end, "rates": tmp_path / "rates", "third": third}
    names["sim"] = schedule(tmp_path)
    if case == "down":
        net.ip(f"link set {near.host_end} down")
    options = [str(option).format(**names) for option in options]
    if "--b" not in options:
        options += ["--b", link.host_end]
    elif "--replay" not in options:
        options += ["--replay", names["sim"]]
    done = run([sim, "bridge", "--a", near.target_end, *options])
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert not list(tmp_path.glob("*.part"))
