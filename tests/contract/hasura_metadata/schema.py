"""The closed key sets of config.yaml and of Hasura's metadata files, format version 3.

Each file's own shape only; what must agree between files is in validator.py. Keys that Hasura
knows and this project does not use are left out on purpose: add them here with their first use.
"""

from tests.contract.hasura_metadata.shapes import (
    Shape,
    boolean,
    either,
    integer,
    list_of,
    map_of,
    mapping,
    matching,
    one_of,
    record,
    text,
)

_env_name = matching(r"[A-Za-z_]\w*", "must be the name of an environment variable")
_header_env_name = matching(
    r"(?!(?i:HASURA_GRAPHQL_))[A-Za-z_]\w*",
    "must be the name of an environment variable, and none of HASURA_GRAPHQL_*",
)
_url = matching(
    r"(https?://|(?=\{\{))([^{}\s]|\{\{[A-Za-z_]\w*\}\})+",
    "must be a URL that begins with http://, https:// or {{ENV}}",
)
_trigger_name = matching(
    r"(?=.{1,42}$)[A-Za-z]+[A-Za-z0-9_-]*",
    "must be at most 42 letters, digits, _ and -, the first a letter",
)
_graphql_name = matching(r"[_A-Za-z]\w*", "must be a GraphQL name")

_columns = either(one_of("*"), list_of(text), "must be '*' or a list of column names")
_trigger_columns = either(
    one_of("*"), list_of(text, empty=False), "must be '*' or a list of at least one column name"
)
_table = record({"schema": text, "name": text})

_headers = list_of(
    record(
        {"name": matching(r"[A-Za-z0-9-]+", "must be the name of a header")},
        {"value": text, "value_from_env": _header_env_name},
        exactly_one=("value", "value_from_env"),
    )
)

# config.yaml. The admin secret is no known key: it belongs in the environment, not in a repository.
CONFIG = record(
    {"version": one_of(3)},
    {
        "endpoint": text,
        "metadata_directory": text,
        "migrations_directory": text,
        "seeds_directory": text,
        "insecure_skip_tls_verify": boolean,
        "certificate_authority": text,
        "actions": record(
            {}, {"kind": one_of("synchronous", "asynchronous"), "handler_webhook_baseurl": text}
        ),
    },
)

VERSION = record({"version": one_of(3)})


def _permissions(required: dict[str, Shape], optional: dict[str, Shape]) -> Shape:
    permission = record(required, optional)
    return list_of(
        record({"role": text, "permission": permission}, {"comment": text}), unique="role"
    )


_root_field = one_of("select", "select_by_pk", "select_aggregate")
_stream_root_field = one_of("select", "select_by_pk", "select_aggregate", "select_stream")

_trigger_operation = record({"columns": _trigger_columns}, {"payload": _trigger_columns})
_operations = dict.fromkeys(("insert", "update", "delete"), _trigger_operation)
_event_trigger = record(
    {
        "name": _trigger_name,
        "definition": record(
            {},
            {**_operations, "enable_manual": boolean},
            at_least_one=(*_operations, "enable_manual"),
        ),
        "retry_conf": record(
            {"num_retries": integer(0), "interval_sec": integer(0)}, {"timeout_sec": integer(1)}
        ),
    },
    {"webhook": _url, "webhook_from_env": _env_name, "headers": _headers},
    exactly_one=("webhook", "webhook_from_env"),
)

_table_entry = record(
    {"table": _table},
    {
        "select_permissions": _permissions(
            {"columns": _columns, "filter": mapping},
            {
                "limit": integer(0),
                "allow_aggregations": boolean,
                "query_root_fields": list_of(_root_field),
                "subscription_root_fields": list_of(_stream_root_field),
            },
        ),
        "insert_permissions": _permissions(
            {"check": mapping}, {"columns": _columns, "set": mapping, "backend_only": boolean}
        ),
        "update_permissions": _permissions(
            {"columns": _columns, "filter": mapping},
            {"check": mapping, "set": mapping, "backend_only": boolean},
        ),
        "delete_permissions": _permissions({"filter": mapping}, {"backend_only": boolean}),
        "event_triggers": list_of(_event_trigger),
    },
)

DATABASES = list_of(
    record(
        {
            "name": text,
            "kind": one_of("postgres"),
            "configuration": record(
                {
                    "connection_info": record(
                        # From the environment only: the URL holds a password.
                        {"database_url": record({"from_env": _env_name})},
                        {
                            "isolation_level": one_of(
                                "read-committed", "repeatable-read", "serializable"
                            ),
                            "use_prepared_statements": boolean,
                            "pool_settings": record(
                                {},
                                {
                                    "max_connections": integer(1),
                                    "idle_timeout": integer(0),
                                    "retries": integer(0),
                                    "connection_lifetime": integer(0),
                                },
                            ),
                        },
                    )
                }
            ),
            "tables": list_of(_table_entry, unique="table"),
        }
    ),
    unique="name",
)

_relationship = record(
    {
        "name": _graphql_name,
        "type": one_of("object", "array"),
        "source": text,
        "remote_table": _table,
        "field_mapping": map_of(text, empty=False),
    }
)
_named = list_of(record({"name": _graphql_name}), unique="name")

ACTIONS = record(
    {
        "actions": list_of(
            record(
                {
                    "name": _graphql_name,
                    "definition": record(
                        {"kind": one_of("synchronous", "asynchronous"), "handler": _url},
                        {
                            "timeout": integer(1),
                            "headers": _headers,
                            "forward_client_headers": boolean,
                        },
                    ),
                },
                {
                    "permissions": list_of(record({"role": text}), unique="role"),
                    "comment": text,
                },
            ),
            unique="name",
        ),
        "custom_types": record(
            {},
            {
                "enums": _named,
                "input_objects": _named,
                "objects": list_of(
                    record(
                        {"name": _graphql_name},
                        {"relationships": list_of(_relationship, unique="name")},
                    ),
                    unique="name",
                ),
                "scalars": _named,
            },
        ),
    }
)
