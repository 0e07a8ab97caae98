"""AoEde's extensions on aoe-target, by Scapy and docs/protocol.md alone: what negotiation answers, which writes
the tag window lets through, how many probes of a congestion burst are answered, and the rest of command 0x23.
"""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.packet import Raw

import aoe_layers as aoe
from aoe_layers import AoE, AoeAta, AoeConfig, AoeReserve, CoalescedEntry, WINDOW_TAGS
from conftest import IMAGE_SECTORS, sector_of
from dialogue import data_of, judge_ata_error, judge_done
from net import ANSWER_SECONDS
from programs import run

NAMES = [b"reset", b"tag_inc_le", b"tag_inc_be", b"tag_random", b"coalesced_read", b"crc8x4"]
ORDERS = pytest.mark.parametrize("order", ["le", "be"])
WRAP = 1 << 32


@pytest.fixture
def barrier(start):
    """Another host, whose config queries are no business of the initiator under test."""
    return start.initiator("02:00:00:00:ba:21")


# -- negotiation replies


@ORDERS
def test_each_name_comes_back_in_upper_case(initiator, order):
    for name in NAMES:
        assert initiator.extend(name, order=order) == [name.upper()]


@ORDERS
def test_unknown_names_come_back_as_they_were(initiator, order):
    asked = [b"reset", b"no_such_feature", b"No_Such_Feature", b"RESET_", b"coalesced_read", b"\xff\x01"]
    expected = [b"RESET", b"no_such_feature", b"No_Such_Feature", b"RESET_", b"COALESCED_READ", b"\xff\x01"]
    assert initiator.extend(*asked, order=order) == expected


def test_names_are_known_in_any_case_and_upper_case_always_means_active(initiator, barrier):
    for name in (b"TAG_INC_BE", b"Tag_Inc_Be", b"tag_inc_be"):
        assert initiator.extend(b"reset", name) == [b"RESET", b"TAG_INC_BE"]
        initiator.write(0, b"1" * 512, tag=7)
        initiator.write(0, b"2" * 512, tag=8)
        initiator.write(0, b"1" * 512, tag=7)
        assert initiator.read(0) == b"2" * 512, f"{name}: said to be active, yet the duplicate was performed"


def test_the_last_tag_order_named_wins(initiator):
    assert initiator.extend(b"tag_inc_le", b"tag_inc_be") == [b"tag_inc_le", b"TAG_INC_BE"]
    assert initiator.extend(b"tag_inc_be", b"tag_inc_le") == [b"tag_inc_be", b"TAG_INC_LE"]


def test_an_argument_stays_as_it_is_even_if_it_is_a_name(initiator):
    assert initiator.extend(b"congestion", b"reset")[1] == b"reset"
    assert initiator.extend(b"congestion", b"007", b"reset")[1:] == [b"007", b"RESET"]


@ORDERS
def test_an_empty_table_and_a_long_one_are_answered(initiator, order):
    assert initiator.extend(order=order) == []
    long = [b"unknown_%03d" % i for i in range(115)] + [b"reset"]
    assert 1380 < len(aoe.encode_table(long)) < 1488
    assert initiator.extend(*long, order=order) == [*long[:-1], b"RESET"]


TABLE = b"reset\0\0"
MALFORMED = {
    "no end": (5, b"reset"),
    "one NUL": (6, b"reset\0"),
    "length 0": (0, TABLE),
    "length 1": (1, TABLE),
    "length one short": (6, TABLE),
    "length one long": (8, TABLE + b"x"),
    "beyond the frame": (200, TABLE),
    "65535": (0xFFFF, TABLE),
}


@ORDERS
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_table_is_met_with_silence(initiator, barrier, order, name):
    length, table = MALFORMED[name]
    raw = length.to_bytes(2, {"le": "little", "be": "big"}[order]) + table
    frame = initiator.frame(Raw(raw), aoe.CMD_EXTENSIONS)
    initiator.host.expect_silence(frame, barrier.host)


def test_what_one_initiator_negotiates_is_not_anothers(initiator, start):
    other = start.initiator("02:00:00:00:00:02")
    initiator.extend(b"tag_inc_be", b"coalesced_read")
    for tag, data in ((1, b"a"), (2, b"b"), (1, b"a")):
        other.write(0, data * 512, tag=tag)
    assert other.read(0) == b"a" * 512, "the other one is plain AoE"
    initiator.write(5, b"1" * 512, tag=100)
    other.extend(b"reset")
    other.config()
    initiator.write(5, b"2" * 512, tag=101)
    initiator.write(5, b"1" * 512, tag=100)
    assert initiator.read(5) == b"2" * 512, "another's reset and config query took the window away"


def test_a_target_without_extensions_refuses_the_command(start):
    start("--no-extensions")
    asking = start.initiator()
    reply = asking.ask(aoe.AoeExtensionsLE(strings=[b"reset"]), aoe.CMD_EXTENSIONS)
    assert reply[AoE].error == 1


INITIATORS_MAX = 64


def test_a_full_table_takes_nothing_from_those_who_are_in_it(start):
    start()
    first = start.initiator("02:00:00:00:01:00")
    first.extend(b"tag_inc_be")
    first.write(0, b"1" * 512, tag=1)
    first.write(0, b"2" * 512, tag=2)
    for number in range(1, INITIATORS_MAX):
        host = start.initiator("02:00:00:00:01:%02x" % number)
        assert host.extend(b"tag_inc_be") == [b"TAG_INC_BE"], f"initiator {number + 1}"
        host.write(number, b"w" * 512, tag=1)  # who never wrote may lose his place to a newcomer
    late = start.initiator("02:00:00:00:02:00")
    assert late.extend(b"tag_inc_be", b"coalesced_read") == [b"tag_inc_be", b"coalesced_read"]
    first.write(0, b"1" * 512, tag=1)
    assert first.read(0) == b"2" * 512
    first.extend(b"reset")
    assert late.extend(b"tag_inc_be") == [b"TAG_INC_BE"], "there is room again"


strings = st.one_of(
    st.sampled_from([*NAMES, b"congestion", b"Reset", b"CRC8X4", b"coalesced_write_reply"]),
    st.binary(min_size=1, max_size=12).filter(lambda s: b"\0" not in s),
)


@settings(max_examples=120)
@given(st.lists(strings, max_size=12), st.sampled_from(["le", "be"]))
def test_any_table_comes_back_with_the_same_strings_but_for_case(shared_initiator, table, order):
    # No congestion probe of its own: a numeric argument would pause the target.
    table = [s for s in table if not s.isdigit()]
    back = shared_initiator.extend(*table, order=order)
    assert [s.lower() for s in back] == [s.lower() for s in table]
    known = {*NAMES, b"congestion", b"coalesced_write_reply"}
    for asked, answered in zip(table, back):
        if asked.lower() not in known:
            assert answered == asked
        else:
            assert answered in (asked, asked.lower(), asked.upper())


# -- tag window: duplicate writes are rejected


def swapped(counter):
    return int.from_bytes(counter.to_bytes(4, "big"), "little")


class Tagged:
    """An initiator whose tags are a counter in the negotiated byte order. Every write goes to one sector and
    says its own value there, so the sector tells which write was the last one performed. Another host looks at
    it: a read of the initiator's own would need the counter's next tag."""

    LBA = 77

    def __init__(self, initiator, order="be"):
        self.initiator, self.order = initiator, order
        self.observer = initiator.beside("02:00:00:00:0b:5e")
        name = b"tag_inc_" + order.encode()
        assert initiator.extend(b"reset", name) == [b"RESET", name.upper()]

    def tag(self, counter):
        counter %= WRAP
        return counter if self.order == "be" else swapped(counter)

    def frame(self, counter, value, lba=None):
        lba = self.LBA if lba is None else lba
        data = (b"%08d" % value) * 64
        return self.initiator.ata_frame(aoe.WRITE_EXT, lba=lba, count=1, data=data, tag=self.tag(counter))

    def write(self, counter, value):
        """A write that is answered as a success, performed or not: sector count 0, error 0."""
        reply = self.initiator.ask_frame(self.frame(counter, value))
        judge_done(reply)
        assert reply[AoeAta].count == 0
        assert not any(data_of(reply))

    def held(self):
        return int(self.observer.read(self.LBA)[:8])


@ORDERS
@pytest.mark.parametrize("first", [0, 1, 1000, WRAP - 1, WRAP - 20000])
@pytest.mark.parametrize("newer", [1, 2, 1023, WINDOW_TAGS - 1])
def test_a_duplicate_is_answered_as_done_and_not_performed(initiator, order, first, newer):
    tagged = Tagged(initiator, order)
    tagged.write(first, 1)
    tagged.write(first, 99)
    assert tagged.held() == 1, "performed at once again"
    tagged.write(first + newer, 2)
    tagged.write(first, 1)
    assert tagged.held() == 2, f"an old write was performed after {newer} newer tags"


def test_every_one_of_a_run_of_writes_is_remembered(initiator):
    tagged = Tagged(initiator)
    for counter in range(200):
        tagged.write(WRAP - 100 + counter, counter)
    for counter in range(200):
        tagged.write(WRAP - 100 + counter, 500 + counter)
        assert tagged.held() == 199


@ORDERS
def test_a_tag_behind_the_window_is_not_answered(initiator, barrier, order):
    tagged = Tagged(initiator, order)
    tagged.write(5, 1)
    tagged.write(5 + WINDOW_TAGS, 2)
    initiator.host.expect_silence(tagged.frame(5, 1), barrier.host)
    assert tagged.held() == 2


def test_a_tag_behind_the_window_is_performed_where_that_was_asked_for(start):
    start("--behind-window", "perform")
    tagged = Tagged(start.initiator())
    tagged.write(5, 1)
    tagged.write(5 + WINDOW_TAGS, 2)
    tagged.write(5, 1)
    assert tagged.held() == 1
    tagged.write(5, 3)
    assert tagged.held() == 1, "the window restarts there"


def test_gaps_are_not_duplicates(initiator):
    tagged = Tagged(initiator)
    tagged.write(1000, 1)
    tagged.write(1000 + 500, 2)
    tagged.write(1000 + 250, 3)
    assert tagged.held() == 3, "a late first arrival inside the window is performed"
    tagged.write(1000 + 250, 4)
    assert tagged.held() == 3


def test_reads_are_never_rejected(initiator):
    tagged = Tagged(initiator)
    tagged.write(9, 1)
    for _ in range(2):
        reply = initiator.ask_frame(initiator.ata_frame(aoe.READ_EXT, lba=3, count=1, tag=tagged.tag(9)))
        judge_done(reply)
        assert data_of(reply) == sector_of(3)
    tagged.write(9, 2)
    assert tagged.held() == 1, "a read with that tag is not what it remembers"


def test_a_refused_write_is_not_remembered(initiator, start):
    tagged = Tagged(initiator)
    # Past the end.
    judge_ata_error(initiator.ask_frame(tagged.frame(1, 1, lba=IMAGE_SECTORS)), aoe.IDNF)
    tagged.write(1, 1)
    assert tagged.held() == 1
    # A bad argument: two sectors claimed, one brought.
    short = tagged.frame(2, 2)
    short[AoeAta].count = 2
    assert initiator.ask_frame(short)[AoE].error == 2
    tagged.write(2, 2)
    assert tagged.held() == 2
    # Reserved by another.
    other = start.initiator("02:00:00:00:00:02")
    other.reserve(AoeReserve.SET, [other.mac])
    assert initiator.ask_frame(tagged.frame(3, 3))[AoE].error == 6
    other.reserve(AoeReserve.SET, [])
    tagged.write(3, 3)
    assert tagged.held() == 3


@pytest.fixture
def small_disk(tmp_path, namespace):
    """A sparse image on a file system too small for it, and a file that fills the rest: writes fail until it
    is gone."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder])
    assert mounted.returncode == 0, mounted
    image, filler = folder / "sparse.img", folder / "filler"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield image, filler
    run(["umount", "-l", folder])


def test_a_write_that_failed_on_the_disk_is_not_remembered(start, small_disk):
    image, filler = small_disk
    start(image=image)
    tagged = Tagged(start.initiator())
    failed = tagged.initiator.ask_frame(tagged.frame(1, 1))
    assert failed[AoE].error == 0 and failed[AoeAta].cmdstat & aoe.ERR, "the disk is full"
    again = tagged.initiator.ask_frame(tagged.frame(1, 1))
    assert again[AoeAta].cmdstat & aoe.ERR, "a repetition is not told that it was done"
    filler.unlink()
    tagged.write(1, 1)
    assert tagged.held() == 1
    tagged.write(1, 2)
    assert tagged.held() == 1, "now it is remembered"


def test_two_initiators_with_the_same_tags_have_a_window_each(initiator, start):
    first, second = Tagged(initiator), Tagged(start.initiator("02:00:00:00:00:02"))
    for counter in range(5):
        first.write(counter, 10 + counter)
        assert first.held() == 10 + counter
        second.write(counter, 20 + counter)
        assert first.held() == 20 + counter
    first.write(4, 99)
    assert first.held() == 24


def test_reset_and_a_new_negotiation_empty_the_window(initiator):
    tagged = Tagged(initiator)
    tagged.write(1, 1)
    initiator.extend(b"reset")
    tagged.write(1, 2)
    assert tagged.held() == 2, "plain AoE performs what comes"
    tagged = Tagged(initiator)
    tagged.write(1, 3)
    assert tagged.held() == 3, "a new window knows no tag"


CONFIG_COMMANDS = [
    ("any-config", AoeConfig.READ, True),
    ("any-config", AoeConfig.FORCE, True),
    ("config-write", AoeConfig.READ, False),
    ("config-write", AoeConfig.FORCE, True),
]


@pytest.mark.parametrize("option, ccmd, resets", CONFIG_COMMANDS)
def test_config_commands_reset(start, option, ccmd, resets):
    start("--reset-on", option)
    asking = start.initiator()
    tagged = Tagged(asking)
    tagged.write(1, 1)
    tagged.write(2, 2)
    asking.config(ccmd, b"new" if ccmd else b"")
    tagged.write(1, 1)
    assert tagged.held() == (1 if resets else 2)


def test_under_tag_random_no_write_is_rejected(initiator):
    assert initiator.extend(b"tag_random") == [b"TAG_RANDOM"]
    for value in (b"1", b"2", b"3"):
        initiator.write(0, value * 512, tag=5)
        assert initiator.read(0) == value * 512


@pytest.mark.parametrize("mode", [b"tag_inc_be", b"tag_random"])
def test_a_duplicate_on_the_heels_of_its_original_is_performed_once(initiator, mode):
    initiator.extend(b"reset", mode)
    for round_number in range(20):
        tag = 100 + 2 * round_number
        write = initiator.ata_frame(aoe.WRITE_EXT, lba=0, count=1, data=b"o" * 512, tag=tag)
        later = initiator.ata_frame(aoe.WRITE_EXT, lba=0, count=1, data=b"n" * 512, tag=tag + 1)
        for frame in (write, write, later):
            initiator.host.send(frame)
        judge_done(initiator.judge(write, initiator.host.await_tag(tag)))
        judge_done(initiator.judge(later, initiator.host.await_tag(tag + 1)))
        for raw in initiator.host.drain(0.002):
            assert aoe.Ether(raw)[AoE].tag == tag, "the duplicate was answered, or dropped in the ring"
        assert initiator.beside("02:00:00:00:0b:5e").read(0) == b"n" * 512


# The whole rule of the tag window.
def model_performs(state, tag):
    """state: [highest, performed tags]. Is a write with this tag performed? None: no answer."""
    highest, done = state
    if highest is None or 0 < (tag - highest) % WRAP < WRAP // 2:
        state[:] = tag, {t for t in done if (tag - t) % WRAP < WINDOW_TAGS} | {tag}
        return True
    if (highest - tag) % WRAP >= WINDOW_TAGS:
        return None
    fresh = tag not in done
    done.add(tag)
    return fresh


steps = st.lists(
    st.one_of(
        st.integers(-3, 3),
        st.sampled_from([16, 500, WINDOW_TAGS - 1, WINDOW_TAGS, -WINDOW_TAGS + 1, -WINDOW_TAGS, 100_000]),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(st.sampled_from([0, 5, WRAP - 2, WRAP - WINDOW_TAGS, WRAP // 2]), steps, st.sampled_from(["be", "le"]))
def test_any_sequence_of_tags_equals_the_model(shared_initiator, shared_barrier, start_tag, jumps, order):
    tagged = Tagged(shared_initiator, order)
    state, tag, held = [None, set()], start_tag, None
    for value, jump in enumerate([0, *jumps], 1):
        tag = (tag + jump) % WRAP
        performed = model_performs(state, tag)
        if performed is None:
            shared_initiator.host.expect_silence(tagged.frame(tag, value), shared_barrier.host)
        else:
            tagged.write(tag, value)
            held = value if performed else held
        assert tagged.held() == held


@pytest.fixture
def shared_barrier(barrier):
    return barrier


# -- coalesced reads


def coalesced(initiator, first, further, command=aoe.READ_EXT, more=None):
    """first: (lba, count); further: [(lba, count)]. Returns the frame and the tags in order."""
    entries = [CoalescedEntry(tag=initiator.host.tag(), lba=lba, count=count) for lba, count in further]
    frame = initiator.ata_frame(command, lba=first[0], count=first[1])
    frame /= aoe.AoeCoalesced(more=more, entries=entries)
    return frame, [frame[AoE].tag, *[entry.tag for entry in entries]]


def ask_coalesced(initiator, first, further, **options):
    """The replies, in order of arrival, which must be the order asked in."""
    frame, tags = coalesced(initiator, first, further, **options)
    initiator.host.send(frame)
    replies = []
    for tag in tags:
        raw = initiator.host.receive(ANSWER_SECONDS)
        assert raw is not None, f"{len(replies)} of {len(tags)} answered"
        reply = aoe.Ether(raw)
        assert reply[AoE].tag == tag, "in order, each with its own tag"
        replies.append(reply)
    return replies


@pytest.mark.parametrize("command", aoe.READS)
def test_coalesced_reads_are_answered_each_for_itself(initiator, command):
    initiator.extend(b"coalesced_read")
    wanted = [(10, 2), (500, 1), (7, 1), (10, 2), (IMAGE_SECTORS - 1, 1)]
    replies = ask_coalesced(initiator, wanted[0], wanted[1:], command=command)
    for (lba, count), reply in zip(wanted, replies):
        judge_done(reply)
        assert reply[AoeAta].lba == lba
        assert data_of(reply) == b"".join(sector_of(lba + i) for i in range(count))


def test_as_many_as_fit_a_frame(initiator, link):
    initiator.extend(b"coalesced_read")
    fit = (link.mtu + 14 - 37) // 16
    assert fit == 92
    wanted = [(i, 1) for i in range(fit)]
    replies = ask_coalesced(initiator, (1000, 1), wanted)
    assert data_of(replies[0]) == sector_of(1000)
    for (lba, _), reply in zip(wanted, replies[1:]):
        assert data_of(reply) == sector_of(lba)


def test_what_does_not_fit_the_frame_is_not_served(initiator, start):
    initiator.extend(b"coalesced_read")
    replies = ask_coalesced(initiator, (1, 1), [(2, 1), (3, 1)], more=255)
    assert [data_of(reply) for reply in replies] == [sector_of(lba) for lba in (1, 2, 3)]
    initiator.read(0)
    assert initiator.host.drain(0.02) == []


def test_an_error_in_one_does_not_end_the_others(initiator):
    initiator.extend(b"coalesced_read")
    replies = ask_coalesced(
        initiator, (2**40, 1), [(4, 1), (5, 200), (IMAGE_SECTORS, 1), (6, 1)]
    )
    judge_ata_error(replies[0], aoe.IDNF)
    assert data_of(replies[1]) == sector_of(4)
    assert replies[2][AoE].error == 2
    judge_ata_error(replies[3], aoe.IDNF)
    assert data_of(replies[4]) == sector_of(6)


def test_without_negotiation_it_is_a_plain_read(initiator):
    frame, tags = coalesced(initiator, (1, 1), [(2, 1), (3, 1)])
    assert data_of(initiator.ask_frame(frame)) == sector_of(1)
    initiator.read(0)
    assert initiator.host.drain(0.02) == []


def test_padding_is_no_count(initiator):
    initiator.extend(b"coalesced_read")
    frame = bytes(initiator.ata_frame(aoe.READ_EXT, lba=1, count=1))
    initiator.ask_frame(aoe.Ether(frame + bytes(60 - len(frame))))
    initiator.read(0)
    assert initiator.host.drain(0.02) == []


# -- check bytes


def checked(frame):
    raw = bytes(frame)
    return raw + aoe.crc8x4(raw[24:])


def test_crc8x4_checks_writes_and_adds_to_reads(initiator, barrier):
    assert initiator.extend(b"crc8x4") == [b"CRC8X4"]
    write = initiator.ata_frame(aoe.WRITE_EXT, lba=9, count=1, data=b"c" * 512)
    judge_done(initiator.ask_frame(aoe.Ether(checked(write))))
    raw = bytes(initiator.ata(aoe.READ_EXT, lba=9, count=1))
    assert len(raw) == 36 + 512 + 4
    assert raw[36:548] == b"c" * 512
    assert raw[548:] == aoe.crc8x4(raw[24:548])
    # A flipped bit anywhere: dropped, and nothing written.
    for position in (40, 300, 549, 551):
        wrong = bytearray(checked(initiator.ata_frame(aoe.WRITE_EXT, lba=9, count=1, data=b"d" * 512)))
        wrong[position] ^= 0x10
        initiator.host.expect_silence(bytes(wrong), barrier.host)
    assert bytes(initiator.ata(aoe.READ_EXT, lba=9, count=1))[36:548] == b"c" * 512
    # Without the four bytes it is taken as it is.
    judge_done(initiator.ata(aoe.WRITE_EXT, lba=9, count=1, data=b"e" * 512))
    assert bytes(initiator.ata(aoe.READ_EXT, lba=9, count=1))[36:548] == b"e" * 512


def test_without_crc8x4_replies_have_no_check(initiator):
    initiator.write(9, b"c" * 512)
    assert len(bytes(initiator.ata(aoe.READ_EXT, lba=9, count=1))) == 548


# -- congestion: replies are counted

PAUSE_SECONDS = 0.5
PAUSES_MAX = 4


def probe(initiator, number):
    strings = [b"congestion", b"%d" % number]
    return initiator.frame(aoe.AoeExtensionsLE(strings=strings), aoe.CMD_EXTENSIONS)


def burst(initiator, number, size):
    """Sends `size` probes at once: (seconds until the first answer, the answered tags, their names)."""
    frames = [probe(initiator, number) for _ in range(size)]
    tags = {frame[AoE].tag for frame in frames}
    raws = [bytes(frame) for frame in frames]
    began = time.monotonic()
    for raw in raws:
        initiator.host.send(raw)
    first = initiator.host.receive(ANSWER_SECONDS)
    seconds = time.monotonic() - began
    assert first is not None, "no probe was answered"
    answers = [aoe.Ether(raw) for raw in [first, *initiator.host.drain(0.1)]]
    names = set()
    for reply in answers:
        name, argument = aoe.decode_table(bytes(reply)[26 : 26 + int.from_bytes(bytes(reply)[24:26], "little")])
        assert argument == b"%d" % number, "the id comes back"
        names.add(name)
    answered = [reply[AoE].tag for reply in answers]
    assert set(answered) <= tags and len(set(answered)) == len(answered), "every probe at most once"
    return seconds, len(answered), names


@pytest.mark.parametrize("buffers", [8, 48])
def test_the_count_of_replies_is_the_receive_buffer(start, buffers):
    start("--buffer-count", buffers)
    asking = start.initiator()
    told = asking.config()[AoeConfig].buffers
    assert told == buffers
    counts = []
    for number in (1, 2, 3):
        seconds, answered, names = burst(asking, number, 4 * buffers)
        assert seconds >= PAUSE_SECONDS, "answered after the pause"
        assert names == {b"CONGESTION"}
        counts.append(answered)
    # The probe that begins the pause has left the buffer; the rest is what the buffer holds.
    assert set(counts) <= {buffers, buffers + 1}, counts
    # The same id again: no pause.
    seconds, answered, names = burst(asking, 3, 4)
    assert seconds < PAUSE_SECONDS and answered == 4 and names == {b"CONGESTION"}


def test_a_new_id_pauses_four_times_in_ten_seconds_and_no_more(start):
    start()
    asking = start.initiator()
    for number in range(1, PAUSES_MAX + 1):
        seconds, _, names = burst(asking, number, 2)
        assert seconds >= PAUSE_SECONDS and names == {b"CONGESTION"}
    for number in (100, 101):
        seconds, answered, names = burst(asking, number, 2)
        assert seconds < PAUSE_SECONDS, "beyond the budget there is no pause"
        assert (answered, names) == (2, {b"congestion"}), "lower case: it was not active"
    # The budget is the target's, not each initiator's.
    seconds, _, names = burst(start.initiator("02:00:00:00:00:02"), 200, 2)
    assert seconds < PAUSE_SECONDS and names == {b"congestion"}


def test_a_pause_delays_requests_and_not_the_disk(start):
    start()
    asking = start.initiator()
    writes = [asking.ata_frame(aoe.WRITE_EXT, lba=i, count=1, data=b"p" * 512) for i in range(4)]
    pausing, late = probe(asking, 1), asking.ata_frame(aoe.READ_EXT, lba=9, count=1)
    began = time.monotonic()
    for frame in (*writes, pausing, late):
        asking.host.send(frame)
    for frame in writes:
        judge_done(asking.judge(frame, asking.host.await_tag(frame[AoE].tag)))
    assert time.monotonic() - began < PAUSE_SECONDS, "writes that were begun end during the pause"
    asking.host.await_tag(pausing[AoE].tag)
    assert time.monotonic() - began >= PAUSE_SECONDS
    assert data_of(asking.host.await_tag(late[AoE].tag)) == sector_of(9)


# -- the real AoEde


def test_the_capture_of_aoede_replayed(start, tmp_path, project):
    """Every request of a real session with AoEde, sent to ours from an equally new disk: the replies must be
    AoEde's, but for what docs/extensions.md lists: numbers that tell which program it is (buffer count,
    firmware), the padding that AoEde does not clear, and unpadded config replies."""
    from test_layers import frames_of

    frames = [aoe.Ether(raw) for raw in frames_of(project / "pcaps/corpus/aoede-extensions-1500.pcap")]
    asker = frames[0].src
    disk = tmp_path / "new.img"
    disk.write_bytes(bytes(4 << 20))
    # AoEde's kernel buffers held the bursts of 200 whole.
    start("--buffer-count", 256, image=disk)
    asking = start.initiator(asker)
    awaiting = []
    compared = 0

    def compare(theirs, ours):
        assert comparable(ours) == comparable(theirs), f"{bytes(ours)[:80].hex()} for {bytes(theirs)[:80].hex()}"

    for frame in frames:
        if frame.src == asker:
            raw = bytes(frame)
            if frame.dst != aoe.BROADCAST:
                raw = bytes.fromhex(asking.target_mac.replace(":", "")) + raw[6:]
            asking.host.send(raw)
            continue
        awaiting.append(frame)
        ours = asking.host.receive(ANSWER_SECONDS)
        assert ours is not None, f"AoEde answered {bytes(frame)[:60].hex()}, we did not"
        compare(frame, aoe.Ether(ours))
        compared += 1
    assert compared == sum(frame.src != asker for frame in frames) > 600
    assert asking.host.drain(0.05) == []


def comparable(frame):
    """A reply without addresses, padding, and what tells one program from another."""
    message = frame[AoE].payload
    header = bytes(frame)[14:24]
    if isinstance(message, AoeConfig):
        return header, message.ccmd, message.aoe_version, message.sectors, message.string
    if isinstance(message, AoeAta):
        data = data_of(frame) if len(bytes(frame)) > 60 else b""
        return header, bytes(frame)[24:36], data
    return header, message.strings


# -- our own: write replies in one frame (docs/extensions.md)


def write_results(raw, by):
    """{tag: (error, count, status, LBA)} of a frame that answers writes of a session with the extension."""
    reply = by.judge(raw[6:12] + raw[:6] + raw[12:14] + b"\x10" + raw[15:], aoe.Ether(raw))
    if reply[AoE].is_error:
        return {reply[AoE].tag: None}
    found, entries = {}, [raw[20:24] + raw[24:36]]
    assert raw[24] & 1, "W says that a list may follow"
    entries += [raw[37 + 16 * i : 53 + 16 * i] for i in range(raw[36])]
    assert not any(raw[37 + 16 * raw[36] :]), "padding"
    for entry in entries:
        assert len(entry) == 16, "no entry is cut"
        ata = AoeAta(entry[4:])
        assert int(ata.aflags) & 1 and ata.reserved == 0
        tag = int.from_bytes(entry[:4], "big")
        assert tag not in found
        found[tag] = (ata.feature, ata.count, ata.cmdstat, ata.lba)
    return found


def paused_writes(initiator, frames):
    """Sends the frames behind a congestion probe, so that they wait together; the frames that answer them."""
    pausing = probe(initiator, 4711)
    for frame in (pausing, *frames):
        initiator.host.send(frame)
    initiator.host.await_tag(pausing[AoE].tag)
    return [raw for raw in initiator.host.drain(0.3)]


def test_write_replies_travel_together_where_that_was_negotiated(initiator):
    assert initiator.extend(b"coalesced_write_reply") == [b"COALESCED_WRITE_REPLY"]
    frames = [initiator.ata_frame(aoe.WRITE_EXT, lba=i, count=1, data=b"t" * 512) for i in range(20)]
    frames.append(initiator.ata_frame(aoe.WRITE_EXT, lba=IMAGE_SECTORS, count=1, data=b"t" * 512))
    frames.append(initiator.ata_frame(aoe.WRITE_EXT, lba=0, count=9, data=b"t" * 512))
    raws = paused_writes(initiator, frames)
    assert len(raws) < len(frames), "each result still came alone"
    results = {}
    for raw in raws:
        found = write_results(raw, initiator)
        assert not set(found) & set(results), "each result once"
        results.update(found)
    assert set(results) == {frame[AoE].tag for frame in frames}
    for frame in frames[:20]:
        assert results[frame[AoE].tag] == (0, 0, aoe.DRDY, frame[AoeAta].lba)
    assert results[frames[20][AoE].tag] == (aoe.IDNF, 1, aoe.DRDY | aoe.ERR, IMAGE_SECTORS)
    assert results[frames[21][AoE].tag] is None, "an AoE error travels alone"
    # A reply to a read never claims a list, and one write's is a plain reply.
    assert not bytes(initiator.ata(aoe.READ_EXT, lba=0, count=1, aflags=0x41))[24] & 1
    assert bytes(initiator.write(0, b"u" * 512))[36] == 0


def test_plain_initiators_get_a_frame_for_each_write(initiator):
    frames = [initiator.ata_frame(aoe.WRITE_EXT, lba=i, count=1, data=b"t" * 512) for i in range(20)]
    replies = [aoe.Ether(raw) for raw in paused_writes(initiator, frames)]
    assert sorted(reply[AoE].tag for reply in replies) == sorted(frame[AoE].tag for frame in frames)
    for reply in replies:
        judge_done(reply)
        assert not any(data_of(reply))
