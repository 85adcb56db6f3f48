"""Items come into the text of YAML and leave it, and every other byte stays."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from webhook.commands.connect.merge import Addition, Step, identity, merge
from webhook.commands.connect.yaml_lists import insert, load, remove

TABLE = {"table": {"schema": "public", "name": "a"}}
INDENTED = """# head
tables:
  - table:   # of ours
      name: a
      schema: public
    comment: |
      two
      lines

    roles: [x, "y"]   # in one line
    # the end of a
empty: []  # none yet
nothing: {}
# the end
"""
NOT_INDENTED = """tables:
- table: {name: a, schema: public}
  roles:
  - x
empty: []
nothing: {}"""


@pytest.mark.parametrize("text", [INDENTED, NOT_INDENTED, INDENTED.replace("\n", "\r\n")])
@pytest.mark.parametrize(
    ("way", "item"),
    [
        (["tables"], {"table": {"schema": "b", "name": "c"}, "q": "{\n  a\n}"}),
        (["tables", TABLE, "roles"], "z"),
        (["tables", TABLE, "event_triggers"], {"name": "t", "webhook": "{{A}}/b", "all": "*"}),
        (["empty"], {"name": "x", "headers": [{"name": "h"}]}),
        (["nothing", "objects"], {"name": "x"}),
        (["new", "objects"], {"name": "x"}),
    ],
    ids=[
        "a list of objects",
        "a list of texts",
        "a new list",
        "an empty list",
        "an empty object",
        "nothing at all",
    ],
)
def test_an_item_comes_and_goes(text: str, way: Sequence[Step], item: Any) -> None:
    merged, (added,) = merge(load(text), [Addition(tuple(way), item)])
    longer = insert(text, way, item)
    assert load(longer) == merged
    assert re.findall("#.*", longer) == re.findall("#.*", text)
    assert remove(longer, way, identity(item), added.made) == text


@pytest.mark.parametrize("text", ["[]\n", "# none\n[]\n", "- name: a\n", "---\n- name: a  # b\n"])
def test_a_file_that_is_a_list_grows_and_shrinks(text: str) -> None:
    longer = insert(text, [], {"name": "x"})
    assert load(longer) == [*load(text), {"name": "x"}]
    assert remove(longer, [], {"name": "x"}, 0) == text


def test_a_file_that_is_empty_becomes_a_list() -> None:
    assert load(insert("", [], {"name": "x"})) == [{"name": "x"}]
    assert insert("# mine\n", ["actions"], {"name": "x"}) == "# mine\nactions:\n  - name: x\n"


def test_two_come_and_go_in_any_order() -> None:
    both = insert(insert("tables: []\n", ["tables"], {"name": "x"}), ["tables"], {"name": "y"})
    for first, second in (("x", "y"), ("y", "x")):
        one = remove(both, ["tables"], {"name": first}, 0)
        assert load(one) == {"tables": [{"name": second}]}
        assert remove(one, ["tables"], {"name": second}, 0) == "tables: []\n"
