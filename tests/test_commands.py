"""The command line's promises: help, exit codes, streams, and that every command is documented by an example."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from conftest import REPOSITORY

from ferbench import __version__
from ferbench.commands import COMMANDS, cli, run
from ferbench.errors import TooManyFailuresError
from ferbench.models import MODELS

EXIT_CODES = {"FerbenchError": 1, "UsageError": 2, "TooManyFailuresError": 3, "DataError": 4}


def test_the_exit_codes_are_the_documented_ones():
    from ferbench import errors

    for name, code in EXIT_CODES.items():
        assert getattr(errors, name).exit_code == code
    children = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.DataError)
    ]
    assert {child.exit_code for child in children} == {4}


def test_help_lists_every_command_and_each_has_an_example():
    with click.Context(cli) as context:
        assert cli.list_commands(context) == list(COMMANDS)
        for name in COMMANDS:
            command = cli.get_command(context, name)
            assert command.name == name
            assert f"Example:\n    ferbench {name}" in command.get_help(click.Context(command)), name


def test_the_readme_shows_every_command():
    readme = (REPOSITORY / "README.md").read_text()
    assert [name for name in COMMANDS if f"\nferbench {name}" not in readme] == []


def test_version_and_help_go_to_stdout(ferbench):
    assert ferbench("--version").out == f"ferbench, version {__version__}\n"
    assert ferbench("align", "--help").out.startswith("Usage: ferbench align [OPTIONS] [SOURCE]")
    assert ferbench("-h").code == 0


@pytest.mark.parametrize("arguments", [["nothing"], ["align", "--nothing"], ["score"]])
def test_clicks_own_complaints_are_usage_errors(arguments, ferbench):
    ran = ferbench(*arguments)
    assert ran.code == 2
    assert "Usage: ferbench" in ran.err
    assert ran.out == ""


def test_an_interrupt_says_how_to_go_on(monkeypatch, ferbench):
    monkeypatch.setattr("ferbench.jobs.doctor.examine", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    ran = ferbench("doctor")
    assert ran.code == 130
    assert "run the same command again to continue" in ran.err


def test_an_expected_error_is_one_line_and_a_bug_keeps_its_traceback(monkeypatch, ferbench):
    def too_many():
        raise TooManyFailuresError("3 of 4 samples failed")

    monkeypatch.setattr("ferbench.jobs.doctor.examine", too_many)
    ran = ferbench("doctor")
    assert (ran.code, ran.out, ran.err) == (3, "", "error: 3 of 4 samples failed\n")
    monkeypatch.setattr("ferbench.jobs.doctor.examine", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(["doctor"])


@pytest.mark.parametrize("door", [["-m", "ferbench"], ["cli.py"]])
def test_the_other_doors_lead_to_the_same_command(door):
    done = subprocess.run([sys.executable, *door, "--version"], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"ferbench, version {__version__}\n")


def test_doctor_finds_this_machine_fit(ferbench):
    ran = ferbench("doctor", "--json")
    states = {check["name"]: check for check in ran.json}
    assert ran.code == 0
    assert states["decoder decord"]["detail"] == "reads pyfeat__single_face.mp4: 72 frames of 640x360"
    assert states["decoder opencv"]["detail"] == "reads pyfeat__single_face.mp4: 72 frames of 640x360"
    assert states["MTCNN weights"]["state"] == "ok"
    assert "missing" not in {check["state"] for check in ran.json}


def test_doctor_names_what_is_missing_and_the_line_that_installs_it(monkeypatch, ferbench):
    from ferbench.jobs import doctor

    known = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name in ("rich", "ray") else known(name))
    ran = ferbench("doctor", "--json")
    checks = {check["name"]: (check["state"], check["advice"]) for check in ran.json}
    assert ran.code == 1
    assert checks["rich"] == ("missing", "pip install 'rich'")
    assert checks["ray"] == ("optional", "pip install 'ferbench[ray]'")


def test_models_are_listed_described_and_exported(tmp_path, ferbench):
    assert [row["name"] for row in ferbench("models", "--json").json] == list(MODELS)
    shown = ferbench("models", "mini-xception", "--export", tmp_path / "ckpt.pt", "--json")
    assert shown.json["licence"].startswith("MIT")
    assert (tmp_path / "ckpt.pt").stat().st_size > 200_000
    assert ferbench("models", "--export", tmp_path / "x.pt").code == 2
    assert "did you mean 'mini-xception'" in ferbench("models", "minixception").err


def test_score_of_something_else_is_invalid_data(tmp_path, ferbench):
    (tmp_path / "p.parquet").write_text("no")
    for path, message in (
        (tmp_path / "p.parquet", "not a readable parquet file"),
        (tmp_path / "q.parquet", "No such file"),
    ):
        ran = ferbench("score", path)
        assert ran.code == 4
        assert message in ran.err


def test_a_workspace_is_used_from_below_and_its_paths_are_its_own(tmp_path, ferbench, monkeypatch):
    source = split_source(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert ferbench("init", "study", "--source", "faces/manifest.parquet").code == 0
    assert 'source = "../faces/manifest.parquet"' in (tmp_path / "study/ferbench.toml").read_text()
    (tmp_path / "study/deep").mkdir()
    monkeypatch.chdir(tmp_path / "study/deep")
    ran = ferbench("align", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["samples"] == 12
    assert f"note: settings of {tmp_path / 'study/ferbench.toml'}" in ran.err.replace("\n", "")
    assert source.exists()


def test_flags_win_over_o_over_the_workspace_over_the_card(tmp_path, ferbench, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def size(*arguments) -> int:
        return ferbench("align", *arguments, "--dry-run", "--json").json["recipe"]["crop"]["size"]

    assert ferbench("init").code == 0
    assert size() == 112
    toml = tmp_path / "ferbench.toml"
    toml.write_text(toml.read_text().replace("# size = 112 ", "size = 64 "))
    assert size() == 64
    assert size("-o", "size=48") == 48
    assert size("-o", "size=48", "--size", "32") == 32


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("sorce = 'x'", "unknown key 'sorce'; known: source, dataset, [align], [make-splits], [train], [evaluate]"),
        ("[aling]\nsize = 3", "unknown key 'aling'"),
        ("source = 3", "source must be a path or a list of paths, got 3"),
        ("source = 'x'\n[align]\nsise = 3", "[align]: unknown setting 'sise'"),
        ("dataset = 'dfew9'", "no dataset card 'dfew9'"),
        ("source = [", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_workspace_file_is_named(toml, message, tmp_path, ferbench, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ferbench.toml").write_text(toml)
    ran = ferbench("align", "-o", "x")
    assert ran.code in (2, 4)
    assert message in ran.err


def test_a_workspace_of_this_folder_does_not_align_its_own_outputs(tmp_path, ferbench, monkeypatch):
    import shutil

    from conftest import FACES

    shutil.copy(FACES / "pyfeat__single_face.jpg", tmp_path / "one.jpg")
    monkeypatch.chdir(tmp_path)
    assert ferbench("init").code == 0
    assert ferbench("align").code == 0
    (tmp_path / "runs").mkdir()
    shutil.copy(FACES / "pyfeat__single_face.jpg", tmp_path / "runs/confusion.png")
    for output in ([], ["-o", "faces2"]):
        assert ferbench("align", "--dry-run", "--json", *output).json["samples"] == 1


def test_a_workspaces_model_is_found_from_below_it(tmp_path, ferbench, monkeypatch):
    split_source(tmp_path)
    assert ferbench("models", "constant", "--export", tmp_path / "ckpt.pt").code == 0
    (tmp_path / "ferbench.toml").write_text('[align]\noutput = "faces"\n[evaluate]\nmodel = "ckpt.pt"\n')
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    ran = ferbench("evaluate")
    assert "11 of 12 samples failed" in ran.err  # its frames do not exist; the model was found all the same
    assert (tmp_path / "runs/ckpt/predictions.parquet").exists()


def split_source(folder: Path) -> Path:
    from ferbench.labels import LabelSet
    from ferbench.manifest import manifest_of, write_manifest

    names = [f"c{number}" for number in range(12)]
    manifest = manifest_of(
        {"sample_id": names, "path": names, "media": ["frames"] * 12, "label": [0, 1] * 6, "num_frames": [16] * 12,
         "subject": [f"p{number // 2}" for number in range(12)], "status": ["ok"] * 11 + ["failed"]},
        labels=LabelSet.of(["happy", "sad"]), name="toy", root=folder / "faces",
    )  # fmt: skip
    write_manifest(manifest, folder / "faces/manifest.parquet")
    return folder / "faces/manifest.parquet"


def test_make_splits_writes_the_parquet_and_the_published_dialect(tmp_path, ferbench):
    source = split_source(tmp_path)
    ran = ferbench("make-splits", source, "--folds", "3", "--dialect", "former", "-o", tmp_path / "splits", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["protocol"]["group"] == "subject"
    assert [fold["test"] for fold in ran.json["folds"]] == [4, 4, 4]
    texts = sorted(path.name for path in (tmp_path / "splits/former").iterdir())
    assert texts == [f"set_{fold}_{part}.txt" for fold in (1, 2, 3) for part in ("test", "train")]
    lines = [
        line
        for fold in (1, 2, 3)
        for line in (tmp_path / f"splits/former/set_{fold}_test.txt").read_text().splitlines()
    ]
    # One sample failed and has no frames: it is in no list file, and in the manifest all the same.
    assert sorted(lines) == sorted(f"{tmp_path}/faces/c{number} 16 {number % 2}" for number in range(11))
    from ferbench.manifest import read_manifest

    split = read_manifest(tmp_path / "splits/manifest.parquet")
    assert split.column("fold").count(None) == 0
    assert split.root == tmp_path / "faces"


def test_the_former_dialect_refuses_a_space_in_a_path_and_names_the_sample(tmp_path, ferbench):
    source = split_source(tmp_path / "my data")
    ran = ferbench("make-splits", source, "--folds", "3", "--dialect", "former", "-o", tmp_path / "splits")
    assert ran.code == 4
    assert "the former dialect cannot hold white space in a path" in ran.err
    assert "sample 'c" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--folds", "7"], 4, "7 folds need at least 7 groups, found 6"),
        (["--group", "none"], 4, "say --allow-leak"),
        (["--kind", "5fold"], 2, "unknown kind of split '5fold'"),
        (["--dialect", "latex"], 2, "unknown dialect 'latex'; known: former"),
        (["-o", "fold=3"], 2, "unknown setting 'fold'; known: kind, folds"),
    ],
)
def test_impossible_splits_are_refused(arguments, code, message, tmp_path, ferbench):
    ran = ferbench("make-splits", split_source(tmp_path), *arguments)
    assert ran.code == code
    assert message in ran.err


def test_make_splits_puts_its_folder_beside_the_manifest_when_nothing_says_otherwise(tmp_path, ferbench):
    assert ferbench("make-splits", split_source(tmp_path), "--folds", "2").code == 0
    assert (tmp_path / "faces/splits/manifest.parquet").exists()


def test_an_older_splits_list_files_do_not_stay_beside_the_new_ones(tmp_path, ferbench):
    source, out = split_source(tmp_path), tmp_path / "splits"
    assert ferbench("make-splits", source, "--folds", "3", "--dialect", "former", "-o", out).code == 0
    (out / "former/notes.txt").write_text("mine")
    assert ferbench("make-splits", source, "--folds", "2", "--dialect", "former", "-o", out).code == 0
    assert sorted(path.name for path in (out / "former").iterdir()) == [
        "notes.txt", "set_1_test.txt", "set_1_train.txt", "set_2_test.txt", "set_2_train.txt",
    ]  # fmt: skip


def test_a_dialect_that_refuses_leaves_the_old_split_whole(tmp_path, ferbench):
    source, out = split_source(tmp_path / "my data"), tmp_path / "splits"
    assert ferbench("make-splits", source, "--folds", "2", "-o", out).code == 0
    before = (out / "manifest.parquet").read_bytes()
    assert ferbench("make-splits", source, "--folds", "3", "--dialect", "former", "-o", out).code == 4
    assert (out / "manifest.parquet").read_bytes() == before


def test_splits_never_replace_the_manifest_they_are_made_of(tmp_path, ferbench):
    source = split_source(tmp_path)
    ran = ferbench("make-splits", source, "--folds", "2", "-o", source.parent)
    assert (ran.code, "would replace the manifest they are made of" in ran.err) == (2, True)
