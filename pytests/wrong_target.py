"""A small AoE target that does one thing wrong: wrong_target.py IFACE SHELF SLOT IMAGE MODE

It keeps to AoEr11 (query config and ATA; no lists, no extensions) but for what MODE says. The tests of the
suite's command line are run against it, and our own tests are shown to fail on it. Written by struct, not with
the Scapy layers, so that a mistake in those is not repeated here.
"""

import socket
import struct
import sys

ETHERTYPE = 0x88A2
CONFIG_STRING_MAX = 1024

MODES = {
    "none": "nothing is wrong",
    "silent": "answers nothing",
    "rubbish": "answers query config well and everything else with noise",
    "all-rubbish": "answers everything with noise",
    "dies": "ends without a word at the first write beyond the end",
    "dies-early": "ends without a word at the 25th request",
    "no-reads": "does not answer reads",
    "wrong-tag": "answers reads with a tag of its own",
    "stale-padding": "builds each reply in the buffer of the last one, and clears nothing",
    "writes-twice": "writes one sector too many",
    "wrong-sector": "reads the sector after the one asked for",
    "no-idnf": "reads zeros beyond the end",
    "ignores-force": "does not store a string that is forced on it",
    "twice": "answers every request twice",
    "no-response-flag": "leaves the response flag clear",
    "zeros": "answers what it does not know with a frame of zeros, addresses included",
}


class Target:
    def __init__(self, interface, shelf, slot, image, mode):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        self.socket.bind((interface, ETHERTYPE))
        self.mac = self.socket.getsockname()[4]
        self.shelf, self.slot, self.mode = shelf, slot, mode
        self.image = open(image, "r+b", buffering=0)
        self.sectors = self.image.seek(0, 2) // 512
        self.string = b""
        self.requests = 0
        self.buffer = bytearray(2048)

    def serve(self):
        while True:
            frame, (_, _, kind, _, _) = self.socket.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING and len(frame) >= 24 and self.is_for_us(frame):
                self.requests += 1
                if self.mode == "dies-early" and self.requests == 25:
                    sys.exit(1)
                body = self.answer(frame)
                if body is not None:
                    self.send(frame, body)

    def is_for_us(self, frame):
        shelf, slot = struct.unpack_from("!HB", frame, 16)
        return not frame[14] & 8 and shelf in (0xFFFF, self.shelf) and slot in (0xFF, self.slot)

    def send(self, frame, body):
        error, argument = body
        flags = (0x1C if error else 0x18) & (0xF7 if self.mode == "no-response-flag" else 0xFF)
        head = frame[6:12] + self.mac + struct.pack("!HBBHB", ETHERTYPE, flags, error, self.shelf, self.slot)
        tag = frame[20:24]
        if self.mode == "wrong-tag" and frame[19] == 0:
            tag = b"\x00bad"
        reply = head + frame[19:20] + tag + argument
        if self.mode != "stale-padding":
            self.buffer = bytearray(2048)
        self.buffer[: len(reply)] = reply
        if self.mode == "zeros" and error == 1:
            self.buffer = bytearray(len(self.buffer))
        self.socket.send(self.buffer[: max(60, len(reply))])
        if self.mode == "twice":
            self.socket.send(self.buffer[: max(60, len(reply))])

    def noise(self, frame):
        return 0, bytes((i * 37 + frame[23]) & 0xFF for i in range(frame[23] % 50))

    def answer(self, frame):
        if self.mode == "silent":
            return None
        if self.mode == "all-rubbish" or self.mode == "rubbish" and frame[19] != 1:
            return self.noise(frame)
        if frame[14] >> 4 != 1:
            return 5, frame[24:]
        if frame[19] == 0 and len(frame) >= 36:
            return self.ata(frame)
        if frame[19] == 1 and len(frame) >= 32:
            return self.config(frame)
        return None if frame[19] < 2 else (1, bytes(12))

    def config(self, frame):
        ccmd, length = frame[29] & 0xF, struct.unpack_from("!H", frame, 30)[0]
        string, error = frame[32 : 32 + length], 0
        if ccmd > 4 or ccmd and (length > CONFIG_STRING_MAX or len(string) < length):
            return 2, frame[24:32]
        if ccmd == 1 and string != self.string or ccmd == 2 and not self.string.startswith(string):
            return None
        if ccmd == 3 and self.string not in (b"", string):
            error = 4
        elif ccmd == 3 or ccmd == 4 and self.mode != "ignores-force":
            self.string = string
        return error, struct.pack("!HHBBH", 16, 0x4019, 2, 0x10 | ccmd, len(self.string)) + self.string

    def ata(self, frame):
        aflags, _, count, command = frame[24:28]
        lba = int.from_bytes(frame[28:34], "little")
        if command in (0x20, 0x30):
            lba &= 0x0FFFFFFF

        def registers(error, status, left=0):
            return struct.pack("BBBB", aflags & 0x53, error, left, status) + frame[28:34] + bytes(2)

        if command in (0x20, 0x24, 0x30, 0x34):
            writes = command >= 0x30
            if not 1 <= count <= 2 or writes and len(frame) < 36 + 512 * count:
                return 2, frame[24:36]
            if lba + count > self.sectors:
                if writes and self.mode == "dies":
                    sys.exit(1)
                if self.mode == "no-idnf" and not writes:
                    return 0, registers(0, 0x40) + bytes(512 * count)
                return 0, registers(0x10, 0x41, count)
            return self.transfer(registers, frame, lba, count, writes)
        if command == 0xEC:
            return 0, registers(0, 0x40) + self.identify()
        if command in (0xE7, 0xEA, 0xE5):
            return 0, registers(0, 0x40, 0xFF * (command == 0xE5))
        return 0, registers(0x04, 0x41, count)

    def transfer(self, registers, frame, lba, count, writes):
        self.image.seek(512 * lba)
        if writes:
            data = frame[36 : 36 + 512 * count]
            self.image.write(data + data[:512] * (self.mode == "writes-twice"))
            return 0, registers(0, 0x40)
        if self.mode == "no-reads":
            return None
        if self.mode == "wrong-sector":
            self.image.seek(512 * ((lba + 1) % self.sectors))
        return 0, registers(0, 0x40) + self.image.read(512 * count).ljust(512 * count, b"\x00")

    def identify(self):
        words = [0] * 256
        words[0], words[49] = 0x40, 0x200
        words[60], words[61] = self.sectors & 0xFFFF, self.sectors >> 16
        words[83] = words[86] = 0x7400
        words[84] = words[87] = 0x4000
        for i in range(4):
            words[100 + i] = self.sectors >> 16 * i & 0xFFFF
        for first, last, text in ((10, 19, b"wrong-1"), (23, 26, b"0"), (27, 46, b"wrong target")):
            text = text.ljust(2 * (last - first + 1))
            words[first : last + 1] = struct.unpack(f">{last - first + 1}H", text)
        return struct.pack("<256H", *words)


if __name__ == "__main__":
    name, shelf_, slot_, path, mode_ = sys.argv[1:]
    if mode_ not in MODES:
        sys.exit(f"wrong_target: no mode {mode_}: {', '.join(MODES)}")
    serving = Target(name, int(shelf_), int(slot_), path, mode_)
    print("ready", flush=True)
    try:
        serving.serve()
    except KeyboardInterrupt:
        pass
