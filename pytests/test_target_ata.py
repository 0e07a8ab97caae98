"""ATA commands, judged by the bytes that come back and by the image file behind them."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.packet import Raw

import aoe_layers as aoe
from aoe_layers import AoE, AoeAta
from conftest import IMAGE_SECTORS, sector_of
from dialogue import data_of, judge_ata_error, judge_done

MTUS = pytest.mark.parametrize("mtu", [1500, 9000], indirect=True)


def sectors_max(link):
    return (link.mtu + 14 - 36) // 512


@MTUS
def test_reads_of_every_size_bring_the_right_sectors(initiator, link):
    for count in range(1, sectors_max(link) + 1):
        for lba in (0, 5, IMAGE_SECTORS - count):
            expected = b"".join(sector_of(lba + i) for i in range(count))
            assert initiator.read(lba, count) == expected
            assert initiator.read(lba, count, aoe.READ) == expected


@MTUS
def test_writes_of_every_size_reach_the_image_and_nothing_else(initiator, start, link):
    expected = bytearray(start.image.read_bytes())
    for count in range(1, sectors_max(link) + 1):
        for command in aoe.WRITES:
            lba = 40 * count + (command == aoe.WRITE)
            data = bytes([count]) * 512 * count
            initiator.write(lba, data, command)
            expected[lba * 512 : lba * 512 + len(data)] = data
            assert initiator.read(lba, count) == data
    assert start.image.read_bytes() == expected


def test_a_read_padded_by_a_real_wire_is_the_same_read(initiator):
    frame = bytes(initiator.ata_frame(aoe.READ_EXT, lba=3, count=1))
    reply = initiator.ask_frame(aoe.Ether(frame + bytes(60 - len(frame))))
    assert data_of(reply) == sector_of(3)


@MTUS
@pytest.mark.parametrize("command", [*aoe.READS, *aoe.WRITES])
def test_more_sectors_than_fit_get_error_2(initiator, start, link, command):
    before = start.image.read_bytes()
    for count in (sectors_max(link) + 1, 128, 255):
        data = b"x" * min(512 * count, link.mtu + 14 - 36) if command in aoe.WRITES else b""
        reply = initiator.ata(command, lba=0, count=count, data=data)
        assert reply[AoE].error == 2, f"{count} sectors"
    assert start.image.read_bytes() == before


@pytest.mark.parametrize("command", aoe.WRITES)
def test_a_write_with_too_little_payload_writes_nothing(initiator, start, command):
    before = start.image.read_bytes()
    # Another host's sectors lie in the receive buffer behind the short frame.
    start.initiator("02:00:00:00:00:66").ata(aoe.WRITE_EXT, lba=5000, count=2, data=b"S" * 1024)
    for size in (0, 1, 511, 1023):
        reply = initiator.ata(command, lba=0, count=2, data=b"x" * size)
        assert reply[AoE].error == 2, f"{size} bytes for two sectors"
    assert start.image.read_bytes() == before


OUTSIDE = [
    (IMAGE_SECTORS, 1),
    (IMAGE_SECTORS - 1, 2),
    (IMAGE_SECTORS + 1000, 1),
    (2**28 - 1, 1),
    (2**48 - 1, 1),
    (2**48 - 1, 2),
    (2**47, 2),
]


@pytest.mark.parametrize("lba, count", OUTSIDE)
def test_past_the_end_is_idnf(initiator, start, lba, count):
    before = start.image.read_bytes()
    judge_ata_error(initiator.ata(aoe.READ_EXT, lba=lba, count=count), aoe.IDNF)
    data = b"x" * 512 * count
    judge_ata_error(initiator.ata(aoe.WRITE_EXT, lba=lba, count=count, data=data), aoe.IDNF)
    if lba < 2**28:
        judge_ata_error(initiator.ata(aoe.READ, lba=lba, count=count), aoe.IDNF)
    assert start.image.read_bytes() == before


def test_28_bit_commands_use_the_low_28_bits(initiator):
    # The device register of old disks stands in bits 24-31; Linux sets 0xA0 or 0xE0 there.
    for noise in (0xE0000000, 0x10000000, 0xFFFF_F000_0000):
        reply = initiator.ata(aoe.READ, lba=noise | 9, count=1)
        judge_done(reply)
        assert data_of(reply) == sector_of(9)


def test_identify_tells_the_capacity_and_its_features(initiator, start):
    data = initiator.identify()
    words = struct.unpack("<256H", data)
    assert words[60] | words[61] << 16 == IMAGE_SECTORS
    assert sum(words[100 + i] << 16 * i for i in range(4)) == IMAGE_SECTORS
    assert words[83] & 1 << 10 and words[86] & 1 << 10, "LBA48"
    assert words[49] & 1 << 9, "LBA"

    def text(first, last):
        return b"".join(struct.pack(">H", word) for word in words[first : last + 1])

    for first, last in ((10, 19), (23, 26), (27, 46)):
        assert text(first, last).strip(), f"words {first}-{last}"
        assert all(0x20 <= byte < 0x7F for byte in text(first, last))
    assert b"aoe-target" in text(27, 46)


def test_identify_of_a_huge_disk_caps_its_28_bit_capacity(start, tmp_path):
    sectors = 2**28 + 5
    huge = tmp_path / "huge.img"
    with huge.open("wb") as file:
        file.truncate(sectors * 512)  # sparse
    start(image=huge)
    asking = start.initiator()
    words = struct.unpack("<256H", asking.identify())
    assert words[60] | words[61] << 16 == 0x0FFFFFFF
    assert sum(words[100 + i] << 16 * i for i in range(4)) == sectors
    asking.write(sectors - 1, b"z" * 512)
    assert asking.read(sectors - 1) == b"z" * 512
    # The same number in 28 bits is another sector.
    assert asking.read((sectors - 1) & (2**28 - 1), command=aoe.READ) == bytes(512)


def test_flush_and_check_power_are_good(initiator):
    initiator.write(1, b"f" * 512)
    for command in (aoe.FLUSH, aoe.FLUSH_EXT):
        judge_done(initiator.ata(command))
    reply = initiator.ata(aoe.CHECK_POWER)
    judge_done(reply)
    assert reply[AoeAta].count == 0xFF, "active or idle"


def test_what_is_not_supported_is_aborted(initiator):
    supported = {*aoe.READS, *aoe.WRITES, aoe.IDENTIFY, aoe.FLUSH, aoe.FLUSH_EXT, aoe.CHECK_POWER}
    for command in sorted(set(range(256)) - supported):
        judge_ata_error(initiator.ata(command, lba=1, count=1), aoe.ABRT)


def test_a_read_only_target_refuses_writes(start):
    start.image.chmod(0o444)
    start("--read-only")
    asking = start.initiator()
    before = start.image.read_bytes()
    for command in aoe.WRITES:
        reply = asking.ata(command, lba=0, count=1, data=b"x" * 512)
        judge_ata_error(reply, aoe.ABRT)
        assert reply[AoeAta].cmdstat & aoe.DF == 0, "refused, not failed"
    assert asking.read(0) == sector_of(0)
    assert start.image.read_bytes() == before


def test_nothing_of_another_host_is_in_a_reply_without_data(initiator, start):
    other = start.initiator("02:00:00:00:00:66")
    secret = b"\xa5\x5a" * 512
    asked = [
        lambda: initiator.ata(aoe.FLUSH),
        lambda: initiator.ata(aoe.CHECK_POWER),
        lambda: initiator.ata(aoe.READ_EXT, lba=2**40, count=2),
        lambda: initiator.ata(aoe.READ_EXT, lba=0, count=255),
        lambda: initiator.ata(0x99, lba=0, count=2),
        lambda: initiator.ata(aoe.WRITE_EXT, lba=0, count=2),
        lambda: initiator.ask(Raw(bytes(2)), aoe.CMD_RESERVE),
        lambda: initiator.ask(Raw(bytes(4)), aoe.CMD_MASK),
        lambda: initiator.ask(Raw(bytes(8)), aoe.CMD_CONFIG),
        lambda: initiator.ask(Raw(b""), 0x77),
    ]
    for ask in asked:
        other.write(100, secret)
        assert other.read(100, 2) == secret
        reply = bytes(ask())
        assert b"\xa5" not in reply[24:] and b"\x5a" not in reply[24:], reply.hex()


# -- properties

AREA = 16  # sectors: small, so that operations meet

operations = st.lists(
    st.tuples(
        st.sampled_from(["read", "write"]), st.integers(0, AREA - 1), st.integers(1, 2), st.integers(0, 255)
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(operations)
def test_any_sequence_of_reads_and_writes_equals_the_model(shared_initiator, steps):
    model = bytearray(AREA * 512)
    for lba in range(0, AREA, 2):
        shared_initiator.write(lba, bytes(1024))
    for kind, lba, count, value in steps:
        count = min(count, AREA - lba)
        here = slice(lba * 512, (lba + count) * 512)
        if kind == "write":
            model[here] = bytes([value]) * 512 * count
            shared_initiator.write(lba, bytes(model[here]))
        else:
            assert shared_initiator.read(lba, count) == model[here]
    for lba in range(0, AREA, 2):
        assert shared_initiator.read(lba, 2) == model[lba * 512 : (lba + 2) * 512]


@settings(max_examples=25)
@given(operations)
def test_a_burst_without_waiting_keeps_its_order(shared_initiator, steps):
    """All at once, no reply awaited: what overlaps must still happen in the order of arrival."""
    host = shared_initiator.host
    model = bytearray(AREA * 512)
    for lba in range(0, AREA, 2):
        shared_initiator.write(lba, bytes(1024))
    expected = {}
    frames = []
    for kind, lba, count, value in steps:
        count = min(count, AREA - lba)
        here = slice(lba * 512, (lba + count) * 512)
        if kind == "write":
            model[here] = bytes([value]) * 512 * count
            frame = shared_initiator.ata_frame(aoe.WRITE_EXT, lba=lba, count=count, data=bytes(model[here]))
        else:
            frame = shared_initiator.ata_frame(aoe.READ_EXT, lba=lba, count=count)
            expected[frame[AoE].tag] = bytes(model[here])
        frames.append(frame)
    for frame in frames:
        host.send(frame)
    replies = {}
    while len(replies) < len(frames):
        raw = host.receive(5)
        assert raw is not None, f"{len(frames) - len(replies)} of {len(frames)} unanswered"
        reply = aoe.Ether(raw)
        judge_done(reply)
        replies[reply[AoE].tag] = reply
    for tag, data in expected.items():
        assert data_of(replies[tag]) == data


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 2, 3, 0x23]) | st.integers(0, 255),
            st.sampled_from([0, 0, 0, 1, 4, 8]),
            st.binary(max_size=300),
        ),
        max_size=80,
    )
)
def test_random_frames_never_kill_it(start, frames):
    # A new target for every example: a random mask list may well lock everybody out. What is left of
    # the answer then is the process itself, which must end well when it is told to.
    target = start()
    asking = start.initiator()
    for cmd, flags, body in frames:
        asking.host.send(asking.frame(Raw(body), cmd, flags=flags, error=len(body) & 0xFF))
    assert target.alive, target.said()
    assert target.end() == 0, target.said()
    asking.host.close()
