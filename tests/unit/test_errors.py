import webhook.errors
from webhook.errors import RemovalError, RequestRejected, ServiceFault, TemporarilyUnavailable


def error_classes() -> list[type[RemovalError]]:
    named = vars(webhook.errors).values()
    classes = [item for item in named if isinstance(item, type) and issubclass(item, RemovalError)]
    return [item for item in classes if hasattr(item, "code")]


def test_every_code_is_of_one_error_only() -> None:
    codes = [item.code for item in error_classes()]
    assert sorted(codes) == sorted(set(codes))


def test_the_kind_of_an_error_agrees_with_its_status_and_transience() -> None:
    for item in error_classes():
        assert item.transient == issubclass(item, TemporarilyUnavailable)
        if issubclass(item, RequestRejected):
            assert 400 <= item.http_status < 500
        elif issubclass(item, ServiceFault):
            assert item.http_status == 500
        else:
            assert item.http_status in (429, 503, 504)


def test_the_tree_at_the_top_names_every_error_with_its_status() -> None:
    tree = webhook.errors.__doc__ or ""
    for item in error_classes():
        assert item.__name__ in tree
        if item.__name__ not in ("ServiceFault", "ConfigurationError", "WeightsInvalid"):
            assert f"{item.__name__} {item.http_status}" in tree or (
                item.__name__ == "TemporarilyUnavailable"
            )
