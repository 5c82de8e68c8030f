"""Run folders as a source of ``lossgap report``, and the limits of reading them."""

import shutil
import struct
import zlib

import pytest
import wandb
from typer.testing import CliRunner

import chart_samples
from lossgap import wandb as lossgap_wandb
from lossgap.commands import app
from lossgap.errors import DataError
from lossgap.wandb import datastore, read_runs, reader
from wandb_runs import folder, train, wait_for_end

WHOLE = chart_samples.training(30)


@pytest.fixture
def place(offline):
    """Return the folder of a run with 30 measurements."""
    run = wandb.init(project="project", name="a run")
    train(WHOLE)
    run.finish()
    wait_for_end(folder(run))
    return folder(run)


def test_a_report_is_written_from_a_run_folder_a_file_and_a_folder_of_runs(place, tmp_path):
    (file,) = place.glob("*.wandb")
    for source in (place, file, place.parent):
        page = tmp_path / "page.html"
        result = CliRunner().invoke(
            app, ["report", str(source), "-o", str(page)], catch_exceptions=False
        )
        assert result.exit_code == 0
        assert '"name":"a run"' in page.read_text(encoding="utf-8")
        page.unlink()


def test_only_places_of_runs_are_accepted(place, tmp_path):
    (tmp_path / "empty").mkdir()
    (file,) = place.glob("*.wandb")
    accepted = [place, place.parent, file, "missing.wandb"]
    assert [reader.accepts(str(path)) for path in accepted] == [True] * 4
    for other in (tmp_path / "empty", tmp_path / "none", "runs.jsonl", "https://wandb.ai/a/b"):
        assert not reader.accepts(str(other))


def test_a_folder_of_runs_counts_no_run_twice(place):
    (run,) = read_runs(str(place.parent))  # which has W&B's link latest-run, too
    assert len(run.measurements) == len(WHOLE)


def measured(path):
    """Return the measurements in a file, none where the reader says that there is none."""
    try:
        (run,) = read_runs(str(path))
    except DataError:
        return []
    return list(run.measurements)


def test_a_file_cut_anywhere_gives_what_is_whole(place, tmp_path):
    (file,) = place.glob("*.wandb")
    content, whole = file.read_bytes(), measured(file)
    cut = tmp_path / "run-cut.wandb"
    found = []
    for size in range(7, len(content), 997):
        cut.write_bytes(content[:size])
        found.append(len(measured(cut)))
        assert measured(cut) == whole[: found[-1]]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] > 20


@pytest.mark.parametrize("position", [8, 12, 13, 5000])
def test_a_damaged_file_gives_nothing_from_behind_the_damage(place, position):
    (file,) = place.glob("*.wandb")
    content, whole = bytearray(file.read_bytes()), measured(file)
    content[position] ^= 0xFF
    file.write_bytes(content)
    found = measured(file)
    assert len(found) < len(whole)
    assert found == whole[: len(found)]


def test_another_file_is_refused(tmp_path):
    file = tmp_path / "run-x.wandb"
    file.write_bytes(b"something else")
    with pytest.raises(DataError, match="not a file of W&B's"):
        read_runs(str(file))


def test_a_file_that_is_too_large_is_refused(place, monkeypatch):
    monkeypatch.setattr(datastore, "LARGEST_FILE", 100)
    with pytest.raises(DataError, match="larger than"):
        read_runs(str(place))


def test_a_record_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datastore, "LARGEST_RECORD", 100_000)
    file = tmp_path / "run-x.wandb"
    with file.open("wb") as out:
        out.write(b":W&B\x00\x00\x00")
        for kind in [2, 3, 3, 3, 4]:
            size = 32_768 - 7 - (7 if kind == 2 else 0)
            data = bytes(size)
            out.write(struct.pack("<IHB", zlib.crc32(bytes([kind]) + data), size, kind) + data)
    with pytest.raises(DataError, match="a record is larger"):
        read_runs(str(file))


def test_too_many_measurements_and_runs_are_refused(place, monkeypatch):
    monkeypatch.setattr(reader, "MOST_VALUES", 100)
    with pytest.raises(DataError, match="more than 100 numbers"):
        read_runs(str(place))
    monkeypatch.setattr(reader, "MOST_RUNS", 1)
    shutil.copytree(place, place.with_name("offline-run-copy"))
    with pytest.raises(DataError, match="more than 1 runs"):
        read_runs(str(place.parent))


def test_a_run_without_measurements_says_so(offline):
    run = wandb.init(project="project")
    run.log({"loss": 1.0})
    run.finish()
    wait_for_end(folder(run))
    with pytest.raises(DataError, match="no measurement of lossgap's in 1 W&B run"):
        read_runs(str(folder(run)))


def test_an_empty_place_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match="no W&B run in it"):
        read_runs(str(tmp_path))


def test_a_row_that_someone_else_wrote_under_our_names_is_refused(offline):
    run = wandb.init(project="project")
    run.log({"lossgap/true_loss": "low"})
    run.finish()
    wait_for_end(folder(run))
    with pytest.raises(DataError, match="something else than numbers"):
        read_runs(str(folder(run)))


def test_the_reader_is_in_its_module():
    assert reader.READER.read is lossgap_wandb.read_runs
