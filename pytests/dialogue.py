"""What an initiator says to a target and what every answer must be like, whatever was asked.

The envelope of each reply (version, flags, address, tag, command, padding) is judged here, so that no
test can forget it. Knows the protocol, and must never know which program answers.
"""

import aoe_layers as aoe
from aoe_layers import AoE, AoeAta, AoeConfig, AoeData, AoeMask, AoeReserve, Ether, MaskDirective
from net import Host


def judge_reply(request, reply, shelf, slot, target_mac):
    """A reply's envelope. request: the bytes sent; reply: the dissected answer."""
    asked, header = Ether(request), reply[AoE]
    raw = bytes(reply)
    where = f"in the reply {raw[:80].hex()} to {request[:80].hex()}"
    assert reply.type == aoe.ETHERTYPE, where
    assert reply.dst == asked.src, f"destination {where}"
    assert reply.src == target_mac, f"source {where}"
    assert header.version == 1, f"version {where}"
    assert int(header.flags) & 0xB == 0x8, f"R set and reserved flags zero {where}"
    assert header.is_error == (header.error != 0), f"E if and only if an error code {where}"
    assert (header.shelf, header.slot) == (shelf, slot), f"own shelf and slot {where}"
    assert raw[20:24] == request[20:24], f"tag {where}"
    assert raw[19] == request[19], f"command {where}"
    if not header.is_error:
        padding = aoe.padding_of(reply)
        assert not any(padding), f"padding {padding.hex()} {where}"


class Initiator:
    """A host that talks to one target."""

    def __init__(self, host: Host, target_mac, shelf=1, slot=1, link=None):
        self.host, self.target_mac, self.shelf, self.slot = host, target_mac, shelf, slot
        self.link = link

    def beside(self, mac):
        """Another host on the same wire that talks to the same target."""
        return Initiator(self.link.host(mac), self.target_mac, self.shelf, self.slot, self.link)

    @property
    def mac(self):
        return self.host.mac

    def frame(self, message, cmd, **header):
        header.setdefault("shelf", self.shelf)
        header.setdefault("slot", self.slot)
        dst = header.pop("dst", self.target_mac)
        return self.host.frame(message, dst=dst, cmd=cmd, **header)

    def judge(self, request, reply):
        judge_reply(bytes(request), reply, self.shelf, self.slot, self.target_mac)
        return reply

    def ask(self, message, cmd, **header):
        """The reply to a request, its envelope judged."""
        return self.ask_frame(self.frame(message, cmd, **header))

    def ask_frame(self, frame):
        return self.judge(frame, self.host.ask(frame))

    def refused(self, message, cmd, error, **header):
        reply = self.ask(message, cmd, **header)
        assert reply[AoE].error == error, reply.show(dump=True)
        return reply

    # -- query config

    def config(self, ccmd=AoeConfig.READ, string=b"", **fields):
        return self.ask(
            AoeConfig(aoe_version=1, ccmd=ccmd, string=string, **fields), aoe.CMD_CONFIG
        )

    def config_string(self):
        reply = self.config()
        assert reply[AoE].error == 0
        return reply[AoeConfig].string

    # -- ATA

    def ata_frame(self, command, lba=0, count=0, data=b"", tag=None, aflags=None, **fields):
        if aflags is None:
            extended = command in (aoe.READ_EXT, aoe.WRITE_EXT, aoe.FLUSH_EXT)
            aflags = 0x40 * extended | 0x01 * (command in aoe.WRITES)
        message = AoeAta(cmdstat=command, lba=lba, count=count, aflags=aflags, **fields)
        header = {} if tag is None else {"tag": tag}
        return self.frame(message / AoeData(data) if data else message, aoe.CMD_ATA, **header)

    def ata(self, command, *arguments, **fields):
        return self.ask_frame(self.ata_frame(command, *arguments, **fields))

    def read(self, lba, count=1, command=aoe.READ_EXT):
        reply = self.ata(command, lba=lba, count=count)
        judge_done(reply)
        data = data_of(reply)
        assert len(data) == count * 512, f"{len(data)} bytes for {count} sectors"
        return data

    def write(self, lba, data, command=aoe.WRITE_EXT, tag=None):
        assert len(data) % 512 == 0
        reply = self.ata(command, lba=lba, count=len(data) // 512, data=data, tag=tag)
        judge_done(reply)
        assert not any(data_of(reply)), "data in the reply to a write"
        return reply

    def identify(self):
        reply = self.ata(aoe.IDENTIFY, count=1)
        judge_done(reply)
        assert len(data_of(reply)) == 512
        return data_of(reply)

    # -- mask and reserve

    def mask(self, *directives):
        """mask() reads, mask((1, mac), ...) edits."""
        message = AoeMask(
            mcmd=AoeMask.EDIT if directives else AoeMask.READ,
            directives=[MaskDirective(dcmd=dcmd, mac=mac) for dcmd, mac in directives],
        )
        reply = self.ask(message, aoe.CMD_MASK)
        assert reply[AoE].error == 0, "the E flag stays clear, whatever MError says"
        return reply[AoeMask]

    def mask_list(self):
        return [directive.mac for directive in self.mask().directives]

    def reserve(self, rcmd=AoeReserve.READ, macs=()):
        return self.ask(AoeReserve(rcmd=rcmd, macs=list(macs)), aoe.CMD_RESERVE)

    def reserve_list(self):
        return self.reserve()[AoeReserve].macs

    # -- extensions

    def extend(self, *strings, order="le", **header):
        """The strings that come back, after the table's shape was judged."""
        frame = self.frame(aoe.EXTENSIONS[order](strings=list(strings)), aoe.CMD_EXTENSIONS, **header)
        reply = self.ask_frame(frame)
        assert reply[AoE].error == 0, reply.show(dump=True)
        return self.table_of(reply, strings, order)

    @staticmethod
    def table_of(reply, strings, order="le"):
        length = len(aoe.encode_table(list(strings)))
        raw = bytes(reply)
        assert int.from_bytes(raw[24:26], {"le": "little", "be": "big"}[order]) == length
        back = aoe.decode_table(raw[26 : 26 + length])
        assert [s.lower() for s in back] == [s.lower() for s in strings]
        assert not any(raw[26 + length :]), "padding"
        return back


def data_of(reply):
    return bytes(reply[AoeData].load) if reply.haslayer(AoeData) else b""


def judge_done(reply):
    """An ATA command that went well."""
    assert reply[AoE].error == 0, reply.show(dump=True)
    ata = reply[AoeAta]
    assert ata.cmdstat & (aoe.ERR | aoe.DF) == 0 and ata.cmdstat & aoe.DRDY, reply.show(dump=True)
    assert ata.feature == 0


def judge_ata_error(reply, error):
    """An ATA command that the disk refused: DRDY|ERR, this error register, nothing transferred."""
    assert reply[AoE].error == 0, reply.show(dump=True)
    ata = reply[AoeAta]
    assert ata.cmdstat & (aoe.DRDY | aoe.ERR) == aoe.DRDY | aoe.ERR, reply.show(dump=True)
    assert ata.feature == error, reply.show(dump=True)
    assert not any(data_of(reply)), "data came with an error"
