"""The queue by age against a sorted list, over more entries than one part holds."""

from hypothesis import given
from hypothesis import strategies as st

from mmo.state.age_queue import PART_MAX, AgeQueue

STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**6)), max_size=200)


def test_queue_when_filled_and_emptied_in_any_order_then_is_always_sorted() -> None:
    queue, number = AgeQueue(), 7
    entries = []
    for turn in range(4 * PART_MAX):
        number = number * 48_271 % 2_147_483_647
        entries.append((number % 1_000, turn, f"{turn}"))
        queue.add(entries[-1])
    assert list(queue) == sorted(entries) and len(queue) == len(entries)
    for entry in entries[::3] + entries[1::3]:
        queue.remove(entry)
    assert list(queue) == sorted(entries[2::3])
    for entry in entries[2::3]:
        queue.remove(entry)
    assert not len(queue) and not list(queue)
    queue.add((1, 1, None))
    assert list(queue) == [(1, 1, None)]


@given(STEPS)
def test_queue_when_anything_comes_and_goes_then_equals_a_sorted_list(
    steps: list[tuple[int, int]],
) -> None:
    queue = AgeQueue()
    model: list[tuple[int, int, int]] = []
    for number, (age, pick) in enumerate(steps):
        if age < 3 and model:
            gone = model.pop(pick % len(model))
            queue.remove(gone)
        else:
            model.append((age, number, number))
            model.sort()
            queue.add((age, number, number))
        assert list(queue) == model
