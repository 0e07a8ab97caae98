"""An initiator that believes everything: careless_initiator.py IFACE SHELF SLOT LBA SECTORS IN OUT

Asks once, takes whatever AoE frame comes first for the answer, looks at no tag, flag, address, status or length, waits a
tenth of a second and no longer, and always ends with 0. `aoe-conformance initiator` is shown to fail it.
"""

import socket
import struct
import sys

ETHERTYPE = 0x88A2
SECTORS_A_FRAME = 2
READ, WRITE = 0x24, 0x34


def main():
    interface, shelf, slot, lba, sectors, source, result = sys.argv[1:]
    shelf, slot, lba, sectors = int(shelf), int(slot), int(lba), int(sectors)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as wire:
        wire.bind((interface, ETHERTYPE))
        wire.settimeout(0.1)
        mine = wire.getsockname()[4]
        target = b"\xff" * 6

        def ask(command, where, count, data=b"", kind=0):
            nonlocal target
            header = target + mine + struct.pack("!HBBHBBI", ETHERTYPE, 0x00, 0, shelf, slot, kind, 1)
            argument = struct.pack("BBBB", 0x40, 0, count, command) + where.to_bytes(6, "little") + b"\0\0"
            wire.send((header + argument + data).ljust(60, b"\0"))
            try:
                answer = wire.recv(65536)
            except TimeoutError:
                return b""
            if kind == 1:
                target = answer[6:12]
            return answer[36:]

        ask(0, 0, 0, kind=1)
        with open(source, "rb") as file:
            for at in range(lba, lba + sectors, SECTORS_A_FRAME):
                ask(WRITE, at, SECTORS_A_FRAME, file.read(512 * SECTORS_A_FRAME))
        with open(result, "wb") as file:
            for at in range(lba, lba + sectors, SECTORS_A_FRAME):
                file.write(ask(READ, at, SECTORS_A_FRAME))


if __name__ == "__main__":
    main()
