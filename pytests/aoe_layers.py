"""Scapy layers for ATA over Ethernet and the AoEde extensions, every field.

Written from docs/protocol.md alone, and deliberately ignorant of the target's and the suite's code:
it is the third reading of the wire in this project. Scapy's own contributed layer is not used, for it
numbers the flags from the wrong end.

A packet is Ether / AoE / one of AoeAta, AoeConfig, AoeMask, AoeReserve, AoeExtensions. What follows a
message's fields is AoeData (sectors), AoeCoalesced (further reads) or AoePadding; a frame that is cut
short dissects as far as it goes, and every dissected frame rebuilds to the bytes it came from.
"""

import struct

from scapy.config import conf
from scapy.fields import (
    BitEnumField,
    BitField,
    ByteEnumField,
    ByteField,
    Field,
    FieldLenField,
    FieldListField,
    FlagsField,
    MACField,
    PacketListField,
    ShortField,
    StrField,
    StrLenField,
    XByteField,
    XIntField,
    XShortField,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw, bind_layers

ETHERTYPE = 0x88A2
BROADCAST = "ff:ff:ff:ff:ff:ff"
SHELF_ALL = 0xFFFF
SLOT_ALL = 0xFF
SECTOR_BYTES = 512
HEADER_BYTES = 24  # Ethernet header included
ATA_BYTES = 36  # where an ATA message's data starts
MINIMUM_FRAME_BYTES = 60

COMMANDS = {0: "ata", 1: "config", 2: "mask", 3: "reserve", 0x23: "extensions"}
CMD_ATA, CMD_CONFIG, CMD_MASK, CMD_RESERVE, CMD_EXTENSIONS = 0, 1, 2, 3, 0x23

ERRORS = {
    0: "none",
    1: "unrecognized command code",
    2: "bad argument parameter",
    3: "device unavailable",
    4: "config string present",
    5: "unsupported version",
    6: "target is reserved",
}

READ, READ_EXT, WRITE, WRITE_EXT = 0x20, 0x24, 0x30, 0x34
IDENTIFY, FLUSH, FLUSH_EXT, CHECK_POWER = 0xEC, 0xE7, 0xEA, 0xE5
READS, WRITES = (READ, READ_EXT), (WRITE, WRITE_EXT)

DRDY, DF, DRQ, ERR = 0x40, 0x20, 0x08, 0x01
UNC, IDNF, ABRT = 0x40, 0x10, 0x04

WINDOW_TAGS = 32768


class Lba48Field(Field):
    """Six bytes, least significant first: the one number of AoE that is little-endian."""

    def __init__(self, name, default):
        Field.__init__(self, name, default, "6s")

    def i2m(self, pkt, x):
        return (0 if x is None else x).to_bytes(6, "little")

    def m2i(self, pkt, x):
        return int.from_bytes(x, "little")

    def i2repr(self, pkt, x):
        return hex(x)


class _Message(Packet):
    """A message that a frame may cut short: dissects the whole fields, leaves the rest as it is."""

    def do_dissect(self, s):
        try:
            return super().do_dissect(s)
        except struct.error:
            raise ValueError("cut inside %s" % self.name)


class AoePadding(Packet):
    """Bytes of the Ethernet frame that belong to no field."""

    name = "AoE padding"
    fields_desc = [StrField("load", b"")]


class AoeData(Packet):
    """Sectors: what a write request brings or a reply returns. crc is there under crc8x4 only."""

    name = "AoE data"
    fields_desc = [StrField("load", b"")]


class AoE(Packet):
    name = "AoE"
    fields_desc = [
        BitField("version", 1, 4),
        # Lowest bit first, as FlagsField wants it: R is 8.
        FlagsField("flags", 0, 4, ["reserved1", "reserved2", "E", "R"]),
        ByteEnumField("error", 0, ERRORS),
        ShortField("shelf", SHELF_ALL),
        ByteField("slot", SLOT_ALL),
        ByteEnumField("cmd", CMD_CONFIG, COMMANDS),
        XIntField("tag", 0),
    ]

    @property
    def is_reply(self):
        return bool(int(self.flags) & 8)

    @property
    def is_error(self):
        return bool(int(self.flags) & 4)

    def guess_payload_class(self, payload):
        size = len(payload)
        if self.cmd == CMD_ATA and size >= 12:
            return AoeAta
        if self.cmd == CMD_CONFIG and size >= 8:
            return AoeConfig
        if self.cmd == CMD_MASK and size >= 4:
            return AoeMask
        if self.cmd == CMD_RESERVE and size >= 2:
            return AoeReserve
        if self.cmd == CMD_EXTENSIONS and size >= 2:
            return table_class(payload) or Raw
        return Raw


class AoeAta(_Message):
    name = "AoE ATA"
    fields_desc = [
        FlagsField("aflags", 0, 8, ["W", "A", "rsvd04", "rsvd08", "D", "rsvd20", "E", "rsvd80"]),
        XByteField("feature", 0),  # reply: the error register
        ByteField("count", 0),
        XByteField("cmdstat", READ),  # reply: the status register
        Lba48Field("lba", 0),
        XShortField("reserved", 0),
    ]

    def guess_payload_class(self, payload):
        header = self.underlayer
        if isinstance(header, AoE) and header.is_reply:
            return AoeData
        if self.cmdstat in WRITES:
            return AoeData
        if self.cmdstat in READS and payload[0] != 0:
            return AoeCoalesced
        return AoePadding


class CoalescedEntry(Packet):
    name = "AoE further read"
    fields_desc = [
        XIntField("tag", 0),
        Lba48Field("lba", 0),
        StrLenField("reserved", b"\0" * 5, length_from=lambda pkt: 5),
        ByteField("count", 1),
    ]

    def extract_padding(self, s):
        return b"", s


class AoeCoalesced(Packet):
    """What follows the 36 bytes of a read, when its initiator negotiated coalesced_read."""

    name = "AoE coalesced read"
    fields_desc = [
        FieldLenField("more", None, fmt="B", count_of="entries"),
        PacketListField("entries", [], CoalescedEntry, count_from=lambda pkt: pkt.more),
    ]

    def do_dissect(self, s):
        # Entries that do not fit the frame are not entries.
        self.fields["more"] = s[0]
        fit = min(s[0], (len(s) - 1) // 16)
        self.fields["entries"] = [CoalescedEntry(s[1 + 16 * i : 17 + 16 * i]) for i in range(fit)]
        self.raw_packet_cache = None
        return s[1 + 16 * fit :]

    def guess_payload_class(self, payload):
        return AoePadding


class AoeConfig(_Message):
    name = "AoE query config"
    READ, TEST, PREFIX, SET, FORCE = range(5)
    fields_desc = [
        ShortField("buffers", 0),
        XShortField("firmware", 0),
        ByteField("sectors", 0),
        BitField("aoe_version", 0, 4),
        BitEnumField(
            "ccmd", 0, 4, {0: "read", 1: "test", 2: "prefix", 3: "set if empty", 4: "force set"}
        ),
        FieldLenField("length", None, fmt="!H", length_of="string"),
        StrLenField("string", b"", length_from=lambda pkt: pkt.length),
    ]

    def guess_payload_class(self, payload):
        return AoePadding


class MaskDirective(Packet):
    name = "AoE MAC directive"
    NOTHING, ADD, DELETE = range(3)
    fields_desc = [
        ByteField("reserved", 0),
        ByteEnumField("dcmd", 0, {0: "nothing", 1: "add", 2: "delete"}),
        MACField("mac", "00:00:00:00:00:00"),
    ]

    def extract_padding(self, s):
        return b"", s


class _Listed(_Message):
    """A message that ends in a counted list: a count may promise more than the frame holds."""

    fixed_bytes = entry_bytes = 0

    def do_dissect(self, s):
        rest = super().do_dissect(s[: self.fixed_bytes + self._fit(s) * self.entry_bytes])
        return rest + s[self.fixed_bytes + self._fit(s) * self.entry_bytes :]

    def _fit(self, s):
        return min(s[self.fixed_bytes - 1], (len(s) - self.fixed_bytes) // self.entry_bytes)

    def guess_payload_class(self, payload):
        return AoePadding


class AoeMask(_Listed):
    name = "AoE MAC mask list"
    READ, EDIT = range(2)
    fixed_bytes, entry_bytes = 4, 8
    fields_desc = [
        ByteField("reserved", 0),
        ByteEnumField("mcmd", 0, {0: "read", 1: "edit"}),
        ByteEnumField("merror", 0, {0: "none", 1: "unspecified", 2: "bad directive", 3: "full"}),
        FieldLenField("count", None, fmt="B", count_of="directives"),
        PacketListField("directives", [], MaskDirective, count_from=lambda pkt: pkt.count),
    ]


class AoeReserve(_Listed):
    name = "AoE reserve/release"
    READ, SET, FORCE = range(3)
    fixed_bytes, entry_bytes = 2, 6
    fields_desc = [
        ByteEnumField("rcmd", 0, {0: "read", 1: "set", 2: "force set"}),
        FieldLenField("count", None, fmt="B", count_of="macs"),
        FieldListField("macs", [], MACField("", None), count_from=lambda pkt: pkt.count),
    ]

    def do_dissect(self, s):
        # FieldListField reads past the end of a short frame: hand it what is there.
        fit = self._fit(s)
        self.fields["rcmd"], self.fields["count"] = s[0], s[1]
        self.fields["macs"] = [
            ":".join("%02x" % b for b in s[2 + 6 * i : 8 + 6 * i]) for i in range(fit)
        ]
        self.raw_packet_cache = None
        return s[2 + 6 * fit :]


class StringTableField(StrLenField):
    """NUL-terminated strings and one more NUL. The value is a list of bytes."""

    islist = 1

    def i2m(self, pkt, x):
        return encode_table(x or [])

    def m2i(self, pkt, x):
        return decode_table(x)

    def i2repr(self, pkt, x):
        return repr(x)

    def any2i(self, pkt, x):
        return x

    def i2len(self, pkt, x):
        return len(self.i2m(pkt, x))


def encode_table(strings):
    """[b"reset"] -> b"reset\\0\\0". A table of no strings is its two NULs."""
    return b"".join(s + b"\0" for s in strings) + b"\0" if strings else b"\0\0"


def decode_table(table):
    return [] if table == b"\0\0" else table[:-2].split(b"\0")


class AoeExtensions(_Message):
    """The base of both byte orders of the table's length, which is AoEde's one departure from
    network order."""

    def guess_payload_class(self, payload):
        return AoePadding


class AoeExtensionsLE(AoeExtensions):
    name = "AoE extensions (length little-endian)"
    fields_desc = [
        FieldLenField("length", None, fmt="<H", length_of="strings"),
        StringTableField("strings", [], length_from=lambda pkt: pkt.length),
    ]


class AoeExtensionsBE(AoeExtensions):
    name = "AoE extensions (length big-endian)"
    fields_desc = [
        FieldLenField("length", None, fmt="!H", length_of="strings"),
        StringTableField("strings", [], length_from=lambda pkt: pkt.length),
    ]


EXTENSIONS = {"le": AoeExtensionsLE, "be": AoeExtensionsBE}


def table_class(argument):
    """The byte order in which the table is well-formed, little-endian first; None if in neither."""
    for fmt, cls in (("<H", AoeExtensionsLE), ("!H", AoeExtensionsBE)):
        length = struct.unpack_from(fmt, argument)[0]
        if 2 <= length <= len(argument) - 2 and argument[length : length + 2] == b"\0\0":
            return cls
    return None


bind_layers(Ether, AoE, type=ETHERTYPE)


def crc8x4(message):
    """The four check bytes of `message` (ATA header and data, from offset 24 of the frame): byte i
    belongs to lane i mod 4, each lane a reflected CRC-8 of polynomial 0xB2 from 0xFF."""
    lanes = [0xFF] * 4
    for i, byte in enumerate(message):
        crc = lanes[i % 4] ^ byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xB2 if crc & 1 else 0)
        lanes[i % 4] = crc
    return bytes(lanes)


def padding_of(frame):
    """The bytes of a dissected frame that stand behind its last field."""
    found = frame.getlayer(AoePadding)
    return bytes(found.load) if found else b""


conf.verb = 0
