from pathlib import Path

import pytest

from webhook.errors import ConfigurationError
from webhook.hasura.binding import USUAL_BINDING, Binding, binding_of
from webhook.settings import Settings, load_job_settings, load_row_settings, load_settings

GOOD = {
    "WEBHOOK_SECRET": "a-secret-of-24-characters",
    "HASURA_GRAPHQL_ENDPOINT": "http://hasura:8080",
    "HASURA_GRAPHQL_ADMIN_SECRET": "admin-secret",
    "S3_BUCKET": "images",
    "MODELS": "embedded",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_defaults_are_those_of_the_contract(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert (settings.source_prefix, settings.target_prefix) == ("ogs/", "img/")
    assert (settings.max_source_bytes, settings.max_pixels) == (64 * 2**20, 50_000_000)
    assert [secret.get_secret_value() for secret in settings.webhook_secrets] == [
        GOOD["WEBHOOK_SECRET"]
    ]


def test_the_table_is_the_usual_one_unless_it_is_said_otherwise(
    environment: pytest.MonkeyPatch,
) -> None:
    assert binding_of(load_settings()) == USUAL_BINDING
    environment.setenv("TABLE", "shop.photos")
    environment.setenv("ID_COLUMN", "photo_id")
    environment.setenv("ACTION_NAME", "cutOut")
    assert binding_of(load_settings()) == Binding("shop", "photos", "photo_id", "cutOut")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TABLE", "photos"),
        ("TABLE", "shop."),
        ("TABLE", "db.shop.photos"),
        ("TABLE", "shop." + "x" * 64),
        ("ID_COLUMN", "photos.id"),
        ("ACTION_NAME", "remove-background"),
        ("ACTION_NAME", "1st"),
        ("SOURCE_KEY_COLUMN", "a.b"),
    ],
)
def test_a_name_that_can_not_be_one_is_refused(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"  {name}: ") as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 2


def test_all_mistakes_are_reported_together(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WEBHOOK_SECRET", "short-and-secret")
    environment.setenv("WEBHOOK_SECRET_PREVIOUS", "tooshort")
    environment.delenv("S3_BUCKET")
    environment.setenv("MODELS", " , ")
    environment.setenv("PORT", "many")
    environment.setenv("SOURCE_PREFIX", "/ogs")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "S3_BUCKET",
        "SOURCE_PREFIX",
        "MODELS",
        "WEBHOOK_SECRET_PREVIOUS",
        "PORT",
    ]
    assert lines[1].strip() == "S3_BUCKET: is not set"


def test_a_budget_below_the_largest_image_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MAX_PIXELS", "500000000")
    with pytest.raises(ConfigurationError, match="MAX_PIXELS_IN_FLIGHT: must not be less"):
        load_settings()
    environment.setenv("MAX_PIXELS_IN_FLIGHT", "500000000")
    assert load_settings().max_pixels_in_flight == 500_000_000


def test_no_mistake_shows_a_secret(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WEBHOOK_SECRET", "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_never_show_their_secrets(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert GOOD["WEBHOOK_SECRET"] not in text
        assert GOOD["HASURA_GRAPHQL_ADMIN_SECRET"] not in text


def test_two_secrets_are_valid_during_a_rotation(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WEBHOOK_SECRET_PREVIOUS", "the-one-before-this-one")
    assert len(load_settings().webhook_secrets) == 2


def test_models_are_listed_with_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MODELS", " embedded , ZhengPeng7/BiRefNet,")
    assert load_settings().models == ("embedded", "ZhengPeng7/BiRefNet")
    environment.delenv("MODELS")
    assert load_settings().models == ("briaai/RMBG-2.0",)


@pytest.mark.parametrize(
    ("source", "target"), [("img/", "img/"), ("img/ogs/", "img/"), ("ogs/", "ogs/img/")]
)
def test_cutouts_and_sources_may_not_lie_in_one_another(
    environment: pytest.MonkeyPatch, source: str, target: str
) -> None:
    environment.setenv("SOURCE_PREFIX", source)
    environment.setenv("TARGET_PREFIX", target)
    with pytest.raises(ConfigurationError, match="TARGET_PREFIX: must not lie in SOURCE_PREFIX"):
        load_settings()


def test_cutouts_and_sources_may_lie_side_by_side(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SOURCE_PREFIX", "images/ogs/")
    environment.setenv("TARGET_PREFIX", "images/ogs-cut-out/")
    assert load_settings().target_prefix == "images/ogs-cut-out/"


@pytest.mark.parametrize(
    "end", ["", "/", "//", "/v1/graphql", "/v1/graphql/", "//v1/graphql"], ids=str
)
@pytest.mark.parametrize("base", ["http://hasura:8080", "https://example.com/apis/hasura"])
def test_the_endpoint_may_be_written_with_or_without_its_path(
    environment: pytest.MonkeyPatch, base: str, end: str
) -> None:
    environment.setenv("HASURA_GRAPHQL_ENDPOINT", base + end)
    settings = load_settings()
    assert settings.hasura_url == base
    assert settings.graphql_url == f"{base}/v1/graphql"


@pytest.mark.parametrize(
    ("variables", "traces_url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/otlp/"}, "http://c:4318/otlp/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/t"}, "http://c:4318/t"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/t",
            },
            "http://d/t",
        ),
    ],
    ids=str,
)
def test_traces_go_where_the_standard_variables_say(
    environment: pytest.MonkeyPatch, variables: dict[str, str], traces_url: str | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert load_settings().traces_url == traces_url


@pytest.mark.parametrize("where", ["", "TRACES_"])
def test_traces_are_sent_by_the_one_protocol_that_is_spoken(
    environment: pytest.MonkeyPatch, where: str
) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert load_settings().traces_url is None  # meant for others on this machine
    environment.setenv(f"OTEL_EXPORTER_OTLP_{where}ENDPOINT", "http://c:4317")
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_PROTOCOL: must be http/prot"):
        load_settings()
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    assert load_settings().traces_url


@pytest.mark.parametrize("login", ["user:hunter2@", "hunter2@", ":hunter2@"])
@pytest.mark.parametrize("name", ["HASURA_GRAPHQL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_an_address_with_credentials_is_refused_and_not_shown(
    environment: pytest.MonkeyPatch, name: str, login: str
) -> None:
    environment.setenv(name, f"http://{login}host:8080")
    with pytest.raises(ConfigurationError, match="must not hold credentials") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["WEBHOOK_SECRET", "WEBHOOK_SECRET_PREVIOUS", "HASURA_GRAPHQL_ADMIN_SECRET"]
)
@pytest.mark.parametrize("flaw", [" {}", "{}\n", "{}é"])
def test_a_secret_that_no_header_can_carry_is_refused(
    environment: pytest.MonkeyPatch, name: str, flaw: str
) -> None:
    environment.setenv(name, flaw.format("a-secret-of-24-characters"))
    with pytest.raises(ConfigurationError, match=f"{name}: must be printable ASCII"):
        load_settings()


def test_a_model_of_ones_own_needs_its_folder_and_its_patch_order(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("MODELS", "local")
    with pytest.raises(ConfigurationError, match="LOCAL_MODEL: is not set"):
        load_settings()
    environment.setenv("LOCAL_MODEL", str(tmp_path))
    with pytest.raises(ConfigurationError, match="LOCAL_MODEL: holds no"):
        load_settings()
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ConfigurationError, match="LOCAL_MODEL_PATCH_ORDER: is not set"):
        load_settings()
    environment.setenv("LOCAL_MODEL_PATCH_ORDER", "rows")
    assert load_settings().local_model == tmp_path


def test_an_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WEBHOOK_SECRET_PREVIOUS", "")
    assert load_settings().webhook_secret_previous is None
    environment.setenv("HASURA_GRAPHQL_ADMIN_SECRET", "")
    with pytest.raises(ConfigurationError, match="HASURA_GRAPHQL_ADMIN_SECRET: is not set"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELS", "embedded,no/such-model"),
        ("S3_BUCKET", "My Bucket"),
        ("MAX_EVENT_AGE_S", "inf"),
        ("MAX_EVENT_AGE_S", "nan"),
        ("MAX_EVENT_AGE_S", "1e15"),
        ("UPLOAD_TIMEOUT_S", "inf"),
        ("UPLOAD_TIMEOUT_S", "1e15"),
        ("JOB_TIMEOUT_S", "nan"),
        ("JOB_TIMEOUT_S", "inf"),
        ("HASURA_GRAPHQL_ENDPOINT", "http://hasura:8080?tenant=1"),
        ("HASURA_GRAPHQL_ENDPOINT", "http://hasura:8080/#console"),
        ("SOURCE_PREFIX", "o\ngs/"),
        ("SOURCE_PREFIX", "ogs\\x/"),
        ("SOURCE_PREFIX", "a//ogs/"),
        ("TARGET_PREFIX", "../img/"),
        ("TARGET_PREFIX", "i" * 512 + "/"),
        ("HOST", "no address"),
        ("HOST", "256.0.0.1"),
        ("HOST", "\u00a0"),
    ],
    ids=ascii,
)
def test_a_value_that_can_not_work_is_refused_at_start(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: "):
        load_settings()


def test_a_worker_needs_neither_a_secret_nor_hasura(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("WEBHOOK_SECRET")
    assert load_job_settings().graphql_url == "http://hasura:8080/v1/graphql"
    environment.delenv("HASURA_GRAPHQL_ENDPOINT")
    environment.delenv("HASURA_GRAPHQL_ADMIN_SECRET")
    assert load_job_settings().hasura_graphql_admin_secret is None


def test_the_work_on_rows_needs_hasura_but_no_door(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("WEBHOOK_SECRET")
    environment.setenv("PORT", "many")
    assert load_row_settings().graphql_url == "http://hasura:8080/v1/graphql"
    environment.delenv("HASURA_GRAPHQL_ENDPOINT")
    environment.delenv("HASURA_GRAPHQL_ADMIN_SECRET")
    with pytest.raises(ConfigurationError) as caught:
        load_row_settings()
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "HASURA_GRAPHQL_ENDPOINT: is not set",
        "HASURA_GRAPHQL_ADMIN_SECRET: is not set",
    ]


@pytest.mark.parametrize("missing", ["HASURA_GRAPHQL_ENDPOINT", "HASURA_GRAPHQL_ADMIN_SECRET"])
def test_half_a_hasura_is_refused(environment: pytest.MonkeyPatch, missing: str) -> None:
    environment.delenv(missing)
    with pytest.raises(ConfigurationError, match="set both, or neither"):
        load_job_settings()


def test_a_wrong_address_of_hasura_is_one_mistake(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HASURA_GRAPHQL_ENDPOINT", "hasura")
    with pytest.raises(ConfigurationError) as caught:
        load_job_settings()
    assert len(str(caught.value).splitlines()) == 2


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_renditions_are_read_and_every_mistake_is_told(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().renditions == ()
    environment.setenv("RENDITIONS", "web.webp?max=1600 mask.png?channel=alpha")
    assert [it.name for it in load_settings().renditions] == ["web.webp", "mask.png"]
    environment.setenv("RENDITIONS", "web.webp?maxx=1600 trans.png")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    (line,) = str(caught.value).splitlines()[1:]
    assert line.startswith('  RENDITIONS: at character 10: there is no "maxx"; known: max')
    assert line.endswith('; at character 20: "trans.png" is the name of the cut-out itself')
