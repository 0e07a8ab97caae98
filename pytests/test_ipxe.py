"""iPXE boots from a target: its own AoE initiator finds the disk, reads the boot sector and starts it, and the
boot sector reads on through the BIOS. What it prints on the serial console can only come over AoE.
"""

import struct

import pytest

import guest
from programs import AoeTarget, Program

MESSAGE = b"sector 9 came over AoE\0"
MESSAGE_LBA = 9

pytestmark = pytest.mark.timeout(guest.BOOT_SECONDS + 40)


def boot_sector():
    """Reads MESSAGE_LBA to 0x7E00 with INT 13h/42h from the drive it was booted from, writes the string it
    finds there to COM1, and ends QEMU through its debug-exit port."""
    code = bytes(
        [
            0xFA,                    # cli
            0x31, 0xC0,              # xor ax, ax
            0x8E, 0xD8,              # mov ds, ax
            0x8E, 0xC0,              # mov es, ax
            0x8E, 0xD0,              # mov ss, ax
            0xBC, 0x00, 0x7C,        # mov sp, 0x7c00
            0xFB,                    # sti
            0xBE, 0x80, 0x7C,        # mov si, 0x7c80      the disk address packet
            0xB4, 0x42,              # mov ah, 0x42
            0xCD, 0x13,              # int 0x13
            0x72, 0x12,              # jc end
            0xBE, 0x00, 0x7E,        # mov si, 0x7e00
            0xAC,                    # next: lodsb
            0x08, 0xC0,              # or al, al
            0x74, 0x0A,              # jz end
            0x30, 0xE4,              # xor ah, ah          serial port services: send
            0xB4, 0x01,              # mov ah, 1
            0x31, 0xD2,              # xor dx, dx
            0xCD, 0x14,              # int 0x14
            0xEB, 0xF1,              # jmp next
            0xB0, 0x01,              # end: mov al, 1
            0xE6, 0xF4,              # out 0xf4, al
            0xF4,                    # hlt
            0xEB, 0xFD,              # jmp hlt
        ]
    )  # fmt: skip
    packet = struct.pack("<BBHHHQ", 16, 0, 1, 0x7E00, 0, MESSAGE_LBA)
    sector = bytearray(512)
    sector[: len(code)] = code
    sector[0x80 : 0x80 + len(packet)] = packet
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


@pytest.fixture
def tap(namespace):
    made = guest.Tap()
    yield made
    made.close()


@pytest.fixture
def bootable(tmp_path):
    image = tmp_path / "boot.img"
    disk = bytearray(16 << 20)  # iPXE reads nothing of a disk of less than one of its cylinders
    disk[:512] = boot_sector()
    disk[MESSAGE_LBA * 512 : MESSAGE_LBA * 512 + len(MESSAGE)] = MESSAGE
    image.write_bytes(disk)
    return image


def boot(tap):
    with guest.Machine(tap, "-boot", "n", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", boot_rom=True) as machine:
        machine.wait_for("Ctrl-B for the iPXE command line")
        machine.type("\x02")
        machine.wait_for("iPXE> ")
        machine.type_line("ifopen net0")
        machine.wait_for("ifopen net0\n.*iPXE> ")
        machine.type_line("sanboot aoe:e1.1")
        machine.wait_for(MESSAGE[:-1].decode())
        assert machine.wait() == 3  # (1 << 1) | 1: our boot sector's last word


def test_ipxe_boots_from_aoe_target(tap, bootable, aoe_target):
    with AoeTarget(aoe_target, "--interface", tap.name, "--shelf", 1, "--slot", 1, bootable) as target:
        boot(tap)
        assert target.alive


def test_ipxe_boots_from_vblade(tap, bootable):
    with Program(["vblade", 1, 1, tap.name, bootable]):
        boot(tap)
