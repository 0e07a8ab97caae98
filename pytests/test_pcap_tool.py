"""aoe-pcap from outside: every kind of capture file, bad files, exit codes, reports, the page, the dissector."""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = PROJECT / "pcaps" / "corpus"
LUA = PROJECT / "pcaps" / "wireshark" / "aoe_ext.lua"
PLAIN = CORPUS / "linux-vblade-1500.pcap"
EXTENSIONS = CORPUS / "aoede-extensions-1500.pcap"
SECONDS_MAX = 120
ETHERNET = 1
BROWSER = "chromium"
BROWSER_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(name="aoe_pcap")
def aoe_pcap_(request):
    program = pathlib.Path(request.config.option.build).resolve() / "bin" / "aoe-pcap"
    if not program.exists():
        pytest.skip(f"not built: {program}")

    def run(*arguments, **kwargs):
        return subprocess.run(
            [program, *map(str, arguments)], capture_output=True, timeout=SECONDS_MAX, check=False, **kwargs
        )

    return run


def frames_of(path):
    """(seconds, nanoseconds, bytes) of a little-endian microsecond pcap."""
    data = path.read_bytes()
    at = 24
    while at < len(data):
        seconds, micros, captured, _ = struct.unpack_from("<IIII", data, at)
        yield seconds, micros * 1000, data[at + 16 : at + 16 + captured]
        at += 16 + captured


def pcap_bytes(frames, order="<", nano=False, snaplen=None, link=ETHERNET):
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen or 65535, link)]
    for seconds, nanos, frame in frames:
        kept = frame[:snaplen] if snaplen else frame
        fraction = nanos if nano else nanos // 1000
        out.append(struct.pack(order + "IIII", seconds, fraction, len(kept), len(frame)) + kept)
    return b"".join(out)


def pcapng_bytes(frames, order="<", nano=True):
    def block(kind, body):
        size = 12 + len(body)
        return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

    options = struct.pack(order + "HHBxxxHH", 9, 1, 9 if nano else 6, 0, 0)
    out = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out.append(block(1, struct.pack(order + "HHI", ETHERNET, 0, 0) + options))
    for seconds, nanos, frame in frames:
        stamp = seconds * 10**9 + nanos if nano else seconds * 10**6 + nanos // 1000
        body = struct.pack(order + "IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame))
        out.append(block(6, body + frame + bytes(-len(frame) % 4)))
    return b"".join(out)


def tagged(frame, vlan):
    return frame[:12] + struct.pack(">HH", 0x8100, vlan) + frame[12:]


def block(kind, body):
    """A block of a little-endian pcapng."""
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def option(code, value):
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface_block(link=ETHERNET, snaplen=0, options=b""):
    return block(1, struct.pack("<HHI", link, 0, snaplen) + options)


def packet_block(interface, seconds, nanos, frame, wire=None, options=b""):
    stamp = seconds * 10**6 + nanos // 1000
    head = struct.pack("<IIIII", interface, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), wire or len(frame))
    return block(6, head + frame + bytes(-len(frame) % 4) + options)


SLL, SLL2 = 113, 276
OUTGOING, TO_US, BROADCAST = 4, 0, 1


def cooked(frame, link, us):
    """The frame as a capture on `any` of the host `us` has it: the destination is gone."""
    destination, source, protocol, rest = frame[:6], frame[6:12], frame[12:14], frame[14:]
    kind = OUTGOING if source == us else BROADCAST if destination == b"\xff" * 6 else TO_US
    if link == SLL:
        return struct.pack(">HHH", kind, 1, 6) + source + b"\0\0" + protocol + rest
    return protocol + b"\0\0" + struct.pack(">IHBB", 3, 1, kind, 6) + source + b"\0\0" + rest


CONTAINERS = {
    f"{kind}-{order}-{unit}": (kind, {"big": ">", "little": "<"}[order], unit == "ns")
    for kind in ("pcap", "pcapng")
    for order in ("little", "big")
    for unit in ("us", "ns")
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_tells_the_same(aoe_pcap, tmp_path, name):
    kind, order, nano = CONTAINERS[name]
    make = pcap_bytes if kind == "pcap" else pcapng_bytes
    path = tmp_path / "capture"
    path.write_bytes(make(list(frames_of(PLAIN)), order, nano))
    for command in ("info", "judge"):
        told = aoe_pcap(command, path)
        assert told.returncode == 0, told.stderr
        assert told.stdout == aoe_pcap(command, PLAIN).stdout


@pytest.mark.parametrize("link", [SLL, SLL2])
@pytest.mark.parametrize("side", ["initiator", "target"])
@pytest.mark.parametrize("capture", ["linux-vblade-1500-lossy", "aoede-extensions-1500"])
def test_a_capture_on_any_tells_the_same(aoe_pcap, tmp_path, link, side, capture):
    """`-i any` keeps no destination addresses: they are found from the requests."""
    original = CORPUS / f"{capture}.pcap"
    frames = list(frames_of(original))
    reply = next(frame for _, _, frame in frames if frame[14] & 8)
    us = reply[:6] if side == "initiator" else reply[6:12]
    path = tmp_path / "any.pcap"
    path.write_bytes(pcap_bytes([(s, n, cooked(f, link, us)) for s, n, f in frames], link=link))
    told = json.loads(aoe_pcap("info", path, "--format", "json").stdout)
    plain = json.loads(aoe_pcap("info", original, "--format", "json").stdout)
    for part in ("operations", "targets", "sessions", "time_line"):
        assert told[part] == plain[part], part
    judged = aoe_pcap("judge", path)
    assert judged.stdout == aoe_pcap("judge", original).stdout


def test_interfaces_of_a_pcapng_have_their_own_snaplen_and_link(aoe_pcap, tmp_path):
    """dumpcap on both ports of a tap: requests come on one interface, replies on another; a third is no Ethernet."""
    frames = list(frames_of(PLAIN))
    out = [SECTION, interface_block(snaplen=262144), interface_block(snaplen=65535), interface_block(link=127)]
    for seconds, nanos, frame in frames:
        out.append(packet_block(1 if frame[14] & 8 else 0, seconds, nanos, frame))
    out.insert(len(out) // 2, packet_block(2, *frames[0][:2], b"\0\0\x08\0\0\0\0\0" + bytes(40)))
    path = tmp_path / "tap.pcapng"
    path.write_bytes(b"".join(out))
    told = aoe_pcap("info", path, "--format", "json")
    assert b"1 frames of link type" in told.stderr and b"left out" in told.stderr
    plain = json.loads(aoe_pcap("info", PLAIN, "--format", "json").stdout)
    assert json.loads(told.stdout)["operations"]["latency"] == plain["operations"]["latency"]
    assert json.loads(told.stdout)["sessions"] == plain["sessions"]


def test_a_frame_that_a_bridge_shows_on_two_interfaces_is_one(aoe_pcap, tmp_path):
    out = [SECTION, interface_block(), interface_block(snaplen=96)]
    for seconds, nanos, frame in frames_of(PLAIN):
        out.append(packet_block(0, seconds, nanos, frame))
        out.append(packet_block(1, seconds, nanos + 2000, frame[:96], len(frame)))
    path = tmp_path / "bridge.pcapng"
    path.write_bytes(b"".join(out))
    told = json.loads(aoe_pcap("info", path, "--format", "json").stdout)
    plain = json.loads(aoe_pcap("info", PLAIN, "--format", "json").stdout)
    assert told["sessions"] == plain["sessions"]
    assert b"seen on two interfaces" in aoe_pcap("judge", path).stderr


@pytest.mark.parametrize("where", ["statistics", "packet"])
def test_what_the_capture_itself_lost_is_told(aoe_pcap, tmp_path, where):
    seconds, nanos, frame = next(frames_of(PLAIN))
    out = [SECTION, interface_block()]
    lost = option(4, struct.pack("<Q", 12)) if where == "packet" else b""
    out.append(packet_block(0, seconds, nanos, frame, options=lost))
    if where == "statistics":
        counters = option(4, struct.pack("<Q", 100)) + option(5, struct.pack("<Q", 5)) + option(7, struct.pack("<Q", 7))
        out.append(block(5, struct.pack("<III", 0, 0, 0) + counters))
    path = tmp_path / "drops.pcapng"
    path.write_bytes(b"".join(out))
    assert b"lost 12 frames itself" in aoe_pcap("info", path).stderr


@pytest.mark.parametrize("lost", [0, 3])
def test_a_capture_that_lost_frames_is_not_complete_whoever_says_so(aoe_pcap, tmp_path, lost):
    """The twin that lost nothing is held to the claim."""
    out = [SECTION, interface_block()]
    for seconds, nanos, frame in frames_of(PROJECT / "pcaps" / "truth" / "violations" / "ata-lost-write.pcap"):
        out.append(packet_block(0, seconds, nanos, frame))
    out.append(block(5, struct.pack("<III", 0, 0, 0) + option(5, struct.pack("<Q", lost))))
    path = tmp_path / "claimed.pcapng"
    path.write_bytes(b"".join(out))
    done = aoe_pcap("judge", path, "--complete")
    assert done.returncode == (0 if lost else 1), done.stdout + done.stderr
    assert (b"it is judged without --complete" in done.stderr) == (lost > 0)


def test_standard_input_is_a_file_too(aoe_pcap):
    told = aoe_pcap("info", "-", input=PLAIN.read_bytes())
    assert told.returncode == 0, told.stderr
    assert told.stdout == aoe_pcap("info", PLAIN).stdout


def test_other_traffic_and_vlans(aoe_pcap, tmp_path):
    frames = []
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    for seconds, nanos, frame in frames_of(PLAIN):
        frames += [(seconds, nanos, tagged(frame, 7)), (seconds, nanos, arp)]
    path = tmp_path / "vlan.pcap"
    path.write_bytes(pcap_bytes(frames))
    told = json.loads(aoe_pcap("info", path, "--format", "json").stdout)
    plain = json.loads(aoe_pcap("info", PLAIN, "--format", "json").stdout)
    assert told["capture"]["other_frames"] == len(frames) // 2
    assert told["capture"]["vlan_frames"] == plain["capture"]["aoe_frames"]
    assert told["targets"][0]["address"] == "e1.1@7"
    assert told["sessions"][0]["requests"] == plain["sessions"][0]["requests"]


def test_frames_cut_by_snaplen_accuse_nobody(aoe_pcap, tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(list(frames_of(PLAIN)), snaplen=64))
    told = json.loads(aoe_pcap("info", path, "--format", "json").stdout)
    plain = json.loads(aoe_pcap("info", PLAIN, "--format", "json").stdout)
    assert told["capture"]["cut_frames"] > 100
    assert told["sessions"][1]["operations"] == plain["sessions"][1]["operations"]
    judged = aoe_pcap("judge", path)
    assert judged.returncode == 0, judged.stdout
    assert b"0 fail, 0 warn" in judged.stdout


def test_a_truncated_file_counts_up_to_where_it_ends(aoe_pcap, tmp_path):
    path = tmp_path / "short.pcap"
    path.write_bytes(PLAIN.read_bytes()[:100_000])
    told = aoe_pcap("info", path)
    assert told.returncode == 0
    lines = told.stderr.decode().splitlines()
    assert len(lines) == 1 and "damaged after frame" in lines[0] and str(path) in lines[0]
    assert b" AoE, " in told.stdout


BAD_FILES = {
    "text": (b"hello, this is no capture at all\n" * 4, "not a capture"),
    "empty": (b"", "cannot read the capture"),
    "other-link": (pcap_bytes([], link=127), "not Ethernet"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("command", ["info", "judge", "reconstruct", "diff", "replay"])
def test_a_bad_file_gets_one_clear_line(aoe_pcap, tmp_path, name, command):
    content, said = BAD_FILES[name]
    path = tmp_path / "bad"
    path.write_bytes(content)
    image = tmp_path / "image"
    more = {"reconstruct": ["-o", image], "diff": [PLAIN], "replay": ["--interface", "nowhere0"]}.get(command, [])
    told = aoe_pcap(command, path, *more)
    assert told.returncode == 2
    lines = told.stderr.decode().splitlines()
    assert len(lines) == 1 and said in lines[0] and str(path) in lines[0], lines
    assert told.stdout == b""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad"], "nothing half-written stays"


def test_a_missing_file_is_named(aoe_pcap, tmp_path):
    told = aoe_pcap("info", tmp_path / "none.pcap")
    assert told.returncode == 2
    assert "none.pcap: No such file" in told.stderr.decode()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["judge", PLAIN, "--ignore", "nonsense"], "no such rule"),
        (["judge"], "needs a capture"),
        (["diff", PLAIN, PLAIN, "--ignore", "nonsense"], "no difference has that name"),
        (["replay", PLAIN, "--interface", "lo", "--speed", "fast"], "--speed fast"),
        (["replay", PLAIN, "--interface", "lo", "--to", "7"], "say shelf and slot"),
        (["reconstruct", PLAIN, "-o", "x", "--at", "noon"], "--at noon"),
        (["replay", "-", "--interface", "lo"], "give a file"),
    ],
)
def test_bad_options_are_refused_with_exit_2(aoe_pcap, tmp_path, arguments, said):
    told = aoe_pcap(*arguments, cwd=tmp_path)
    assert told.returncode == 2
    assert said in told.stderr.decode()


def test_a_replay_that_would_write_asks_first(aoe_pcap):
    told = aoe_pcap("replay", PLAIN, "--interface", "nowhere0")
    assert told.returncode == 2
    assert "nothing was sent" in told.stderr.decode() and "--allow write" in told.stderr.decode()


def test_exit_codes_of_judge(aoe_pcap):
    assert aoe_pcap("judge", PLAIN).returncode == 0
    assert aoe_pcap("judge", EXTENSIONS).returncode == 1
    assert aoe_pcap("judge", EXTENSIONS, "--ignore", "reply-padding").returncode == 0


def test_reports_are_the_suites(aoe_pcap):
    tap = aoe_pcap("judge", EXTENSIONS, "--format", "tap").stdout.decode()
    assert tap.startswith("TAP version 14")
    assert any(line.startswith("not ok") and "pcap.reply-padding" in line for line in tap.splitlines())
    junit = ElementTree.fromstring(aoe_pcap("judge", EXTENSIONS, "--format", "junit").stdout)
    failed = {case.get("name") for case in junit.iter("testcase") if case.find("failure") is not None}
    assert any("reply-padding" in name for name in failed), failed
    told = json.loads(aoe_pcap("judge", EXTENSIONS, "--format", "json").stdout)
    verdicts = {case["id"]: case["verdict"] for case in told["cases"]}
    assert verdicts["pcap.reply-padding"] == "fail"
    assert verdicts["pcap.reply-table-changed"] == "pass"
    assert verdicts["pcap.reply-mask-list"] == "skip", "what the capture does not hold is no pass"


def test_reconstruct_brings_the_file_back(aoe_pcap, tmp_path):
    """The Linux captures write a 24 KiB file: the image that is left must hold it."""
    image = tmp_path / "after.img"
    assert aoe_pcap("reconstruct", PLAIN, "-o", image).returncode == 0
    listing = subprocess.run(
        ["/sbin/debugfs", "-R", "ls -l", image], capture_output=True, text=True, timeout=SECONDS_MAX, check=True
    ).stdout
    assert any(line.split()[5] == "24576" for line in listing.splitlines() if len(line.split()) > 8), listing
    before = tmp_path / "before.img"
    told = aoe_pcap("reconstruct", PLAIN, "-o", before, "--at", "before")
    assert b"48 overwritten before anybody read them" in told.stdout


def test_diff_of_a_capture_with_itself_is_nothing(aoe_pcap):
    told = json.loads(aoe_pcap("diff", PLAIN, PLAIN, "--format", "json").stdout)
    assert told["verdict"] == "same"
    assert told["paired"] == told["a"]["requests"] == told["b"]["requests"]


def test_diff_names_what_differs(aoe_pcap):
    told = aoe_pcap("diff", PLAIN, CORPUS / "linux-vblade-1500-lossy.pcap", "--format", "json")
    assert told.returncode == 1
    result = json.loads(told.stdout)
    assert result["b"]["asked_again_new_tag"] == 24
    assert set(result["differences"]) == {"data", "missing"}


# ---------------------------------------------------------------- the page in a real browser


@pytest.fixture(name="browser")
def browser_():
    if not shutil.which(BROWSER):
        pytest.skip(f"no {BROWSER}: it is in .packages, group test")

    def run(*arguments):
        with tempfile.TemporaryDirectory() as profile:
            return subprocess.run(
                [BROWSER, *BROWSER_FLAGS, f"--user-data-dir={profile}", *map(str, arguments)],
                capture_output=True,
                timeout=SECONDS_MAX,
                check=True,
            ).stdout.decode()

    return run


PROBE = """<script>window.addEventListener('load',()=>{
const plots=[...document.querySelectorAll('section[data-plot]')],data=document.body.dataset;
const lost=document.querySelector('[data-plot=lost] svg'),box=lost.getBoundingClientRect();
lost.dispatchEvent(new PointerEvent('pointermove',{clientX:box.left+box.width/2,clientY:box.top+5}));
data.plots=plots.length;
data.drawn=plots.filter(p=>p.querySelector('svg').getBBox().width>200).length;
data.first=plots[0].querySelector('h2').textContent;
data.bars=lost.querySelectorAll('rect').length;
data.told=document.querySelector('[data-plot=lost] .told').textContent;
plots.forEach(p=>{const d=p.querySelector('details');if(d){d.open=true;d.dispatchEvent(new Event('toggle'))}});
data.tables=plots.filter(p=>p.querySelectorAll('details tbody tr').length>0).length;
data.marks=document.querySelectorAll('[data-finding]').length;
data.marked=[...document.querySelectorAll('[data-finding]')].map(m=>m.dataset.finding).join(' ');
data.rows=document.querySelectorAll('#findings tbody tr').length;
data.words=document.querySelector('main').innerText.replace(/\\s+/g,' ');
data.asked=performance.getEntriesByType('resource').length;
data.wide=document.documentElement.scrollWidth<=window.innerWidth;
})</script></body>"""


def page_of(aoe_pcap, browser, tmp_path, capture, *flags):
    page = tmp_path / "page.html"
    assert aoe_pcap("info", capture, "--html", page).returncode in (0, 1)
    page.write_text(page.read_text().replace("</body>", PROBE))
    dom = browser("--dump-dom", *flags, page.as_uri()).partition("<body")[2].partition(">")[0]
    return ElementTree.fromstring("<a " + dom + "/>")


@pytest.mark.parametrize("width", [1400, 500])
def test_the_page_in_a_real_browser(aoe_pcap, browser, tmp_path, width):
    dom = page_of(
        aoe_pcap, browser, tmp_path, CORPUS / "linux-vblade-1500-lossy.pcap", f"--window-size={width},2000"
    )  # fmt: skip
    assert dom.get("data-plots") == dom.get("data-drawn") == "6"
    assert dom.get("data-first") == "What the initiators felt"
    assert int(dom.get("data-bars")) > 10, "losses and repetitions are drawn"
    assert "asked again" in dom.get("data-told"), "the pointer is told what it stands on"
    assert dom.get("data-tables") == "6", "a table behind each plot"
    for words in ("25 askings lost, 13.8 %", "16.5 s slowest", "2026-11-22 10:53:42.380234", "255 (tag 0x00850f0d)"):
        assert words in dom.get("data-words"), words
    assert dom.get("data-asked") == "0", "the page asks the network for nothing"
    assert dom.get("data-wide") == "true", "nothing runs out of the window"


def test_the_page_marks_the_judge_s_findings(aoe_pcap, browser, tmp_path):
    """A write whose reply lacks DRDY, and a read after it."""
    reply = ata_frame(1, 0x41, 0x00, 5, bytes(24), reply=True)
    frames = [ata_frame(1, 0x41, 0x34, 5, b"a" * 512), reply]
    judged = json.loads(aoe_pcap("judge", capture_of(tmp_path / "c.pcap", frames), "--format", "json").stdout)
    found = [f["frame"] for case in judged["cases"] for f in case.get("findings", [])]
    assert 2 in found
    dom = page_of(aoe_pcap, browser, tmp_path, tmp_path / "c.pcap")
    assert sorted(int(n) for n in dom.get("data-marked").split()) == sorted(found)
    assert dom.get("data-rows") == str(len(found))


def test_the_page_can_be_looked_at(aoe_pcap, browser, tmp_path):
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    aoe_pcap("info", EXTENSIONS, "--html", page)
    browser(f"--screenshot={picture}", "--window-size=1100,1200", page.as_uri())
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# ---------------------------------------------------------------- what the initiator felt


def operations_of(path):
    """Counted here, by hand: (askings, replies, [latency of an operation in seconds]) of a capture of the Linux driver."""
    waiting, asked, replies, by_tag, latencies = {}, 0, 0, {}, []
    for seconds, nanos, frame in frames_of(path):
        now = seconds + nanos / 1e9
        tag, command = frame[20:24], frame[19]
        if frame[14] & 8:
            replies += 1
            key = by_tag[tag]
            if key in waiting:
                latencies.append(now - waiting.pop(key))
            continue
        asked += 1
        key = frame[24:34] + frame[36:] if command == 0 else frame[19:]
        by_tag[tag] = key
        waiting.setdefault(key, now)
    return asked, replies, sorted(latencies)


def test_info_tells_what_the_initiator_felt(aoe_pcap):
    """Every seventh reply was dropped: no frame shows a latency above 2 ms, and the job took 85 s instead of 3."""
    capture = CORPUS / "linux-vblade-1500-lossy.pcap"
    asked, replies, latencies = operations_of(capture)
    assert (asked, asked - replies) == (181, 25)
    told = json.loads(aoe_pcap("info", capture, "--format", "json").stdout)["operations"]
    assert told["askings"] == asked
    assert told["askings_lost"] == asked - replies
    assert told["answered"] == len(latencies)
    assert told["latency"]["max_ms"] == pytest.approx(latencies[-1] * 1000, abs=0.001)
    exact = latencies[int(len(latencies) * 0.99)] * 1000
    assert exact <= told["latency"]["p99_ms"] <= exact * 17 / 16
    slowest = told["slowest"][0]
    assert slowest["latency_ms"] == told["latency"]["max_ms"]
    assert [a["frame"] for a in slowest["askings"]] == [255, 258]
    assert slowest["answer_frame"] == 259
    text = aoe_pcap("info", capture).stdout.decode()
    assert "lost        25 of 181 askings" in text
    assert "max 16.52 s" in text
    assert "2026-11-22 10:53:42.380234 UTC" in text, "absolute time"


# ---------------------------------------------------------------- the dissector in tshark


def tshark(path, *fields, lua=True, only=""):
    command = ["tshark", "-r", str(path), "-T", "fields"]
    if lua:
        command += ["-X", f"lua_script:{LUA}"]
    if only:
        command += ["-Y", only]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
    assert "Lua" not in done.stderr, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_dissector_reads_extension_tables():
    rows = tshark(EXTENSIONS, "frame.number", "aoe_ext.feature", "aoe_ext.active", "aoe_ext.argument", only="aoe_ext")
    table = {int(row[0]): row[1:] for row in rows}
    assert table[9] == ["reset,tag_inc_le,coalesced_read,no_such_feature", "", ""]
    assert table[10] == ["RESET,TAG_INC_LE,COALESCED_READ,no_such_feature", "yes,yes,yes,no", ""]
    assert table[32] == ["congestion", "", "41"]


def test_dissector_reads_the_coalesced_tail():
    rows = tshark(
        EXTENSIONS,
        "frame.number",
        "aoe_ext.coalesced.tag",
        "aoe_ext.coalesced.lba",
        "aoe_ext.coalesced.sectors",
        only="aoe_ext.coalesced.count",
    )
    assert rows == [["27", "0x000007d1,0x000007d2,0x000007d3", "201,202,203", "1,1,1"]]


def aoe_frame(command, argument, reply=False):
    target, initiator = bytes.fromhex("02ae00000001"), bytes.fromhex("02ae000000a1")
    addresses = initiator + target if reply else target + initiator
    header = addresses + b"\x88\xa2" + bytes([0x18 if reply else 0x10, 0, 0, 1, 1, command])
    return header + bytes(4) + argument


def test_dissector_reads_mask_and_reserve_lists(tmp_path):
    one, two = bytes.fromhex("02ae000000a1"), bytes.fromhex("02ae000000b0")
    mask = aoe_frame(2, bytes([0, 1, 0, 2]) + b"\x00\x01" + one + b"\x00\x02" + two)
    reserve = tagged(aoe_frame(3, bytes([2, 2]) + one + two), 7)
    cut = aoe_frame(3, bytes([1, 9]) + one)
    path = tmp_path / "lists.pcap"
    path.write_bytes(pcap_bytes([(1, 0, mask), (1, 1000, reserve), (1, 2000, cut)]))
    fields = ["aoe_ext.mask.command", "aoe_ext.mask.directive", "aoe_ext.mask.address"]
    fields += ["aoe_ext.reserve.command", "aoe_ext.reserve.address", "aoe_ext.malformed"]
    rows = tshark(path, *fields)
    macs = "02:ae:00:00:00:a1,02:ae:00:00:00:b0"
    assert rows[0][:3] == ["1", "1,2", macs]
    assert rows[1][3:5] == ["2", macs]
    assert rows[2][4] == "02:ae:00:00:00:a1" and rows[2][5] != ""


def features_frame(names, tag, reply=False):
    table = b"".join(name.encode() + b"\0" for name in names.split(",")) + b"\0"
    return aoe_frame(0x23, struct.pack("<H", len(table)) + table, reply)[:20] + tag.to_bytes(4, "big") + struct.pack(
        "<H", len(table)
    ) + table  # fmt: skip


def ata_frame(tag, aflags, command, lba, tail=b"", reply=False):
    argument = bytes([aflags, 0, 0 if reply else 1, command]) + lba.to_bytes(6, "little") + bytes(2)
    return aoe_frame(0, b"", reply)[:20] + tag.to_bytes(4, "big") + argument + tail


ONE_MORE_READ = bytes([1]) + bytes.fromhex("00000099") + (77).to_bytes(6, "little") + bytes(5) + bytes([1])
READ_AND_MORE = ata_frame(9, 0x40, 0x24, 5, ONE_MORE_READ)


def capture_of(path, frames, **kwargs):
    path.write_bytes(pcap_bytes([(1, 1000 * i, frame) for i, frame in enumerate(frames)], **kwargs))
    return path


def test_dissector_ends_coalesced_reads_with_a_config_set(tmp_path):
    negotiated = [features_frame("coalesced_read", 1), features_frame("COALESCED_READ", 1, reply=True)]
    string = bytes([0, 16, 0x40, 1, 2, 0x14, 0, 1]) + b"x"
    config = [aoe_frame(1, string), aoe_frame(1, string, reply=True)]
    path = capture_of(tmp_path / "set.pcap", [*negotiated, READ_AND_MORE, *config, READ_AND_MORE])
    rows = tshark(path, "frame.number", only="aoe_ext.coalesced.count")
    assert rows == [["3"]], "after the set byte 36 is padding"


def test_dissector_keeps_vlans_apart(tmp_path):
    negotiated = [features_frame("coalesced_read", 1), features_frame("COALESCED_READ", 1, reply=True)]
    frames = [*[tagged(frame, 5) for frame in negotiated], tagged(READ_AND_MORE, 6), tagged(READ_AND_MORE, 5)]
    rows = tshark(capture_of(tmp_path / "vlans.pcap", frames), "frame.number", only="aoe_ext.coalesced.count")
    assert rows == [["4"]]


@pytest.mark.parametrize("snaplen", [24, 25, 26, 27, 28, 36, 37, 45])
def test_dissector_calls_nothing_malformed_that_a_snaplen_cut(tmp_path, snaplen):
    mask = aoe_frame(2, bytes([0, 1, 0, 4]) + (b"\0\1" + bytes.fromhex("02ae000000a1")) * 4)
    reserve = aoe_frame(3, bytes([1, 6]) + bytes.fromhex("02ae000000a1") * 6)
    table = [features_frame("coalesced_read,tag_inc_le", 1), features_frame("COALESCED_READ,TAG_INC_LE", 1, reply=True)]
    frames = [*table, ata_frame(9, 0x40, 0x24, 5, bytes([4]) + bytes(64)), mask, reserve]
    path = capture_of(tmp_path / "cut.pcap", frames, snaplen=snaplen)
    assert tshark(path, "frame.number", only="aoe_ext.malformed") == []
    assert len(tshark(path, "frame.number", only="aoe_ext.cut")) >= 3
    whole = capture_of(tmp_path / "whole.pcap", [aoe_frame(3, bytes([1, 6]) + bytes(6))])
    assert tshark(whole, "frame.number", only="aoe_ext.malformed") == [["1"]], "what really is malformed"


def test_dissector_reads_lists_of_write_results(tmp_path):
    result = bytes.fromhex("00000077" "41100241") + (0xFFF).to_bytes(6, "little") + bytes(2)
    good = bytes.fromhex("00000076" "41000040") + (102).to_bytes(6, "little") + bytes(2)
    listing = ata_frame(0x75, 0x41, 0x40, 100, bytes([2]) + good + result, reply=True)
    plain = ata_frame(0x75, 0x40, 0x40, 100, bytes([2]) + good + result, reply=True)
    on = [features_frame("coalesced_write_reply", 1), features_frame("COALESCED_WRITE_REPLY", 1, reply=True)]
    path = capture_of(tmp_path / "results.pcap", [listing, *on, listing, plain])
    fields = ("count", "tag", "error", "left", "status", "lba")
    rows = tshark(path, "frame.number", *[f"aoe_ext.results.{f}" for f in fields], only="aoe_ext.results.count")
    assert rows == [["4", "2", "0x00000076,0x00000077", "0x00,0x10", "0,2", "0x40,0x41", "102,4095"]]


@pytest.mark.parametrize("capture", sorted(CORPUS.glob("*.pcap")), ids=lambda p: p.stem)
def test_dissector_leaves_wiresharks_own_fields(capture):
    fields = ["frame.number", "aoe.cmd", "aoe.tag", "aoe.response", "aoe.ata.cmd", "aoe.lba", "aoe.err"]
    known = subprocess.run(["tshark", "-G", "fields"], capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
    fields = [f for f in fields if f"\t{f}\t" in known.stdout]
    assert len(fields) > 4
    assert tshark(capture, *fields) == tshark(capture, *fields, lua=False)


# ---------------------------------------------------------------- live, history, selection


def broken(tag):
    """A write and a good answer without DRDY: always a finding, at the answer."""
    reply = ata_frame(tag, 0x41, 0x00, 5, bytes(24), reply=True)
    return [ata_frame(tag, 0x41, 0x34, 5, b"a" * 512), reply]


def test_findings_come_while_the_pipe_is_open_and_the_report_at_sigint(request):
    program = pathlib.Path(request.config.option.build).resolve() / "bin" / "aoe-pcap"
    capture = pcap_bytes([(1, 1000 * i, frame) for i, frame in enumerate(broken(1))])
    with subprocess.Popen(
        [program, "judge", "-", "--follow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as judge:
        judge.stdin.write(capture)
        judge.stdin.flush()
        first = judge.stdout.readline().decode()  # comes, or the test hangs: the pipe stays open
        assert first.startswith("1970-01-01 00:00:01.000001 UTC  frame 2  "), first
        judge.send_signal(signal.SIGINT)
        rest = judge.stdout.read().decode()
        assert "1 requests and 1 replies judged" in rest, rest
        assert judge.stderr.read() == b""
        assert judge.wait(SECONDS_MAX) in (0, 1)


LIVE = """
import signal, socket, subprocess, sys
for command in ("link add a0 type veth peer name b0", "link set a0 up", "link set b0 up"):
    subprocess.run(["ip", *command.split()], check=True)
judge = subprocess.Popen([sys.argv[1], "judge", "--interface", "b0", "--follow"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
print(judge.stderr.readline())
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(("a0", 0))
for frame in sys.argv[2:]:
    sender.send(bytes.fromhex(frame))
print(judge.stdout.readline(), judge.stdout.readline())
judge.send_signal(signal.SIGINT)
print(judge.stdout.read(), judge.stderr.read(), "exit", judge.wait())
"""


def test_an_interface_is_judged_live(request):
    """In a VLAN and outside: two broken answers, each told when it comes."""
    build = pathlib.Path(request.config.option.build).resolve()
    frames = [frame.hex() for frame in broken(1) + [tagged(frame, 7) for frame in broken(2)]]
    command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    done = subprocess.run(
        [*command, "/usr/bin/python3", "-c", LIVE, build / "bin" / "aoe-pcap", *frames],
        capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert "listening on b0" in done.stdout, done
    before, _, after = done.stdout.partition("frame 4  ")
    assert "frame 2  " in before and "@7:" not in before and "@7:" in after.splitlines()[0], done
    assert "2 requests and 2 replies judged" in done.stdout, done.stdout


def test_no_such_interface_is_one_clear_line(aoe_pcap):
    told = aoe_pcap("judge", "--interface", "nowhere0")
    assert told.returncode == 2
    assert told.stderr.decode().startswith("aoe-pcap: cannot listen on nowhere0")


def test_history_names_the_stale_write(aoe_pcap):
    """The simulator's late duplicate in plain AoE: the oracle's truth, found again in the frames."""
    capture = CORPUS / "sim-plain-late-duplicate.pcap"
    judged = json.loads(aoe_pcap("judge", capture, "--format", "json").stdout)
    lbas = {f["lba"] for case in judged["cases"] for f in case.get("findings", []) if "lba" in f}
    assert lbas
    told = [json.loads(aoe_pcap("history", capture, "--lba", lba, "--format", "json").stdout) for lba in lbas]
    stale = [event for one in told for event in one["events"] if event["stale"]]
    assert stale and all("was performed" in event["text"] for event in stale), told
    protected = CORPUS / "sim-aoede-late-duplicate.pcap"
    for lba in lbas:
        assert json.loads(aoe_pcap("history", protected, "--lba", lba, "--format", "json").stdout)["stale"] == 0


def test_history_says_what_it_wants(aoe_pcap):
    for arguments in ([], ["--lba", "1", "--tag", "2"], ["--lba", "x"], ["--tag", "0x1ffffffff"]):
        told = aoe_pcap("history", PLAIN, *arguments)
        assert told.returncode == 2 and len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["info", "judge", "diff", "reconstruct"])
def test_only_counts_for_every_command(aoe_pcap, tmp_path, command):
    more = {"diff": [PLAIN], "reconstruct": ["-o", tmp_path / "img"]}.get(command, [])
    told = aoe_pcap(command, PLAIN, *more, "--only", "disk=1")
    assert told.returncode == 2 and told.stderr.startswith(b"aoe-pcap: --only disk=1: say target=")
    assert aoe_pcap(command, PLAIN, *more, "--only", "target=e1.1", "--only", "frames=1-60").returncode in (0, 1)


def test_only_takes_what_it_says(aoe_pcap):
    told = json.loads(aoe_pcap("info", PLAIN, "--only", "frames=5-14", "--format", "json").stdout)
    assert told["capture"]["frames"] == 10


def test_extract_keeps_the_frames_that_prove_a_finding(aoe_pcap, tmp_path):
    capture = CORPUS / "sim-plain-late-duplicate.pcap"
    listed = aoe_pcap("extract", capture).stdout.decode().splitlines()
    number = next(line.split()[0] for line in listed if "stale-executed-plain" in line)
    small = tmp_path / "small.pcap"
    told = aoe_pcap("extract", capture, "--finding", number, "-o", small)
    assert told.returncode == 0, told.stderr
    kept = json.loads(aoe_pcap("info", small, "--format", "json").stdout)["capture"]["frames"]
    assert 4 <= kept < 15 < json.loads(aoe_pcap("info", capture, "--format", "json").stdout)["capture"]["frames"]
    again = aoe_pcap("extract", small).stdout.decode().splitlines()
    assert f"frame {kept} " in next(line for line in again if "stale-executed-plain" in line)


def test_extract_says_what_it_wants(aoe_pcap, tmp_path):
    capture = CORPUS / "sim-plain-late-duplicate.pcap"
    for more in (["--finding", "9999", "-o", tmp_path / "x"], ["--finding", "1"], ["--finding", "1", "-o", capture]):
        told = aoe_pcap("extract", capture, *more)
        assert told.returncode == 2 and len(told.stderr.splitlines()) == 1
