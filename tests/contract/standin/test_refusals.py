"""A wrong request gets graphql-engine's words, with the place where it is wrong."""

from typing import Any

import pytest

from tests.support.standin_engine import GRAPHQL, RECORD, Engine, new_id

FIND = (GRAPHQL / "find_image.graphql").read_text()
IMAGES = "$.selectionSet.images"
BY_KEY = "$.selectionSet.images_by_pk"
SET = "$.selectionSet.update_images_by_pk.args._set"
NO_QUERY = ("not a valid graphql query", "$.query")
TOO_LARGE = (
    "The value 9.9999999999e10 lies outside the bounds or is not an integer."
    " Maybe it is a float, or is there integer overflow?"
)


@pytest.mark.parametrize(
    "query",
    ["{ images { id ", "{}", "{ images {} }", "{ images { id } } type a { b: Int }"],
    ids=["not closed", "empty operation", "empty selection", "a definition of a type"],
)
def test_what_is_no_query_is_refused(engine: Engine, query: str) -> None:
    assert engine.error(query) == ("validation-failed", *NO_QUERY)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "{ pictures { id } }",
            ("field 'pictures' not found in type: 'query_root'", "$.selectionSet.pictures"),
        ),
        ("{ images(which: {}) { id } }", ("'images' has no argument named 'which'", IMAGES)),
        ("{ images_by_pk { id } }", ("missing required field 'id'", f"{BY_KEY}.args.id")),
        ("{ images }", ("missing selection set for 'images'", f"{IMAGES}.selectionSet")),
        (
            "{ images { id { x } } }",
            (
                "unexpected subselection set for non-object field",
                f"{IMAGES}.selectionSet.id",
            ),
        ),
        (
            "{ images { ...parts } }",
            ('reference to undefined fragment "parts"', f"{IMAGES}.selectionSet"),
        ),
        (
            "{ images(limit: 1) { id } images(limit: 2) { id } }",
            (
                "inconsistent arguments between multiple selections of field 'images'",
                "$.selectionSet",
            ),
        ),
        (
            "{ images { a: id a: status } }",
            (
                "selection of both 'id' and 'status' specify the same response name, 'a'",
                f"{IMAGES}.selectionSet",
            ),
        ),
        (
            "{ images(where: 1) { id } }",
            (
                "expected an object for type 'images_bool_exp', but found an integer",
                f"{IMAGES}.args.where",
            ),
        ),
        (
            "{ images(where: {width: {_in: [1.5]}}) { id } }",
            (
                "expected a 32-bit integer for type 'Int', but found a float",
                f"{IMAGES}.args.where.width._in[0]",
            ),
        ),
        (
            '{ images(order_by: {id: "asc"}) { id } }',
            (
                "expected an enum value for type 'order_by', but found a string",
                f"{IMAGES}.args.order_by.id",
            ),
        ),
        (
            "{ images(order_by: {id: up}) { id } }",
            (
                "expected one of the values ['asc', 'asc_nulls_first', 'asc_nulls_last', 'desc',"
                " 'desc_nulls_first', 'desc_nulls_last'] for type 'order_by', but found 'up'",
                f"{IMAGES}.args.order_by.id",
            ),
        ),
        (
            "{ images(limit: -1) { id } }",
            (
                "expected a non-negative 32-bit integer for type 'Int', but found an integer",
                f"{IMAGES}.args.limit",
            ),
        ),
        (
            "{ images(where: {_and: [{}, {id: {_eq: null}}]}) { id } }",
            (
                "unexpected null value for type 'uuid'",
                f"{IMAGES}.args.where._and[1].id._eq",
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_in_a_query_is_told(
    engine: Engine, query: str, expected: tuple[str, str]
) -> None:
    assert engine.error(query) == ("validation-failed", *expected)


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        (FIND, {}, ('expecting a value for non-nullable variable: "id"', "$")),
        ("{ images_by_pk(id: $id) { id } }", {}, ('unbound variable "id"', "$")),
        (
            FIND,
            {"id": new_id(), "other": 1},
            ("unexpected variables in variableValues: other", "$"),
        ),
        (
            "query($idle: Int) { images { id } }",
            {"idle": 1},
            ("unexpected variables in variableValues: idle", "$"),
        ),
        (FIND, {"id": None}, ("unexpected null value for type 'uuid'", f"{BY_KEY}.args.id")),
        (
            "query($id: String!) { images_by_pk(id: $id) { id } }",
            {"id": "x"},
            (
                "variable 'id' is declared as 'String!', but used where 'uuid!' is expected",
                f"{BY_KEY}.args.id",
            ),
        ),
        (
            "query($id: uuid) { images(where: {id: {_eq: $id}}) { id } }",
            {"id": None},
            ("unexpected null value for type 'uuid'", f"{IMAGES}.args.where.id._eq"),
        ),
        (
            RECORD,
            {"id": new_id(), "changes": {"model": 5}},
            ("expected a string for type 'String', but found a number", f"{SET}.model"),
        ),
        (
            RECORD,
            {"id": new_id(), "changes": [1]},
            (
                "expected an object for type 'images_set_input', but found a list",
                SET,
            ),
        ),
    ],
    ids=[
        "no value",
        "not declared",
        "unknown",
        "not used",
        "null",
        "other type",
        "null in where",
        "other scalar",
        "list for object",
    ],
)
def test_what_is_wrong_with_a_variable_is_told(
    engine: Engine, query: str, variables: Any, expected: tuple[str, str]
) -> None:
    assert engine.error(query, **variables) == ("validation-failed", *expected)


def test_a_number_that_is_too_large_fails_to_parse(engine: Engine) -> None:
    changes = {"width": 99_999_999_999}
    told = ("parse-failed", TOO_LARGE, f"{SET}.width")
    assert engine.error(RECORD, id=new_id(), changes=changes) == told


def test_what_is_declared_and_not_used_is_no_mistake(engine: Engine) -> None:
    engine.data("query($idle: Int) { __typename } fragment idle on images { id }")
