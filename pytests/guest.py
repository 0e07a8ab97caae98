"""Virtual machines that use a target for real: a Linux guest, and iPXE.

Owns QEMU's command line, the guest's initramfs and the serial console. QEMU runs without KVM, so that it
runs wherever the tests do. Must never know what a target is: the machine finds it by itself.
"""

import pathlib
import re
import shutil
import subprocess
import time

from net import _numbers, ip, mac_of
from programs import Program

INIT = pathlib.Path(__file__).resolve().parent / "guest" / "init"
BOOT_SECONDS = 60  # TCG on a busy machine; alone it takes about five


class Tap:
    """The wire to a guest: our end is an interface for a target, the other end is QEMU."""

    def __init__(self, mtu=1500):
        self.mtu = mtu
        self.name = f"tap{next(_numbers)}"
        ip(f"tuntap add dev {self.name} mode tap")
        ip(f"link set {self.name} mtu {mtu} up")
        self.mac = mac_of(self.name)

    def close(self):
        subprocess.run(["ip", "link", "del", self.name], capture_output=True, timeout=20, check=False)


# What the guest has beside busybox, with the libraries that they need.
TOOLS = ["/sbin/mke2fs"]


def add_tool(root, tool):
    listed = subprocess.run(["ldd", tool], capture_output=True, text=True, check=True, timeout=20).stdout
    for path in [tool, *re.findall(r"(/\S+) \(0x", listed)]:
        target = root / ("tools" if path == tool else "lib") / pathlib.Path(path).name
        if path.startswith("/lib64/"):  # the loader: its whole name is in every program
            target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def make_initramfs(cache, folder, files=None):
    """busybox, the modules, a few tools, our init and `files` (name: source), as a cpio archive."""
    root = pathlib.Path(folder) / "initramfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    shutil.copytree(cache / "modules", root / "modules")
    shutil.copy(INIT, root / "init")
    for tool in TOOLS:
        add_tool(root, tool)
    for name, source in (files or {}).items():
        shutil.copy(source, root / name)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = pathlib.Path(folder) / "initramfs.cpio"
    with archive.open("wb") as out:
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
            input=names.encode(), cwd=root, stdout=out, check=True, timeout=60,
        )  # fmt: skip
    return archive


class Machine(Program):
    """QEMU with one network card on `tap` and its serial console on our pipe."""

    # boot_rom: QEMU's own choice for the card, which is Debian's iPXE. `other`: the wire of a second card.
    def __init__(self, tap, *arguments, boot_rom=False, other=None):
        if other:
            arguments = [
                *arguments, "-netdev", f"tap,id=net1,ifname={other.name},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=net1,mac=52:54:00:12:34:57,host_mtu={other.mtu},romfile=",
            ]  # fmt: skip
        super().__init__(
            [
                "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-smp", "1",
                "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                "-serial", "stdio", "-machine", "pc,graphics=off",
                "-netdev", f"tap,id=net0,ifname={tap.name},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,host_mtu={tap.mtu}{'' if boot_rom else ',romfile='}",
                *arguments,
            ],
            stdin=subprocess.PIPE,
            bufsize=0,
        )  # fmt: skip

    def type(self, text):
        self.process.stdin.write(text.encode())

    # A serial port keeps sixteen characters, and loses what comes while a busy machine has not read them.
    def type_line(self, text, at_once=8):
        for end in range(at_once, len(text) + at_once, at_once):
            self.type(text[end - at_once : end])
            self.wait_for(re.escape(text[:end]))
        self.type("\n")

    def console(self):
        # Terminal control sequences are noise here.
        return re.sub(r"\x1b(c|\[[0-9;?]*[A-Za-z])", "", self.output()).replace("\r", "")

    def wait_for(self, pattern, seconds=BOOT_SECONDS):
        """Waits until the console shows the pattern; ends with the machine or the bound."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.console())):
            # In this order: what it said before it ended counts.
            if not self.alive and not re.search(pattern, self.console()):
                raise AssertionError(f"the machine ended without showing {pattern!r}:\n{self.said()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{pattern!r} was not shown in {seconds} s:\n{self.said()}")
            time.sleep(0.05)
        return found


def linux(cache, folder, tap, device="e1.1", kib=24, files=None, other_tap=None, **parameters):
    """Boots the guest of guest/init, with `files` in its root, and returns it; parameters are guest/init's."""
    archive = make_initramfs(cache, folder, files)
    # no_timer_check: on a busy machine QEMU's timer comes too late for the kernel's test of it.
    words = f"console=ttyS0 quiet panic=-1 no_timer_check mtu={tap.mtu} device={device} kib={kib}"
    words += "".join(f" {name}={value}" for name, value in parameters.items())
    return Machine(tap, "-kernel", cache / "vmlinuz", "-initrd", archive, "-append", words, other=other_tap)


def results(console):
    """{"state": "up", ...} from the guest's RESULT lines."""
    # The first one stands behind what the BIOS left on the line.
    return dict(re.findall(r"RESULT (\S+) ?(.*?)\s*$", console, re.MULTILINE))
