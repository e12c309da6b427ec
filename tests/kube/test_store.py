"""What is known of a collection, and what has changed of it."""

from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.objects import Pod
from chaosplugin.kube.store import Absent, Complete, Present, Store
from tests.kube.watches import known


def test_a_state_that_is_known_is_no_change() -> None:
    store = Store(Pod)

    assert list(store.apply(known("a", 1))) == [Present(known("a", 1))]
    assert list(store.apply(known("a", 1))) == []
    assert list(store.apply(known("a", 2))) == [Present(known("a", 2))]


def test_an_object_that_was_replaced_unseen_is_told_as_gone_first() -> None:
    store = Store(Pod)
    list(store.apply(known("a", 1, "old")))

    assert list(store.apply(known("a", 2, "new"))) == [
        Absent(known("a", 1, "old")),
        Present(known("a", 2, "new")),
    ]
    assert list(store.remove(known("a", 3, "old"))) == []
    assert len(store) == 1


def test_the_deletion_of_a_successor_leaves_no_ghost_of_its_forerunner() -> None:
    store = Store(Pod)
    list(store.apply(known("a", 1, "old")))
    store.begin_replace()

    assert list(store.remove(known("a", 3, "new"))) == []
    assert list(store.end_replace()) == [Absent(known("a", 1, "old")), Complete()]


states = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(1, 3), st.sampled_from("xy")))


@given(st.lists(states, max_size=5))
def test_whoever_follows_the_changes_of_full_lists_knows_what_is_there(
    lists: list[dict[str, tuple[int, str]]],
) -> None:
    store = Store(Pod)
    there: dict[str, Pod] = {}
    for state in lists:
        store.begin_replace()
        changes = [
            change
            for name, (version, uid) in state.items()
            for change in store.apply(known(name, version, uid))
        ]
        for change in (*changes, *store.end_replace()):
            if isinstance(change, Present) and isinstance(change.object, Pod):
                there[change.object.metadata.name] = change.object
            elif isinstance(change, Absent):
                del there[change.object.metadata.name]

        assert {
            name: (int(found.metadata.resource_version), found.metadata.uid) for name, found in there.items()
        } == state
