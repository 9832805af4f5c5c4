"""The scripts that search and evaluate recipes: their figures against plain counting, and both
scripts on small data.
"""

from __future__ import annotations

import importlib
import io
import json
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts' modules can be imported."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


def run(script: str, *args: object, code: int = 0) -> str:
    """A script in this process, whose runs are processes of their own; what it printed."""
    main = importlib.import_module(Path(script).stem).main
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
        assert main([str(arg) for arg in args]) == code, out.getvalue()
    assert "Traceback" not in out.getvalue()
    return out.getvalue()


def certain(answers: list[int] | np.ndarray, classes: int = 3) -> np.ndarray:
    """Probabilities of a model that is certain of its answers."""
    return np.eye(classes)[answers]


def test_scores():
    from recipes.scores import ensemble, score, spread

    labels = np.array([0, 1, 2, 2])
    models = [certain([0, 1, 2, 0]), certain([0, 0, 2, 2]), certain([0, 1, 0, 2])]
    assert [score(p, labels).correct for p in models] == [3, 3, 3]
    assert score(ensemble(models), labels).correct == 4
    assert score(models[0], labels, np.array([False, False, True, True])).accuracy == 0.5
    # Wilson's interval of 3 of 4.
    assert str(score(models[0], labels)) == "3/4 = 0.750 (0.301–0.954)"
    assert spread([0.9, 1.0]) == "0.950 ± 0.071"
    assert spread([0.9]) == "0.900"


def test_paired_difference():
    """Two models that differ on 30 of 100 images, 25 in favour of the first: 20 points, interval by
    the normal approximation.
    """
    from recipes.scores import paired_difference

    labels = np.zeros(100, dtype=int)
    ours, theirs = np.zeros(100, dtype=int), np.zeros(100, dtype=int)
    theirs[:25], ours[25:30] = 1, 1
    mean, low, high = paired_difference([certain(ours)] * 2, [certain(theirs)] * 2, labels)
    assert mean == pytest.approx(0.2)
    half = 1.96 * np.sqrt((0.3 - 0.2**2) / 100)
    assert low == pytest.approx(0.2 - half, abs=0.012)
    assert high == pytest.approx(0.2 + half, abs=0.012)
    assert paired_difference([certain(ours)], [certain(ours)], labels) == (0, 0, 0)


def test_folds_are_stratified():
    from recipes.scores import folds

    labels = np.repeat([0, 1, 2], [31, 14, 5])
    parts = folds(labels, 5, seed=1)
    assert np.bincount(parts).tolist() == [10] * 5
    for label, count in enumerate([31, 14, 5]):
        sizes = np.bincount(parts[labels == label], minlength=5)
        assert sizes.max() - sizes.min() <= 1
        assert sizes.sum() == count
    assert (folds(labels, 5, 1) == parts).all()
    assert (folds(labels, 5, 2) != parts).any()


def test_near_copies():
    """An image with some noise, or a bit brighter, is a near copy; another drawing is not."""
    from recipes.near_copies import find_near_copies

    from signs_lightning import DrawnSigns

    drawn, _ = DrawnSigns(train_size=20, test_size=6).files(
        Path(__import__("os").environ["SIGNS_LIGHTNING_CACHE"])
    )
    with h5py.File(drawn) as file:
        images = file["train_set_x"][:]
    rng = np.random.default_rng(0)
    noisy = np.clip(
        images[:5].astype(int) + rng.integers(-12, 13, images[:5].shape), 0, 255
    ).astype(np.uint8)
    brighter = np.clip(images[5:8].astype(int) + 3, 0, 255).astype(np.uint8)
    found = find_near_copies(np.concatenate([noisy, brighter, images[8:]]), images[:8])
    assert found[:8].all()
    assert not found[8:].any()
    assert find_near_copies(images[:3], images[:0]).tolist() == [False] * 3


@pytest.mark.slow
def test_evaluate_on_a_test_file(tmp_path, small_signs, cli):
    """One configuration, two seeds: the table says what `test` says of each run, and a second call
    trains nothing anew.
    """
    from recipes import runs

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: {class_path: SignsFunctional, init_args: {lr: 0.01, test_time_augmentation: "
        "[hflip]}}\ndata: {batch_size: 10}\n"
    )
    args = [
        recipe, "--train_file", small_signs[0], "--test_file", small_signs[1], "--seeds", 2,
        "--jobs", 2, "--title", "Drawn", "--work", tmp_path / "work", "--output", tmp_path / "docs",
        "--", "--trainer.max_epochs=2",
    ]  # fmt: skip
    run("evaluate_recipe.py", *args)
    found = json.loads((tmp_path / "docs/recipes.json").read_text())["Drawn"]
    row = found["rows"][0]
    assert row["config"] == "recipe"
    assert row["count"] == 12
    for seed, correct in enumerate(row["correct"], 1):
        folder = tmp_path / f"work/lightning_logs/recipe-{seed}/version_0"
        assert yaml.safe_load((folder / "config.yaml").read_text())["seed_everything"] == seed
        # The test file was not looked at.
        assert "val_loss" not in runs.history(tmp_path / "work", f"recipe-{seed}")[-1]
        done = cli("test", "--ckpt_path", folder, "--data.test_file", small_signs[1])
        assert f"{correct}/12" in done.out
        one = "--model.test_time_augmentation=[]"
        done = cli("test", "--ckpt_path", folder, "--data.test_file", small_signs[1], one)
        assert f"{row['one_view'][seed - 1]}/12" in done.out
    page = (tmp_path / "docs/recipes.md").read_text()
    assert "## Drawn" in page
    assert str(tmp_path) not in page.replace(str(recipe), "")
    assert "recipe-1: " not in run("evaluate_recipe.py", *args)  # every run is there
    assert json.loads((tmp_path / "docs/recipes.json").read_text())["Drawn"] == found

    record, again = tmp_path / "docs/recipes.json", tmp_path / "again"
    named = ["--train_file", small_signs[0], "--test_file", small_signs[1], "--seed", 2]
    verify = ["--verify", record, *named, "--work", again]
    assert run("evaluate_recipe.py", *verify).endswith("as in the table\n")
    assert (again / "lightning_logs/recipe-2").is_dir()  # trained anew
    found["rows"][0]["correct"][1] += 1
    record.write_text(json.dumps({"Drawn": found}))
    assert "not as in the table" in run("evaluate_recipe.py", *verify, code=1)
    name, missing = small_signs[0].name, run("evaluate_recipe.py", "--verify", record, code=2)
    assert missing.endswith(f"{name} is no file. Name where it lies with --train_file.\n")
    recipe.write_text("model: {class_path: SignsFunctional}\n")
    assert "has changed since the table" in run("evaluate_recipe.py", *verify, code=2)


@pytest.mark.slow
def test_evaluate_by_folds(tmp_path, small_smiles):
    """Each image is predicted by the model of its fold, which the other folds' images trained;
    other titles stay.
    """
    recipe = tmp_path / "happy.yaml"
    recipe.write_text("model: {class_path: HappySequential}\n")
    (tmp_path / "recipes.json").write_text("{}")
    (tmp_path / "recipes.md").write_text(
        "# Mine\n\n<!-- figures: written by scripts/evaluate_recipe.py -->\n<!-- end of figures "
        "-->\nafter\n"
    )
    run(
        "evaluate_recipe.py", recipe, "--train_file", small_smiles[0], "--folds", 2, "--seeds", 1,
        "--title", "Folds", "--work", tmp_path / "work", "--output", tmp_path, "--",
        "--trainer.max_epochs=1",
    )  # fmt: skip
    found = json.loads((tmp_path / "recipes.json").read_text())["Folds"]
    assert found["rows"][0]["count"] == 40
    assert len(found["rows"][0]["seconds"]) == 2
    with h5py.File(small_smiles[0]) as file:
        images, labels = file["train_set_x"][:], file["train_set_y"][:].reshape(-1)
    from signs_lightning.checkpoints.load_model import load_model

    correct, seen = 0, []
    for fold in range(2):
        with h5py.File(tmp_path / f"work/without-1-{fold}.h5") as file:
            trained_on = {image.tobytes() for image in file["train_set_x"]}
        held_out = np.array([image.tobytes() not in trained_on for image in images])
        seen.append(held_out)
        model, _ = load_model(
            str(tmp_path / f"work/lightning_logs/happy-1-{fold}/version_0/checkpoints/last.ckpt"),
            "test",
        )
        correct += int((model.predict(images[held_out]).argmax(1) == labels[held_out]).sum())
    assert (seen[0] ^ seen[1]).all()
    assert found["rows"][0]["correct"] == [correct]
    page = (tmp_path / "recipes.md").read_text()
    assert page.startswith("# Mine\n")
    assert page.endswith("\nafter\n")


def test_pages_say_what_was_measured():
    """The tables of README and docs are those of the record, untouched."""
    from recipes import table

    known = json.loads((ROOT / "docs/recipes.json").read_text())
    sections = "\n\n".join(table.section(title, found) for title, found in known.items())
    for page, text in (
        (ROOT / "docs/recipes.md", sections),
        (ROOT / "README.md", table.summary(known)),
    ):
        assert f"{table.BEGIN}\n\n{text}\n\n{table.END}" in page.read_text()


def test_the_summary_is_plain_counting(tmp_path, monkeypatch):
    """README's line of a title, worked out by hand; a README beside any other folder stays as it
    is.
    """
    from recipes import table

    found = {"images": 4, "threads": 2, "command": "x"}
    found["rows"] = [
        {
            "config": "a",
            "correct": [1, 3],
            "count": 4,
            "seconds": [200.0, 160.0],
            "ensemble": None,
            "without_copies": [],
        }
    ]
    markers = f"before\n{table.BEGIN}\n{table.END}\nafter"
    (tmp_path / "README.md").write_text(markers)
    table.write(tmp_path / "docs", "Title", found)
    assert (tmp_path / "README.md").read_text() == markers
    monkeypatch.setattr(table, "ROOT", tmp_path)
    table.write(tmp_path / "docs", "Title", found)
    lines = (tmp_path / "README.md").read_text().splitlines()
    # mean 0.5; standard deviation of 0.25 and 0.75 is 0.25 * sqrt(2) = 0.354; median 180 s
    row = "| Title: 4 test images | `a` | – | 0.500 ± 0.354 | 0.250, 0.750 (2) | – | – | 3.0 min |"
    assert row in lines
    assert (lines[0], lines[-1]) == ("before", "after")


def test_trials_stay_with_their_title(tmp_path):
    """What was tried before a table is measured anew, by mean and worst of its splits."""
    from recipes import table
    from recipes.scores import Score

    row = table.row("a", [Score(1, 4)], [1.0])
    tried = [{"settings": "longer", "seeds": [1, 2], "one_view": [0.5, 0.25]}]
    trials = [{"about": "Splits.", "images": 8, "tried": tried}]
    found = {"images": 4, "threads": 2, "command": "x", "rows": [row]}
    table.write(tmp_path, "Title", found | {"trials": trials})
    table.write(tmp_path, "Title", found)
    assert json.loads((tmp_path / "recipes.json").read_text())["Title"]["trials"] == trials
    assert "| longer | 1, 2 | 0.375, 0.250 | – |" in (tmp_path / "recipes.md").read_text()


@pytest.mark.slow
def test_evaluate_says_what_is_wrong(tmp_path, small_signs):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {class_path: SignsFunctional, init_args: {lr: fast}}\n")
    args = [recipe, "--train_file", small_signs[0], "--title", "x", "--output", tmp_path / "docs"]
    assert "Give either --test_file or --folds" in run("evaluate_recipe.py", *args, code=2)
    assert "recipe-1 failed: " in run(
        "evaluate_recipe.py", *args, "--test_file", small_signs[1], "--seeds", 1, code=2
    )
    assert not (tmp_path / "docs").exists()


def test_evaluate_keeps_runs_of_other_settings_apart(tmp_path, small_signs):
    """In a named folder of runs: other data, configurations or arguments are refused before
    anything is trained.
    """
    from recipes import runs

    from signs_lightning.errors import InputError

    recipe, other = tmp_path / "recipe.yaml", tmp_path / "other.yaml"
    recipe.write_text("model: SignsFunctional\n")
    other.write_text("model: SignsResNet50\n")
    settings = {
        "work": tmp_path / "work",
        "configs": [recipe],
        "train_file": small_signs[0],
        "folds": 5,
        "threads": 1,
        "more": [],
    }
    runs.keep_settings(**settings)
    runs.keep_settings(**settings)
    runs.keep_settings(**settings | {"configs": [other]})  # another one beside it
    runs.keep_settings(**settings)
    for name, value in (
        ("folds", 10),
        ("train_file", small_signs[1]),
        ("more", ["--model.lr=1"]),
        ("threads", 2),
    ):
        with pytest.raises(InputError, match=f"has runs of other settings \\({name}\\)"):
            runs.keep_settings(**settings | {name: value})
    recipe.write_text("model: HappySequential\n")
    with pytest.raises(InputError, match="has runs of other settings \\(configs\\)"):
        runs.keep_settings(**settings)


def test_evaluate_looks_at_its_arguments_first(tmp_path, small_signs):
    recipe, same = tmp_path / "recipe.yaml", tmp_path / "folder/recipe.yaml"
    same.parent.mkdir()
    for path in (recipe, same):
        path.write_text("model: SignsFunctional\n")
    args = [
        "--train_file", small_signs[0], "--title", "x", "--output", tmp_path / "docs",
        "--work", tmp_path / "work",
    ]  # fmt: skip
    said = run("evaluate_recipe.py", recipe, *args, "--test_file", tmp_path / "tset.h5", code=2)
    assert f"{tmp_path / 'tset.h5'} is no file" in said
    said = run("evaluate_recipe.py", recipe, same, *args, "--test_file", small_signs[1], code=2)
    assert "Two configurations have the same name" in said
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_what_is_trained_outlives_a_page_that_cannot_be_written(tmp_path, small_signs):
    """--output is a file: the runs' folder is named, and stays."""
    recipe, page = tmp_path / "recipe.yaml", tmp_path / "docs"
    recipe.write_text("model: SignsFunctional\n")
    page.write_text("a file")
    said = run(
        "evaluate_recipe.py",
        recipe,
        "--train_file",
        small_signs[0],
        "--test_file",
        small_signs[1],
        "--seeds",
        1,
        "--title",
        "x",
        "--output",
        page,
        "--",
        "--trainer.max_epochs=1",
        code=2,
    )
    work = Path(re.findall(r"go on with `--work (.*)`", said)[0])
    assert (work / "lightning_logs/recipe-1/version_0/checkpoints/last.ckpt").is_file()
    shutil.rmtree(work)


def test_class_names_in_any_script(tmp_path):
    from recipes import runs

    runs.write(
        tmp_path / "file.h5", np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]), ["café", "犬"]
    )
    assert runs.read(tmp_path / "file.h5")[2] == ["café", "犬"]


@pytest.mark.slow
def test_sweep_goes_on_where_it_stopped(tmp_path, small_signs):
    """Three trials, then two more in the same study; a trial whose process is gone is tried again;
    values are those of the history.
    """
    optuna = pytest.importorskip("optuna")
    space = tmp_path / "space.yaml"
    space.write_text(
        "model.lr: {low: 1e-3, high: 0.1, log: true}\nmodel.label_smoothing: [0.0, 0.1]\n"
        "data.batch_size: {low: 8, high: 16}\n"
    )
    args = [
        ROOT / "configs/signs_functional.yaml", space, "--train_file", small_signs[0],
        "--study", tmp_path / "study.journal", "--jobs", 2,
    ]  # fmt: skip
    said = run("sweep.py", *args, "--trials", 2, "--", "--trainer.max_epochs=1")
    assert "Best of " in said

    def study():
        backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
        return optuna.load_study(
            study_name="signs_functional", storage=optuna.storages.JournalStorage(backend)
        )

    first = len(study().trials)
    assert first >= 2
    lost = study().ask()
    lost.set_user_attr("process", 2**22 + 1)  # larger than any process number
    lost.suggest_float("model.lr", 0.001, 0.1, log=True)
    run("sweep.py", *args, "--trials", first + 1, "--", "--trainer.max_epochs=1")
    states = [trial.state.name for trial in study().trials]
    assert states[first] == "FAIL"
    again = study().trials[first + 1]
    assert again.params["model.lr"] == study().trials[first].params["model.lr"]
    for trial in study().trials:
        if trial.value is not None:
            assert 0 <= trial.value <= 1
            assert 0.001 <= trial.params["model.lr"] <= 0.1
            assert 8 <= trial.params["data.batch_size"] <= 16
    space.write_text("model.label_smoothing: [0.0, 0.2]\n")
    # More than two jobs at a time have tried by now.
    said = run("sweep.py", *args, "--trials", 100, code=2)
    assert "was begun with another space" in said


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("nothing", "lists no settings"),
        ("model.lr: 3", "expected a list of choices or"),
        ("model.lr: [", "cannot be read as YAML"),
        pytest.param("model.speed: [1, 2]", "trial-0-1 failed: ", marks=pytest.mark.slow),
        ("model.lr: {low: 0.1, high: 0.01}", "expected numbers with low < high"),
        ("model.lr: {low: 0, high: 1, log: true}", "low > 0 and no step"),
        ("model.lr: {low: little, high: 1}", "expected numbers"),
    ],
)
def test_sweep_says_what_is_wrong(tmp_path, small_signs, space, message):
    pytest.importorskip("optuna")
    (tmp_path / "space.yaml").write_text(space)
    said = run(
        "sweep.py",
        ROOT / "configs/signs_functional.yaml",
        tmp_path / "space.yaml",
        "--train_file",
        small_signs[0],
        "--study",
        tmp_path / "study.journal",
        "--trials",
        1,
        code=2,
    )
    assert message in said
