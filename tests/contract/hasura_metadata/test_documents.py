"""Every document in graphql/ asks only for what the role that runs it may use."""

import importlib.util
import sysconfig
from pathlib import Path

import pytest
from graphql import (
    DocumentNode,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)

from tests.contract.hasura_metadata.project import ROOT, read_project
from webhook.hasura.client import ROLE
from webhook.settings import DOCUMENTS

METADATA = read_project(ROOT).metadata.exported()
IMAGES = METADATA["sources"][0]["tables"][0]

# Which role runs which document; find_image runs as whoever called the action, or as ours.
RUN_AS = {
    "find_cutout": "user",
    "find_image": "user",
    "find_row": ROLE,
    "insert_image": "user",
    "list_images": ROLE,
    "record_failure": ROLE,
    "record_removal": ROLE,
    "remove_background": "user",
    "watch_images": "user",
}
GRAPHQL_NAMES = {"text": "String", "int4": "Int", "float4": "Float"}


def document(name: str) -> DocumentNode:
    return parse((DOCUMENTS / f"{name}.graphql").read_text())


def schema_of(role: str, column_types: dict[str, str]) -> GraphQLSchema:
    """What Hasura shows of our metadata to a role, as far as our documents use it."""
    types = {name: GRAPHQL_NAMES.get(udt, udt) for name, udt in column_types.items()}

    def fields(kind: str, form: str = "{name}: {type}") -> str:
        """The columns that the role may use in one way; none if it has no such permission."""
        for item in IMAGES.get(f"{kind}_permissions", ()):
            if item["role"] == role:
                names = item["permission"]["columns"]
                return " ".join(form.format(name=name, type=types[name]) for name in names)
        return ""

    parts = [
        "enum order_by { asc desc }",
        *(f"scalar {name}" for name in set(types.values()) - set(GRAPHQL_NAMES.values())),
        *(
            f"input {name}_comparison_exp {{ _eq: {name} _gt: {name} _lt: {name} _in: [{name}!] }}"
            for name in set(types.values())
        ),
        f"type images {{ {fields('select')} }}",
        f"input images_bool_exp {{ {fields('select', '{name}: {type}_comparison_exp')} }}",
        f"input images_order_by {{ {fields('select', '{name}: order_by')} }}",
        *(
            f"""
            type {root} {{
              images_by_pk(id: uuid!): images
              images(where: images_bool_exp, order_by: [images_order_by!], limit: Int): [images!]!
            }}
            """
            for root in ("Query", "Subscription")
        ),
        "type Mutation { nothing: Boolean }",
    ]
    if columns := fields("insert"):
        parts += [
            f"input images_insert_input {{ {columns} }}",
            "extend type Mutation { insert_images_one(object: images_insert_input!): images }",
        ]
    if columns := fields("update"):
        parts += [
            f"input images_set_input {{ {columns} }}",
            "input images_pk_columns_input { id: uuid! }",
            """
            extend type Mutation {
              update_images_by_pk(
                pk_columns: images_pk_columns_input!, _set: images_set_input
              ): images
              update_images(where: images_bool_exp!, _set: images_set_input): written
            }
            type written { returning: [images!]! }
            """,
        ]
    if {"role": role} in METADATA["actions"][0]["permissions"]:
        actions = (ROOT / "hasura_metadata/actions.graphql").read_text()
        parts.append(actions.replace("type Mutation", "extend type Mutation"))
        parts += [
            f"extend type {item['name']} {{ {relationship['name']}: images }}"
            for item in METADATA["custom_types"]["objects"]
            for relationship in item["relationships"]
        ]
    return build_schema("\n".join(parts))


def test_every_document_has_a_role_that_runs_it() -> None:
    files = {file.name for file in DOCUMENTS.iterdir()}

    assert files == {f"{name}.graphql" for name in RUN_AS}


@pytest.mark.parametrize("name", RUN_AS)
def test_a_document_is_one_operation_named_after_its_file(name: str) -> None:
    (operation,) = document(name).definitions

    assert isinstance(operation, OperationDefinitionNode)
    assert operation.name is not None
    assert operation.name.value == name.title().replace("_", "")


@pytest.mark.parametrize(("name", "role"), [*RUN_AS.items(), ("find_image", ROLE)])
def test_a_document_uses_only_what_its_role_may(
    name: str, role: str, column_types: dict[str, str]
) -> None:
    assert validate(schema_of(role, column_types), document(name)) == []


@pytest.mark.parametrize(
    ("name", "role"),
    [("record_removal", "user"), ("insert_image", ROLE), ("remove_background", ROLE)],
)
def test_a_document_is_refused_to_a_role_that_may_not(
    name: str, role: str, column_types: dict[str, str]
) -> None:
    assert validate(schema_of(role, column_types), document(name)) != []


def test_the_folder_of_documents_does_not_hide_the_graphql_package() -> None:
    spec = importlib.util.find_spec("graphql")

    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(sysconfig.get_path("purelib"))
