"""What was there is there afterwards, twice is once, and taking back undoes: for any metadata."""

import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shop import BINDING, columns_of_photos
from webhook.commands.connect.merge import identity, look_up, merge, take_back
from webhook.commands.connect.wanted import wanted
from webhook.hasura.client import ROLE

COLUMNS = columns_of_photos()
PHOTOS = {"schema": "shop", "name": "product_photos"}
WISHES = wanted(BINDING, "default", COLUMNS, ["seller", "guest"], {"find_row.graphql": "{ a }"})


def named(
    key: str, names: list[Any], always: Mapping[str, Any] | None = None, **perhaps: Any
) -> st.SearchStrategy[Any]:
    """Lists of objects that have different names, and more than that."""
    item = st.fixed_dictionaries({key: st.sampled_from(names), **(always or {})}, optional=perhaps)
    return st.lists(item, unique_by=lambda it: repr(it[key]), max_size=len(names))


columns = st.one_of(st.just("*"), st.lists(st.sampled_from(["a", "photo_id", "cutout_key"])))
permissions = named(
    "role", ["seller", ROLE], {"permission": st.fixed_dictionaries({"columns": columns})}
)
tables = named(
    "table",
    [PHOTOS, {"name": "product_photos"}, {"schema": "shop", "name": "orders"}],
    select_permissions=permissions,
    update_permissions=permissions,
    event_triggers=named("name", ["order_placed", BINDING.trigger]),
    configuration=st.just({"custom_name": "Photo"}),
)
sources = st.builds(
    lambda ours, others: [*others, {"name": "default", **ours}],
    st.fixed_dictionaries({"kind": st.just("postgres")}, optional={"tables": tables}),
    named("name", ["warehouse"], tables=tables),
)
actions = named("name", ["pay", "removeBackground"], permissions=named("role", ["seller"]))
objects = named("name", ["Receipt", "RemoveBackgroundOutput"])
queries = st.fixed_dictionaries({}, optional={"queries": named("name", ["mine"])})
metadatas = st.fixed_dictionaries(
    {"version": st.just(3), "sources": sources},
    optional={
        "actions": actions,
        "custom_types": st.fixed_dictionaries({}, optional={"objects": objects}),
        "query_collections": named("name", ["page", ROLE], definition=queries),
        "allowlist": named("collection", ["page", ROLE]),
        "inherited_roles": st.just([{"role_name": "boss", "role_set": ["seller"]}]),
    },
)


def holds(whole: Any, part: Any) -> bool:
    """Tell whether all of one value is found in another, lists in their order."""
    match part:
        case Mapping():
            return all(key in whole and holds(whole[key], it) for key, it in part.items())
        case list():
            return len(whole) >= len(part) and all(map(holds, whole, part))
    return bool(whole == part)


@settings(max_examples=60)
@given(metadatas)
def test_what_was_there_is_there_afterwards_and_in_its_place(metadata: dict[str, Any]) -> None:
    before = copy.deepcopy(metadata)
    merged, _ = merge(metadata, WISHES)
    assert metadata == before
    assert holds(merged, metadata)
    for wish in WISHES:
        assert look_up(merged, (*wish.at, identity(wish.item))) is not None


@settings(max_examples=60)
@given(metadatas)
def test_twice_is_once(metadata: dict[str, Any]) -> None:
    merged, _ = merge(metadata, WISHES)
    assert merge(merged, WISHES) == (merged, [])


@settings(max_examples=60)
@given(metadatas)
def test_taking_back_undoes(metadata: dict[str, Any]) -> None:
    merged, added = merge(metadata, WISHES)
    assert take_back(merged, added) == (metadata, [])
    assert take_back(metadata, added) == (metadata, [])


@settings(max_examples=50)
@given(metadatas, st.lists(st.sampled_from(["seller", "guest", "boss"]), unique=True))
def test_what_came_later_is_taken_back_with_it(metadata: dict[str, Any], more: list[str]) -> None:
    merged, first = merge(metadata, WISHES)
    again, second = merge(merged, wanted(BINDING, "default", COLUMNS, more, {}))
    assert take_back(again, [*first, *second]) == (metadata, [])


def test_a_table_that_others_use_meanwhile_stays() -> None:
    metadata = {"version": 3, "sources": [{"name": "default", "tables": []}]}
    merged, added = merge(metadata, WISHES)
    theirs = {"role": "guest", "permission": {"columns": ["photo_id"], "filter": {}}}
    merged["sources"][0]["tables"][0]["select_permissions"].append(theirs)
    rest, left = take_back(merged, added)
    assert rest["sources"][0]["tables"] == [{"table": PHOTOS, "select_permissions": [theirs]}]
    assert [it.item for it in left] == [{"table": PHOTOS}]
