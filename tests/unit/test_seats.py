from voicestack.core.ids import SessionId
from voicestack.engines.seats import ANY_SLOT, Seats

A, B, C = SessionId("a"), SessionId("b"), SessionId("c")


def seat(seats: Seats, session: SessionId) -> int:
    with seats.taken(session) as slot:
        return slot


def test_a_session_comes_back_to_its_slot() -> None:
    seats = Seats(3)
    first = [seat(seats, s) for s in (A, B, C)]
    assert sorted(first) == [0, 1, 2]
    assert [seat(seats, s) for s in (A, B, C)] == first


def test_a_newcomer_takes_the_slot_that_was_quiet_for_longest() -> None:
    seats = Seats(2)
    seat(seats, A)
    slot_b = seat(seats, B)
    seat(seats, A)
    assert seat(seats, C) == slot_b


def test_nobody_loses_a_slot_at_work() -> None:
    seats = Seats(2)
    slot_a = seat(seats, A)
    slot_b = seat(seats, B)
    with seats.taken(A):
        assert seat(seats, C) == slot_b
        assert seat(seats, A) == slot_a
        with seats.taken(C):
            assert seat(seats, B) == ANY_SLOT
    assert seat(seats, B) == slot_a


def test_two_requests_of_a_session_share_its_slot() -> None:
    seats = Seats(1)
    with seats.taken(A) as first:
        with seats.taken(A) as second:
            assert first == second == 0
        assert seat(seats, B) == ANY_SLOT  # the first is still at work
    assert seat(seats, B) == 0


def test_a_released_slot_is_free() -> None:
    seats = Seats(2)
    slot_a = seat(seats, A)
    slot_b = seat(seats, B)
    seats.release(A)
    seats.release(A)
    assert seat(seats, C) == slot_a
    assert seat(seats, B) == slot_b


def test_a_session_that_ends_at_work_does_not_break_the_count() -> None:
    seats = Seats(1)
    with seats.taken(A):
        seats.release(A)
    assert seat(seats, B) == 0
    assert seat(seats, C) == 0


def test_without_slots_the_server_chooses() -> None:
    assert seat(Seats(0), A) == ANY_SLOT
