"""The layers against what they must agree with: the real captures byte for byte, tshark's own
dissector field for field, and values worked out by hand from docs/protocol.md."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapReader

import aoe_layers as aoe
from conftest import PROJECT
from programs import run

CORPUS = PROJECT / "pcaps" / "corpus"
DEFINED = {0, 1, 2, 3, 0x23}
CAPTURES = sorted(path.name for path in CORPUS.glob("*.pcap"))


def frames_of(path):
    reader = RawPcapReader(str(path))
    try:
        return [raw for raw, _ in reader]
    finally:
        reader.close()


def rebuilt(packet):
    """The packet's bytes made from its fields alone: nothing of what it was dissected from."""
    copy = packet.copy()
    layer = copy
    while layer:
        layer.raw_packet_cache = None
        for name in ("entries", "directives"):
            for entry in layer.fields.get(name, ()):
                entry.raw_packet_cache = None
        layer = layer.payload
    return bytes(copy)


def test_the_corpus_is_there():
    assert len(CAPTURES) >= 12, f"captures in {CORPUS}: {CAPTURES}"


@pytest.mark.parametrize("name", CAPTURES)
def test_every_captured_frame_dissects_and_rebuilds(name):
    for number, raw in enumerate(frames_of(CORPUS / name), 1):
        packet = Ether(raw)
        assert rebuilt(packet) == raw, f"frame {number}"
        assert packet.haslayer(aoe.AoE), f"frame {number}"
        # A command that nobody has defined is the one thing whose argument stays bytes.
        assert bool(packet.haslayer("Raw")) == (raw[19] not in DEFINED), f"frame {number}"


# In a reply tshark adds the command of the request that it found to it: no byte of this frame.
GENERATED = object()
# tshark's name for a field, and our value of it; None where the frame has no such field.
TSHARK_FIELDS = {
    "aoe.version": lambda p: p[aoe.AoE].version,
    "aoe.response": lambda p: int(p[aoe.AoE].is_reply),
    "aoe.flags_error": lambda p: int(p[aoe.AoE].is_error),
    "aoe.error": lambda p: p[aoe.AoE].error if p[aoe.AoE].is_error else None,
    "aoe.major": lambda p: p[aoe.AoE].shelf,
    "aoe.minor": lambda p: p[aoe.AoE].slot,
    "aoe.cmd": lambda p: p[aoe.AoE].cmd,
    "aoe.tag": lambda p: p[aoe.AoE].tag,
    "aoe.aflags.e": lambda p: _ata(p, lambda a: int(a.aflags) >> 6 & 1),
    # tshark shows D beside a set E only, and A beside a set W only.
    "aoe.aflags.d": lambda p: _ata(p, lambda a: a.aflags.D * 1 if a.aflags.E else None),
    "aoe.aflags.a": lambda p: _ata(p, lambda a: a.aflags.A * 1 if a.aflags.W else None),
    "aoe.aflags.w": lambda p: _ata(p, lambda a: int(a.aflags) & 1),
    "aoe.err_feature": lambda p: _ata(p, lambda a: a.feature),
    "aoe.sector_count": lambda p: _ata(p, lambda a: a.count),
    "aoe.ata.cmd": lambda p: GENERATED if p[aoe.AoE].is_reply else _ata(p, lambda a: a.cmdstat),
    "aoe.ata.status": lambda p: _ata(p, lambda a: a.cmdstat) if p[aoe.AoE].is_reply else None,
    "aoe.lba": lambda p: _ata(p, lambda a: a.lba),
}


def _ata(packet, value):
    return value(packet[aoe.AoeAta]) if packet.haslayer(aoe.AoeAta) else None


@pytest.mark.parametrize("name", CAPTURES)
def test_every_field_agrees_with_tshark(name):
    names = list(TSHARK_FIELDS)
    command = ["tshark", "-n", "-r", CORPUS / name, "-T", "fields", "-E", "separator=;"]
    for field in names:
        command += ["-e", field]
    done = run(command, seconds=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    frames = frames_of(CORPUS / name)
    assert len(lines) == len(frames)
    for number, (line, raw) in enumerate(zip(lines, frames), 1):
        packet = Ether(raw)
        for field, text in zip(names, line.split(";"), strict=True):
            # tshark reads no further in a version it does not know (vblade announces itself as 0).
            known = packet[aoe.AoE].version == 1 or field == "aoe.version"
            ours = TSHARK_FIELDS[field](packet) if known else None
            theirs = int(text, 0) if text else None
            assert ours is GENERATED or ours == theirs, f"frame {number}, {field}"


def test_flags_stand_where_the_document_puts_them():
    assert bytes(aoe.AoE(flags="R"))[0] == 0x18
    assert bytes(aoe.AoE(flags="R+E", error=2))[:2] == b"\x1c\x02"
    assert bytes(aoe.AoeAta(aflags="W"))[0] == 0x01
    assert bytes(aoe.AoeAta(aflags="A"))[0] == 0x02
    assert bytes(aoe.AoeAta(aflags="D"))[0] == 0x10
    assert bytes(aoe.AoeAta(aflags="E"))[0] == 0x40


def test_a_read_byte_by_byte():
    frame = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01", type=aoe.ETHERTYPE)
    frame /= aoe.AoE(shelf=0x0102, slot=3, cmd=0, tag=0xA1B2C3D4)
    frame /= aoe.AoeAta(aflags="E", count=2, cmdstat=aoe.READ_EXT, lba=0x665544332211)
    frame /= aoe.AoeCoalesced(entries=[aoe.CoalescedEntry(tag=5, lba=7, count=9)])
    assert bytes(frame).hex() == (
        "020000000002" "020000000001" "88a2" "10" "00" "0102" "03" "00" "a1b2c3d4"
        "40" "00" "02" "24" "112233445566" "0000"
        "01" "00000005" "070000000000" "0000000000" "09"
    )  # fmt: skip


def test_config_mask_and_reserve_byte_by_byte():
    assert bytes(
        aoe.AoeConfig(buffers=0x102, firmware=0x304, sectors=5, aoe_version=1, ccmd=3, string=b"ab")
    ).hex() == "01020304" "05" "13" "0002" "6162"
    directives = [
        aoe.MaskDirective(dcmd=1, mac="02:00:00:00:00:01"),
        aoe.MaskDirective(dcmd=2, mac="02:00:00:00:00:02"),
    ]
    assert bytes(aoe.AoeMask(mcmd=1, directives=directives)).hex() == (
        "00010002" "0001020000000001" "0002020000000002"
    )
    assert bytes(aoe.AoeReserve(rcmd=1, macs=["02:00:00:00:00:01"])).hex() == "0101020000000001"


def test_extension_tables_in_both_byte_orders():
    little = bytes(aoe.AoeExtensionsLE(strings=[b"reset", b"congestion", b"41"]))
    assert little == b"\x15\x00reset\0congestion\x0041\0\0"
    assert bytes(aoe.AoeExtensionsBE(strings=[b"reset"])) == b"\x00\x07reset\0\0"
    assert bytes(aoe.AoeExtensionsLE(strings=[])) == b"\x02\x00\0\0"
    assert aoe.table_class(little + bytes(10)) is aoe.AoeExtensionsLE
    assert aoe.table_class(b"\x00\x07reset\0\0") is aoe.AoeExtensionsBE
    assert aoe.table_class(b"\x07\x00reset\0x") is None
    assert aoe.table_class(b"\xff\x00reset\0\0") is None


def test_crc8x4_of_the_check_string():
    # One lane over "123456789" is the reflected CRC-8 of polynomial 0x4D, initial value 0xFF; the same
    # number by a table made the other way round, from the unreflected polynomial.
    def reversed_bits(byte):
        return int(f"{byte:08b}"[::-1], 2)

    crc = 0xFF
    for byte in b"123456789":
        crc ^= reversed_bits(byte)
        for _ in range(8):
            crc = (crc << 1 ^ 0x4D) & 0xFF if crc & 0x80 else crc << 1
    every_fourth = b"".join(bytes([byte, 0, 0, 0]) for byte in b"123456789")
    assert aoe.crc8x4(every_fourth)[0] == reversed_bits(crc)
    assert aoe.crc8x4(b"") == b"\xff" * 4
    swapped = aoe.crc8x4(b"\x01\x02\x03\x04")
    assert aoe.crc8x4(b"\x02\x01\x03\x04") != swapped and aoe.crc8x4(b"\x01\x02\x03\x05")[:3] == swapped[:3]


macs = st.integers(0, 2**48 - 1).map(lambda n: ":".join("%02x" % b for b in n.to_bytes(6, "big")))


@given(body=st.binary(max_size=120), command=st.sampled_from([0, 1, 2, 3, 0x23, 0x55]), reply=st.booleans())
def test_any_bytes_dissect_and_rebuild(body, command, reply):
    raw = bytes(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01", type=aoe.ETHERTYPE))
    raw += bytes(aoe.AoE(flags="R" if reply else 0, cmd=command)) + body
    assert rebuilt(Ether(raw)) == raw


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda s: b"\0" not in s), min_size=1, max_size=8))
def test_tables_come_back_as_they_were(strings):
    for cls in aoe.EXTENSIONS.values():
        assert cls(bytes(cls(strings=strings))).strings == strings


@given(st.lists(macs, max_size=30))
def test_lists_come_back_as_they_were(addresses):
    assert aoe.AoeReserve(bytes(aoe.AoeReserve(macs=addresses))).macs == addresses
    mask = aoe.AoeMask(directives=[aoe.MaskDirective(dcmd=1, mac=mac) for mac in addresses])
    assert [directive.mac for directive in aoe.AoeMask(bytes(mask)).directives] == addresses
