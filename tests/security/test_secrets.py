"""No password and no token is shown or written, wherever an address or an error stands."""

import json
import warnings
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chart_samples
import lossgap
from lossgap import cli
from lossgap.charts import readers
from lossgap.commands.report import _register
from lossgap.core.observers import Training
from lossgap.errors import DataError, first_line
from lossgap.mlflow import MLflowTracker, view
from lossgap.redaction import address, shown, without_secrets
from lossgap.wandb import hosted
from small import linear, regression

WORD = "hunter2hunter2"
URIS = (
    f"http://ada:{WORD}@tracking.example/api",
    f"https://{WORD}@tracking.example",
    f"postgresql://ada:{WORD}@db.example:5432/mlflow",
    f"postgresql+psycopg2://ada:p@{WORD}@db.example/mlflow",
    f"mysql+pymysql://ada:p/{WORD}@db.example/mlflow",
    f"postgresql://db.example/mlflow?user=ada&password={WORD}",
    f"mssql+pyodbc://ada:{WORD}@db.example/x?driver=ODBC",
    f"s3://ada:{WORD}@bucket/runs",
    f"https://store.example/c?sv=1&sig={WORD}&x=2",
    f"https://bucket.example/x?X-Amz-Credential={WORD}&X-Amz-Signature={WORD}",
    f"http://tracking.example/?token={WORD}",
    f"http://tracking.example/?api_key={WORD}",
)


@pytest.mark.parametrize("uri", URIS)
def test_an_address_is_shown_without_what_is_secret_in_it(uri):
    for show in (address, without_secrets, shown):
        assert WORD not in show(uri)
        assert "example" in show(uri) or "bucket" in show(uri)
        assert WORD not in show(f"ConnectionError: '{uri}' is away (see {uri}), or isn't it?")


@pytest.mark.parametrize(
    "text",
    [
        "http://tracking.example:5000/api/2.0",
        "http://[::1]:5000/#/experiments/1",
        "http://host:5000/a@b",
        "sqlite:////home/ada@work/mlflow.db",
        "password authentication failed for user 'ada'",
        "W&B run x/y/z, epoch 3: loss 0.5",
    ],
)
def test_what_is_no_secret_stays(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {WORD}",
        f'{{"password": "{WORD}", "user": "ada"}}',
        f"{{'api_key': '{WORD}'}}",
        f"host=db password={WORD} user=ada",
        f"Basic {WORD}",
    ],
)
def test_secrets_in_headers_and_settings_are_hidden(text):
    assert WORD not in first_line(ValueError(text))


def test_secrets_of_the_environment_are_hidden_wherever_they_stand(monkeypatch):
    for name in ("WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN"):
        monkeypatch.setenv(name, f"{WORD}/{name}")
        assert WORD not in shown(f"refused: <{WORD}/{name}>")


@given(st.text(max_size=50), st.from_regex(r"[A-Za-z0-9!$%^&*+=._~-]{6,30}", fullmatch=True))
def test_no_password_gets_through_whatever_stands_around_it(around, password):
    assert f":{password}@" not in shown(f"{around} postgresql://ada:{password}@host/x {around}")


@given(st.text())
def test_any_text_is_shown_and_twice_is_once(text):
    assert shown(shown(text)) == shown(text)


# Each place that prints an address, or an error of a client that has one in it.


@pytest.fixture(autouse=True)
def _no_retries(monkeypatch):
    _register()
    for name, value in (("MAX_RETRIES", "0"), ("TIMEOUT", "5"), ("BACKOFF_FACTOR", "0")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)


DEAD = f"http://ada:{WORD}@127.0.0.1:1"


@pytest.mark.parametrize("place", [DEAD, f"{DEAD}?runs=1", f"what://ada:{WORD}@x"])
def test_the_errors_of_a_report_hide_it(place, monkeypatch, capsys):
    with pytest.raises(DataError) as caught:
        readers.read(place)
    assert WORD not in str(caught.value)
    monkeypatch.setattr("sys.argv", ["lossgap", "report", place])
    with pytest.raises(SystemExit):
        cli.main()
    assert WORD not in "".join(capsys.readouterr())


def test_warnings_lines_and_the_journal_of_a_training_hide_it(tmp_path, monkeypatch, capfd):
    """A server that is away: MLflow's errors hold its address, and the journal says where to."""
    monkeypatch.chdir(tmp_path)
    x, y = regression()
    tracker = MLflowTracker(tracking_uri=DEAD, panels=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        linear().fit(
            x, y, epochs=2, verbose=2, callbacks=[lossgap.TrueLoss(x, y, trackers=tracker)]
        )
    told = [str(w.message) for w in said if issubclass(w.category, lossgap.LossgapWarning)]
    assert any("mlflow" in text for text in told)
    assert WORD not in "".join(told)
    assert WORD not in "".join(capfd.readouterr())
    journals = [path for path in Path(tmp_path / "outbox").rglob("*") if path.is_file()]
    assert journals
    for path in journals:
        assert WORD.encode() not in path.read_bytes()


@pytest.mark.parametrize("uri", URIS)
def test_destination_tags_and_the_address_of_the_view_hide_it(uri, monkeypatch):
    from mlflow.tracking.context import registry

    monkeypatch.setattr(registry, "resolve_tags", lambda: {"mlflow.source.name": uri})
    tracker = MLflowTracker(tracking_uri=uri)
    tracker.start(Training({}))
    assert WORD not in json.dumps(tracker.destination())
    assert WORD not in view._address(uri, "1")


def test_artifacts_hide_it(tmp_path, monkeypatch):
    """Nothing in the page, the table and the records says where the run is."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", WORD)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(store)
    run = client.create_run(client.create_experiment("x", str(tmp_path / "artifacts")))
    tracker = MLflowTracker(run.info.run_id, tracking_uri=f"{store}?token={WORD}")
    tracker._tracking_uri = store
    tracker.start(Training({}))
    measurements = chart_samples.training(2)
    for measurement in measurements:
        tracker.log(measurement, 1e9)
    tracker.finish(lossgap.Summary(measurements), failed=False)
    files = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert len(files) > 4
    assert all(WORD.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize("text", ["no api key", "403 forbidden", "401", "404", "away"])
def test_what_is_said_of_a_wandb_server_hides_it(text, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", f"https://ada:{WORD}@wandb.example?token={WORD}")
    where = hosted.Project("me", "digits")
    with pytest.raises(lossgap.LossgapError) as caught, hosted.explained(where):
        raise RuntimeError(f"{text}: https://ada:{WORD}@wandb.example/graphql")
    assert WORD not in str(caught.value)
    assert "wandb.example" in str(caught.value) or "403" in text
