"""The AoE header: who is answered, who is met with silence, and with which error."""

import pytest
from scapy.packet import Raw

import aoe_layers as aoe
from aoe_layers import AoE, AoeConfig, SHELF_ALL, SLOT_ALL
from dialogue import judge_reply
from net import Link, mac_of

SHELF, SLOT = 0x0123, 0x45
OURS = [(SHELF, SLOT), (SHELF_ALL, SLOT_ALL), (SHELF, SLOT_ALL), (SHELF_ALL, SLOT)]
OTHERS = [(SHELF + 1, SLOT), (SHELF, SLOT + 1), (SHELF_ALL, SLOT + 1), (SHELF ^ 0x100, SLOT_ALL)]
QUERY = AoeConfig(aoe_version=1)


@pytest.fixture
def asking(start):
    start(shelf=SHELF, slot=SLOT)
    return start.initiator(shelf=SHELF, slot=SLOT)


@pytest.fixture
def barrier(start):
    return start.initiator("02:00:00:00:ba:21", shelf=SHELF, slot=SLOT)


@pytest.mark.parametrize("dst", [aoe.BROADCAST, None])
def test_own_and_broadcast_addresses_are_answered_with_the_own_address(asking, dst):
    for shelf, slot in OURS:
        asking.ask(QUERY, aoe.CMD_CONFIG, shelf=shelf, slot=slot, dst=dst or asking.target_mac)


def test_others_shelves_and_slots_are_met_with_silence(asking, barrier):
    for shelf, slot in OTHERS:
        frame = asking.frame(QUERY, aoe.CMD_CONFIG, shelf=shelf, slot=slot)
        asking.host.expect_silence(frame, barrier.host)


@pytest.mark.parametrize("tag", [0, 1, 0x01020304, 0x80000000, 0xFFFFFFFF])
def test_the_tag_comes_back(asking, tag):
    assert asking.ask(QUERY, aoe.CMD_CONFIG, tag=tag)[AoE].tag == tag


def test_a_response_is_not_a_request(asking, barrier):
    for flags in (8, 9, 0xC, 0xF):
        frame = asking.frame(QUERY, aoe.CMD_CONFIG, flags=flags)
        asking.host.expect_silence(frame, barrier.host)


def test_every_unknown_command_gets_error_1(asking):
    known = {aoe.CMD_ATA, aoe.CMD_CONFIG, aoe.CMD_MASK, aoe.CMD_RESERVE, aoe.CMD_EXTENSIONS}
    for command in sorted(set(range(256)) - known):
        asking.refused(Raw(bytes(36)), command, error=1)


def test_every_unknown_version_gets_error_5_and_nothing_is_done(asking, start):
    before = start.image.read_bytes()
    for version in [0, *range(2, 16)]:
        asking.refused(QUERY, aoe.CMD_CONFIG, error=5, version=version)
        write = asking.ata_frame(aoe.WRITE_EXT, lba=0, count=1, data=b"v" * 512)
        write[AoE].version = version
        assert asking.ask_frame(write)[AoE].error == 5
    assert start.image.read_bytes() == before


def test_reserved_bits_of_a_request_do_not_come_back(asking):
    for flags in (1, 2, 3):
        reply = asking.ask(QUERY, aoe.CMD_CONFIG, flags=flags)
        assert reply[AoE].error == 0


# The bytes that a command cannot do without: header and fixed argument.
SHORTEST = {aoe.CMD_ATA: 36, aoe.CMD_CONFIG: 32, aoe.CMD_MASK: 28, aoe.CMD_RESERVE: 26, aoe.CMD_EXTENSIONS: 28}


@pytest.mark.parametrize("command", SHORTEST)
def test_a_frame_cut_short_is_met_with_silence(asking, barrier, command):
    whole = bytes(asking.frame(Raw(bytes(40)), command))
    for length in range(14, SHORTEST[command]):
        asking.host.send(whole[:length])
    asking.host.expect_silence(whole[:24], barrier.host)


def test_a_frame_of_just_the_fixed_argument_is_answered(asking):
    # A veth pair does not pad: nothing may depend on the 60 bytes of a real wire.
    for command, length in SHORTEST.items():
        if command == aoe.CMD_EXTENSIONS:
            frame = asking.frame(Raw(b"\x02\0\0\0"), command)
        elif command == aoe.CMD_ATA:
            frame = asking.ata_frame(aoe.CHECK_POWER)
        else:
            frame = asking.frame(Raw(bytes(length - 24)), command)
        raw = bytes(frame)
        assert len(raw) == max(length, len(raw))
        asking.ask_frame(frame)


def test_a_target_on_two_wires_answers_on_the_wire_it_was_asked_on(start, link):
    second = Link()
    try:
        start(interfaces=[link.target_end, second.target_end])
        for wire in (link, second):
            asking = start.initiator(link=wire)
            request = asking.frame(QUERY, aoe.CMD_CONFIG)
            reply = asking.host.ask(request)
            judge_reply(bytes(request), reply, 1, 1, mac_of(wire.target_end))
        # One disk behind both.
        start.initiator(link=link).write(7, b"w" * 512)
        assert start.initiator(link=second).read(7) == b"w" * 512
    finally:
        second.close()


def test_it_announces_itself_when_it_starts(start, link):
    listening = link.host()
    start(shelf=SHELF, slot=SLOT)
    listening.drain()
    from programs import wait_until

    # It also asks, by a request, whether somebody else serves its address.
    def announced():
        listening.drain(0.05)
        return [frame for frame in map(aoe.Ether, listening.broadcasts) if int(frame[AoE].flags) & 8]

    wait_until(announced, seconds=5, what="an announcement")
    (frame,) = announced()
    assert frame.src == link.target_mac and frame.dst == aoe.BROADCAST
    header = frame[AoE]
    assert (header.version, int(header.flags), header.error, header.cmd, header.tag) == (1, 8, 0, 1, 0)
    assert (header.shelf, header.slot) == (SHELF, SLOT)
    assert frame[AoeConfig].ccmd == AoeConfig.READ and frame[AoeConfig].aoe_version == 1
