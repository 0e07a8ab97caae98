"""Who may do what: the MAC mask list and reservations, with three hosts on one wire."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.packet import Raw

import aoe_layers as aoe
from aoe_layers import AoE, AoeConfig, AoeMask, AoeReserve, MaskDirective
from dialogue import data_of, judge_done

ADD, DELETE, NOTHING = MaskDirective.ADD, MaskDirective.DELETE, MaskDirective.NOTHING
LIST_MAX = 255  # the count is one byte


def mac(number):
    return "02:00:00:00:%02x:%02x" % (number >> 8, number & 0xFF)


A, B, C = mac(0xA), mac(0xB), mac(0xC)


@pytest.fixture
def three(start):
    start()
    return start.initiator(A), start.initiator(B), start.initiator(C)


# -- MAC mask list


def test_an_empty_list_admits_everyone(three):
    for host in three:
        assert host.mask_list() == []


def test_who_is_not_listed_is_met_with_silence_for_every_command(three):
    first, second, third = three
    first.mask((ADD, A), (ADD, B))
    first.ask(AoeConfig(), aoe.CMD_CONFIG)
    second.read(0)
    requests = [
        third.frame(AoeConfig(aoe_version=1), aoe.CMD_CONFIG),
        third.ata_frame(aoe.READ_EXT, lba=0, count=1),
        third.ata_frame(aoe.IDENTIFY, count=1),
        third.frame(AoeMask(), aoe.CMD_MASK),
        third.frame(AoeMask(mcmd=1, directives=[MaskDirective(dcmd=ADD, mac=C)]), aoe.CMD_MASK),
        third.frame(AoeReserve(), aoe.CMD_RESERVE),
        third.frame(aoe.AoeExtensionsLE(strings=[b"reset"]), aoe.CMD_EXTENSIONS),
        third.frame(Raw(bytes(40)), 0x99),
        third.frame(AoeConfig(aoe_version=1), aoe.CMD_CONFIG, version=2),
    ]
    for frame in requests:
        third.host.expect_silence(frame, first.host)
    assert sorted(first.mask_list()) == [A, B]
    first.mask((DELETE, A), (DELETE, B))
    third.read(0)


def test_an_edit_is_answered_even_by_the_one_it_locks_out(three):
    first, second, _ = three
    reply = first.mask((ADD, B))
    assert (reply.merror, reply.count) == (0, 1)
    first.host.expect_silence(first.frame(AoeConfig(), aoe.CMD_CONFIG), second.host)
    second.mask((DELETE, B))
    first.read(0)


def test_directives_apply_in_order_and_stop_at_a_bad_one(three):
    first = three[0]
    reply = first.mask((ADD, A), (ADD, B), (DELETE, B), (NOTHING, C), (7, C), (ADD, C))
    assert reply.merror == 2, "bad directive"
    assert reply.count == 4, "the index of the bad one"
    assert first.mask_list() == [A]


def test_adding_twice_and_deleting_what_is_absent_are_good(three):
    first = three[0]
    reply = first.mask((ADD, A), (ADD, A), (DELETE, C))
    assert (reply.merror, reply.count) == (0, 1)
    assert first.mask_list() == [A]


def fill(host, numbers):
    numbers = list(numbers)
    for i in range(0, len(numbers), 100):
        reply = host.mask(*[(ADD, mac(n)) for n in numbers[i : i + 100]])
        assert reply.merror == 0


@pytest.mark.parametrize("mtu", [9000], indirect=True)
def test_the_list_holds_255_and_refuses_one_more(three):
    first = three[0]
    everybody = [0xA, *range(0x100, 0x100 + LIST_MAX - 1)]
    fill(first, everybody)
    reply = first.mask()
    assert (reply.merror, reply.count) == (0, LIST_MAX)
    assert sorted(first.mask_list()) == sorted(map(mac, everybody))
    reply = first.mask((NOTHING, A), (ADD, mac(0x900)))
    assert (reply.merror, reply.count) == (3, 1), "full, at the second directive"
    # First, middle and last can go and come back.
    for number in (everybody[1], everybody[LIST_MAX // 2], everybody[-1]):
        assert first.mask((DELETE, mac(number))).count == LIST_MAX - 1
        assert first.mask((ADD, mac(number))).count == LIST_MAX
    assert sorted(first.mask_list()) == sorted(map(mac, everybody))


def test_the_list_is_full_when_its_reply_is(three, link):
    # Every reply carries the whole list, so at a small MTU it holds what one frame can tell.
    first = three[0]
    room = (link.mtu + 14 - 28) // 8
    everybody = [0xA, *range(0x100, 0x100 + room - 1)]
    fill(first, everybody)
    assert first.mask((ADD, mac(0x900))).merror == 3
    raw = bytes(first.ask(AoeMask(), aoe.CMD_MASK))
    assert len(raw) <= link.mtu + 14
    assert sorted(d.mac for d in aoe.Ether(raw)[AoeMask].directives) == sorted(map(mac, everybody))


def test_a_count_beyond_the_frame_adds_nobody_unheard_of(three, start):
    first, second, _ = three
    # What an earlier frame left in the receive buffer looks like an entry: an add of somebody.
    second.write(0, bytes(MaskDirective(dcmd=ADD, mac="02:5e:c2:e7:00:01")) * 128)
    message = AoeMask(mcmd=1, count=9, directives=[MaskDirective(dcmd=ADD, mac=A)])
    reply = first.ask(message, aoe.CMD_MASK)
    assert reply[AoE].error == 2 or reply[AoeMask].merror != 0
    assert set(first.mask_list()) <= {A}


def test_unknown_mask_commands_get_error_2(three):
    for mcmd in (2, 3, 0x80, 0xFF):
        three[0].refused(AoeMask(mcmd=mcmd), aoe.CMD_MASK, error=2)


numbers = st.integers(1, 6)


@settings(max_examples=50)
@given(st.lists(st.lists(st.tuples(st.sampled_from([ADD, ADD, DELETE, NOTHING, 9]), numbers), min_size=1, max_size=6), max_size=6))
def test_any_edits_equal_the_model(listed, edits):
    host = listed
    host.mask(*[(DELETE, mac(number)) for number in range(2, 7)])
    held = {mac(1)}
    for directives in edits:
        # The one who asks stays listed, or he would not be answered.
        directives = [(d, n) for d, n in directives if not (d == DELETE and n == 1)] or [(NOTHING, 1)]
        bad = None
        for index, (dcmd, number) in enumerate(directives):
            if dcmd == 9:
                bad = index
                break
            if dcmd == ADD:
                held.add(mac(number))
            if dcmd == DELETE:
                held.discard(mac(number))
        reply = host.mask(*[(d, mac(n)) for d, n in directives])
        assert reply.merror == (0 if bad is None else 2)
        assert reply.count == (len(held) if bad is None else bad)
        assert set(host.mask_list()) == held


@pytest.fixture
def listed(start):
    """A host that is on the list itself, or it would not be answered."""
    start()
    host = start.initiator(mac(1))
    host.mask((ADD, mac(1)))
    return host


def test_allow_on_the_command_line_is_a_list_that_no_frame_can_change(start):
    start("--allow", A, "--allow", B)
    first, second, third = (start.initiator(m) for m in (A, B, C))
    first.read(0)
    second.read(0)
    third.host.expect_silence(third.frame(AoeConfig(), aoe.CMD_CONFIG), first.host)
    first.mask((ADD, A), (ADD, C))
    third.host.expect_silence(third.frame(AoeConfig(), aoe.CMD_CONFIG), first.host)
    second.host.expect_silence(second.frame(AoeConfig(), aoe.CMD_CONFIG), first.host)
    first.read(0)


# -- reserve/release


def test_a_reservation_shuts_others_out_of_the_disk_but_not_of_identify(three, start):
    first, second, third = three
    before = start.image.read_bytes()
    reply = first.reserve(AoeReserve.SET, [A, B])
    assert reply[AoE].error == 0 and sorted(reply[AoeReserve].macs) == [A, B]
    first.read(0)
    second.read(0)
    for command in (*aoe.READS, aoe.FLUSH, aoe.FLUSH_EXT, aoe.CHECK_POWER):
        assert third.ata(command, count=1)[AoE].error == 6, hex(command)
    for command in aoe.WRITES:
        assert third.ata(command, count=1, data=b"x" * 512)[AoE].error == 6
    third.identify()
    assert third.config_string() == b""
    assert sorted(third.reserve_list()) == [A, B]
    assert third.mask_list() == []
    assert third.config(AoeConfig.SET, b"open to all")[AoE].error == 0
    assert start.image.read_bytes() == before


def test_set_works_for_the_listed_only_and_force_for_all(three):
    first, second, third = three
    first.reserve(AoeReserve.SET, [A, B])
    assert third.reserve(AoeReserve.SET, [C])[AoE].error == 6
    assert third.reserve(AoeReserve.SET, [])[AoE].error == 6, "a release is a set"
    assert sorted(first.reserve_list()) == [A, B]
    assert second.reserve(AoeReserve.SET, [B])[AoE].error == 0, "listed, though not the one who set it"
    assert first.ata(aoe.READ_EXT, count=1)[AoE].error == 6
    assert third.reserve(AoeReserve.FORCE, [C])[AoE].error == 0
    assert second.ata(aoe.READ_EXT, count=1)[AoE].error == 6
    third.read(0)
    assert third.reserve(AoeReserve.SET, [])[AoeReserve].macs == []
    for host in three:
        host.read(0)


def test_a_released_disk_is_free_for_the_next(three):
    first, second, _ = three
    for host in (first, second, first):
        assert host.reserve(AoeReserve.SET, [host.mac])[AoE].error == 0
        assert host.reserve(AoeReserve.SET, [])[AoE].error == 0


def test_a_count_beyond_the_frame_reserves_nothing(three):
    first, second, _ = three
    second.write(0, b"\x02\x5e\xc2\xe7\x00\x01" * 85 + b"xx")
    reply = first.ask(AoeReserve(rcmd=1, count=5, macs=[A]), aoe.CMD_RESERVE)
    assert reply[AoE].error == 2
    assert first.reserve_list() == []


def test_unknown_reserve_commands_get_error_2(three):
    for rcmd in (3, 4, 0x80, 0xFF):
        three[0].refused(AoeReserve(rcmd=rcmd), aoe.CMD_RESERVE, error=2)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([AoeReserve.READ, AoeReserve.SET, AoeReserve.FORCE]), st.sets(st.sampled_from([A, B, C]))),
        max_size=12,
    )
)
def test_any_reservations_equal_the_model(shared_three, steps):
    shared_three[0].reserve(AoeReserve.FORCE, [])
    held = set()
    for who, rcmd, macs in steps:
        host = shared_three[who]
        reply = host.reserve(rcmd, macs)
        works = rcmd == AoeReserve.FORCE or not held or host.mac in held
        if rcmd != AoeReserve.READ and works:
            held = set(macs)
        assert reply[AoE].error == (6 if rcmd == AoeReserve.SET and not works else 0)
        assert set(host.reserve_list()) == held
        for other in shared_three:
            reply = other.ata(aoe.READ_EXT, lba=0, count=1)
            if held and other.mac not in held:
                assert reply[AoE].error == 6 and not any(data_of(reply))
            else:
                judge_done(reply)


@pytest.fixture
def shared_three(three):
    return three
