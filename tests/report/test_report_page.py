"""The report verb: its figures against other libraries and plain loops, its page as a parser and a
browser read it.
"""

import re
import shutil
import sys
from contextlib import redirect_stdout
from html.parser import HTMLParser
from importlib.util import find_spec
from io import StringIO

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from references import SIGNS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchmetrics.functional.classification import multiclass_calibration_error

from signs_lightning import InputError, SignsFunctional
from signs_lightning.__main__ import main
from signs_lightning.callbacks.history_writer import typed_command
from signs_lightning.checkpoints.files import load_checkpoint, load_classifier
from signs_lightning.commands import report as verb
from signs_lightning.data.dataset import H5Images
from signs_lightning.models.metrics import Evaluation
from signs_lightning.report import report_folder
from signs_lightning.report.calibration import bins_for, calibration
from signs_lightning.report.figures import Tile, draw_confusion, draw_reliability, draw_sheet
from signs_lightning.report.predictions import Predictions, predict_dataset
from signs_lightning.report.tiles import format_probability, gradcam_tiles, mistake_tiles

FIGURES = ["accuracy", "confusion", "gradcam", "loss", "mistakes", "reliability"]
HOSTILE = [
    "<script>alert(1)</script>", '" onload="x', r"$\frac{$ & 5", "\x1b[31mred", "手", "x" * 60,
]  # fmt: skip


class Page(HTMLParser):
    """What a page holds: tags, attributes, texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in {"meta", "link", "img", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)


def report(*args):
    return verb.main("report", [str(arg) for arg in args])


def read_page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fitted(small_signs, tmp_path_factory):
    """A run that validated on a third of its training file and has no test file."""
    root = tmp_path_factory.mktemp("fitted")
    command = [
        *(
            "fit", "--data.train_file", str(small_signs[0]), "--data.val_fraction", "0.4",
            "--data.batch_size", "12",
        ),
        *(
            "--model.lr",
            "0.02",
            "--trainer.max_epochs",
            "4",
            "--trainer.default_root_dir",
            str(root),
        ),
        *(
            "--trainer.enable_progress_bar",
            "false",
            "--trainer.accelerator",
            "cpu",
            "--name",
            "a & b",
        ),
        *("--seed_everything", "7"),
    ]  # fmt: skip
    argv = sys.argv
    try:
        sys.argv = ["/somewhere/signs_lightning/__main__.py", *command]
        assert main(command) == 0
    finally:
        sys.argv = argv
    return root / "lightning_logs" / "a & b" / "version_0"


@pytest.fixture
def run(fitted, tmp_path):
    """A copy of it, to write into."""
    return shutil.copytree(fitted, tmp_path / "lightning_logs" / "a & b" / "version_0")


@pytest.fixture(scope="module")
def reported(fitted, tmp_path_factory):
    """Another copy with its report, to look at; and what the report printed."""
    run = shutil.copytree(fitted, tmp_path_factory.mktemp("reported") / "a & b" / "version_0")
    with redirect_stdout(StringIO()) as printed, pytest.MonkeyPatch.context() as patch:
        # Another process than the one that trained: it has its own seed.
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        assert report(run) == 0
    return run, printed.getvalue()


def data_file(path, names, height, width, channels, count=24, part="test"):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file[f"{part}_set_x"] = rng.integers(
            0, 256, (count, height, width, channels), dtype=np.uint8
        )
        file[f"{part}_set_y"] = np.arange(count)[None] % len(names)
        file["list_classes"] = np.array([name.encode() for name in names])
    return path


def predicted_by_hand(probabilities, labels, names, images=None):
    """A `Predictions` without a model."""
    predicted = probabilities.argmax(1)
    confusion = torch.zeros(len(names), len(names), dtype=torch.int64)
    for label, prediction in zip(labels, predicted, strict=True):
        confusion[label, prediction] += 1
    evaluation = Evaluation(1.0, int((labels == predicted).sum()), len(labels), names, confusion)

    class Pictures(H5Images):
        def __init__(self):
            pass

        def __getitems__(self, positions):
            return torch.from_numpy(images[positions]), None

    return Predictions(
        Pictures(),
        labels,
        predicted,
        probabilities.astype(np.float32),
        evaluation,
        "test",
        ["x.h5"],
    )


def drawn_probabilities(count, classes, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = torch.from_numpy(rng.normal(0, 2, (count, classes))).softmax(1).numpy()
    return probabilities, rng.integers(0, classes, count)


@pytest.mark.parametrize(("count", "classes"), [(7, 2), (120, 6), (1000, 100)])
def test_calibration_error_equals_torchmetrics(count, classes):
    probabilities, labels = drawn_probabilities(count, classes)
    predicted = probabilities.argmax(1)
    bins = calibration(probabilities.max(1), predicted == labels)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities),
        torch.from_numpy(labels),
        classes,
        n_bins=len(bins.counts),
        norm="l1",
    )
    assert bins.error == pytest.approx(expected.item(), abs=1e-6)
    assert bins.counts.sum() == count
    assert bins.correct.sum() == (predicted == labels).sum()
    assert bins.mean_confidence == pytest.approx(probabilities.max(1).mean())


def test_bins_are_open_below_and_closed_above_as_guo_et_al_define_them():
    confidence = np.array([0.2, 0.25, 0.2 + 1e-9, 0.4, 1.0, 0.95, 0.61])
    correct = np.array([True, False, True, True, True, False, True])
    bins = calibration(confidence, correct, bins=5)
    error = 0.0
    for m in range(5):
        inside = [k for k, value in enumerate(confidence) if m / 5 < value <= (m + 1) / 5]
        assert bins.counts[m] == len(inside)
        assert bins.correct[m] == sum(correct[inside])
        if inside:
            error += len(inside) / 7 * abs(np.mean(correct[inside]) - np.mean(confidence[inside]))
    assert bins.error == pytest.approx(error)


def test_few_images_get_few_bins():
    assert [bins_for(count) for count in (1, 25, 26, 120, 225, 10_000)] == [5, 5, 6, 11, 15, 15]


def test_worst_mistakes_and_extremes_of_a_class_equal_a_plain_search():
    probabilities, labels = drawn_probabilities(200, 5)
    predictions = predicted_by_hand(probabilities, labels, list("abcde"))
    wrong = [k for k in range(200) if max(range(5), key=lambda c: probabilities[k, c]) != labels[k]]
    wrong.sort(key=lambda k: probabilities[k, labels[k]])
    assert predictions.worst_mistakes(20).tolist() == wrong[:20]
    assert len(predictions.worst_mistakes(1000)) == len(wrong)
    for label in range(5):
        own = [k for k in range(200) if labels[k] == label]
        best, worst = predictions.best_and_worst(label)
        assert probabilities[best, label] == max(probabilities[k, label] for k in own)
        assert probabilities[worst, label] == min(probabilities[k, label] for k in own)


def test_class_with_one_image_or_none_is_shown_once_or_not():
    predictions = predicted_by_hand(
        np.eye(3)[[0, 1, 1]], np.array([0, 1, 1]), ["one", "two", "none"]
    )
    assert predictions.best_and_worst(0) == [0]
    assert predictions.best_and_worst(2) == []


def test_tiles_say_what_was_true_and_what_was_predicted(small_signs):
    torch.manual_seed(0)
    model = SignsFunctional(num_classes=6, image_size=(32, 32, 3)).eval()
    predictions = predict_dataset(model, {"test_file": str(small_signs[1]), "image_size": 32}, None)
    with h5py.File(small_signs[1]) as file:
        images, labels = file["test_set_x"][:], file["test_set_y"][:].ravel()
    probabilities = model.predict(images)
    for tile, position in zip(
        mistake_tiles(predictions), predictions.worst_mistakes(24), strict=True
    ):
        np.testing.assert_array_equal(tile.pictures[0], images[position])
        said = probabilities[position].argmax()
        assert said != labels[position]
        assert tile.lines == [
            f"true: {labels[position]}, p={probabilities[position, labels[position]]:.3f}",
            f"predicted: {said}, p={probabilities[position, said]:.3f}",
            f"image {position}",
        ]
    tiles = gradcam_tiles(model, predictions)
    assert len(tiles) == 12  # two of each class
    for tile in tiles:
        position = int(re.findall(r"image (\d+)", tile.lines[0])[0])
        wrong = probabilities[position].argmax() != labels[position]
        assert len(tile.pictures) == 2 + wrong
        assert len(tile.lines) == 1 + 2 * wrong
        assert all(picture.shape == images[0].shape for picture in tile.pictures)


def test_probabilities_are_never_rounded_to_certainty():
    assert [format_probability(p) for p in (0.0, 4e-4, 0.5, 0.9994, 0.99999)] == [
        *("p<0.001", "p<0.001", "p=0.500", "p=0.999", "p>0.999")
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        HOSTILE,
        pytest.param([f"class {k}" for k in range(100)], marks=pytest.mark.slow),
        pytest.param(["x"] * 130, marks=pytest.mark.slow),
    ],
)
def test_figures_are_drawn_for_any_number_of_classes_and_any_name(tmp_path, names):
    probabilities, labels = drawn_probabilities(300, len(names))
    images = np.random.default_rng(0).integers(0, 256, (300, 20, 30, 1), dtype=np.uint8)
    predictions = predicted_by_hand(probabilities, labels, names, images)
    draw_confusion(predictions.evaluation.confusion, names, tmp_path / "confusion.png")
    draw_reliability(
        calibration(predictions.confidence, predictions.predicted == labels),
        tmp_path / "reliability.png",
    )
    draw_sheet(mistake_tiles(predictions)[:3], 2, tmp_path / "mistakes.png")
    for name in ("confusion", "reliability", "mistakes"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert round(picture.info["dpi"][0]) == 200
            assert np.asarray(picture.convert("L")).std() > 5  # not an empty sheet
            assert max(picture.size) < 4000


def test_confusion_matrix_has_its_darkest_cells_where_the_images_are(tmp_path):
    draw_confusion(torch.tensor([[50, 0], [40, 10]]), ["a", "b"], tmp_path / "confusion.png")
    grey = np.asarray(Image.open(tmp_path / "confusion.png").convert("L")).astype(int)
    columns = np.flatnonzero((grey < 60).sum(0) > 0.6 * grey.shape[0])  # the frame around the cells
    rows = np.flatnonzero((grey < 60).sum(1) > 0.4 * grey.shape[1])
    left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
    x, y = (
        (left + np.array([0.1, 0.9]) * (right - left)).astype(int),
        (top + np.array([0.1, 0.9]) * (bottom - top)).astype(int),
    )
    cells = grey[np.ix_(y, x)]
    assert cells[0, 1] == 255
    assert cells[0, 0] < cells[1, 0] < cells[1, 1] < 255


def test_strip_keeps_the_pictures_and_makes_grey_ones_rgb():
    grey, rgb = np.full((48, 5, 1), 7, np.uint8), np.full((48, 5, 3), (1, 2, 3), np.uint8)
    strip = Tile([grey, rgb], ["text"]).strip()
    assert strip.shape == (48, 12, 3)
    np.testing.assert_array_equal(strip[:, :5], 7)
    np.testing.assert_array_equal(strip[:, 5:7], 255)
    np.testing.assert_array_equal(strip[:, 7:], rgb)


@pytest.mark.slow
def test_run_without_test_file_is_judged_on_the_images_it_validated_on(reported):
    """The accuracy is the one that the fit itself found in its best epoch; another split would give
    another one.
    """
    run, out = reported
    best = min(
        load_checkpoint(run / "checkpoints" / "last.ckpt")["signs_lightning"]["history"],
        key=lambda r: r["val_loss"],
    )
    correct = round(best["val_accuracy"] * 24)
    assert f"validation accuracy {correct}/24 = {correct / 24:.3f}" in out
    assert f"page         {run / 'report' / 'report.html'}" in out
    found = read_page(run / "report")
    assert f"accuracy: {correct} of 24 images" in found.text
    assert f"loss {best['val_loss']:.4f}" in found.text
    assert "24 validation images" in found.text
    assert "chosen by these very images" in found.text
    assert sorted(path.name for path in (run / "report").iterdir()) == sorted(
        [*(f"{name}.png" for name in FIGURES), "events.out.tfevents.report", "report.html"]
    )


@pytest.mark.slow
def test_named_test_file_is_judged_as_model_predict_judges_it(run, small_signs):
    assert report(run, "--data.test_file", small_signs[1], "--output", run / "elsewhere") == 0
    with h5py.File(small_signs[1]) as file:
        images, labels = file["test_set_x"][:], file["test_set_y"][:].ravel()
    probabilities = load_classifier(run / "checkpoints" / "best.ckpt")[0].predict(images)
    predicted = probabilities.argmax(1)
    text = read_page(run / "elsewhere").text
    assert f"accuracy: {(predicted == labels).sum()} of 12 images" in text
    assert f"12 test images: {small_signs[1]}" in text
    assert f"loss {-np.log(probabilities[np.arange(12), labels]).mean():.4f}" in text
    for k in range(6):
        recall = (predicted[labels == k] == k).mean()
        assert f"{recall:.3f}" in text
    assert not (run / "report").exists()


def test_page_needs_nothing_but_itself(reported):
    run, _ = reported
    found = read_page(run / "report")
    assert not found.open
    assert "script" not in found.tags
    links = [
        value
        for _, name, value in found.attributes
        if name in {"src", "href", "srcset", "action", "data"}
    ]
    assert links
    assert all(value.startswith("data:") for value in links)
    style = (run / "report" / "report.html").read_text(encoding="utf-8").partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert (
        "meta",
        "content",
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    ) in found.attributes
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert len(re.findall("data:image/png", str(links))) == 4


def test_page_says_how_it_was_made(reported):
    run, _ = reported
    text = read_page(run / "report").text
    typed = load_checkpoint(run / "checkpoints" / "best.ckpt")["callbacks"]["RunFiles"]["commands"]
    assert len(typed) == 1
    assert typed[0].startswith("python -m signs_lightning fit --data.train_file")
    assert typed[0] in text
    assert f"python -m signs_lightning report '{run}'" in text
    assert "val_fraction: 0.4" in text
    for version in (torch.__version__, "Python 3.", "signs_lightning 0.", "Lightning 2."):
        assert version in text


def test_commands_of_a_resumed_run_follow_those_of_the_first(run, small_signs, monkeypatch):
    command = [
        "fit", "--ckpt_path", str(run), "--trainer.max_epochs", "5",
        "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["signs_lightning/__main__.py", *command])
    assert main(command) == 0
    commands = load_checkpoint(run / "checkpoints" / "last.ckpt")["callbacks"]["RunFiles"][
        "commands"
    ]
    assert len(commands) == 2
    assert commands[1].startswith("python -m signs_lightning fit --ckpt_path")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/jupyter", "notebook"])
    assert typed_command() is None


@pytest.mark.slow
def test_old_report_is_replaced_and_nothing_else_is_touched(run, monkeypatch):
    report(run)
    folder = run / "report"
    (folder / "gradcam_7.png").write_bytes(b"of a report with more classes")
    (folder / "notes.txt").write_text("mine")
    before = (folder / "report.html").read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(report_folder, "render_page", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            report(run)
    assert (folder / "report.html").read_bytes() == before
    assert (folder / "gradcam_7.png").exists()
    assert report(run) == 0
    assert not (folder / "gradcam_7.png").exists()
    assert (folder / "notes.txt").read_text() == "mine"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert len([path for path in folder.iterdir() if "tfevents" in path.name]) == 1


def test_tensorboard_shows_the_figures(reported):
    run, _ = reported
    events = EventAccumulator(str(run / "report")).Reload()
    tags = ["report/confusion", "report/gradcam", "report/mistakes", "report/reliability"]
    assert sorted(events.Tags()["images"]) == tags
    assert all(len(events.Images(tag)) == 1 for tag in tags)


@pytest.mark.slow
def test_checkpoint_on_its_own_has_its_history_but_no_run_folder(run, small_signs, tmp_path):
    alone = shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    assert report(alone, "--data.test_file", small_signs[1]) == 0
    found = read_page(tmp_path / "alone_report")
    assert "alone.ckpt" in found.text
    assert (tmp_path / "alone_report" / "loss.png").exists()


@pytest.mark.slow
def test_damaged_history_is_replaced_by_the_checkpoint_s(run):
    (run / "history.csv").write_text("epoch,loss\nfirst,high\n")
    assert report(run) == 0
    assert (run / "report" / "accuracy.png").exists()


@pytest.mark.parametrize("reference", SIGNS, indirect=True)
def test_keras_file_is_explained_too(reference, tmp_path):
    """Keras's own figure: as many of the test images as its history says."""
    trained = reference.folder / "trained.keras"
    code = report(trained, "--data.test_file", reference.test_file, "--output", tmp_path / "out")
    assert code == 0
    found = read_page(tmp_path / "out")
    assert f"accuracy: {reference.correct} of {len(reference.probabilities)} images" in found.text
    assert "Training" not in found.text
    assert not (tmp_path / "out" / "loss.png").exists()
    with pytest.raises(InputError, match="remembers no data"):
        report(trained, "--output", tmp_path / "out2")


@pytest.mark.parametrize(
    ("model", "names", "size"),
    [
        pytest.param(
            "HappySequential", ["no $x$", "<b>yes</b>"], (20, 24, 1), marks=pytest.mark.slow
        ),
        ("SignsFunctional", HOSTILE, (224, 224, 3)),
        pytest.param(
            "SignsFunctional",
            [f"class {k}" for k in range(100)],
            (16, 16, 1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["binary", "hostile", "hundred"],
)
def test_any_data_can_be_reported(tmp_path, model, names, size):
    height, width, channels = size
    test_count = 100 if len(names) == 100 else 12
    train = data_file(tmp_path / "train.h5", names, height, width, channels, 100, "train")
    test = data_file(tmp_path / "test.h5", names, height, width, channels, test_count)
    code = main(
        [
            *(
                "fit", "--model", model, "--data.train_file", str(train),
                "--data.test_file", str(test), "--name", "run",
            ),
            *("--trainer.max_epochs", "1", "--trainer.default_root_dir", str(tmp_path)),
            *("--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
        ]
    )  # fmt: skip
    assert code == 0
    run = tmp_path / "lightning_logs" / "run" / "version_0"
    assert report(run) == 0
    found = read_page(run / "report")
    assert found.tags.count("tr") == len(names) + 1
    assert not {"script", "b"} & set(found.tags)
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert "last epoch's checkpoint" in found.text
    for name in names:
        assert name.replace("\x1b", "\\x1b") in found.text
    sheets = sorted((run / "report").glob("gradcam*.png"))
    assert len(sheets) == (5 if len(names) == 100 else 1)
    assert (run / "report" / "report.html").stat().st_size < 4e6


@pytest.mark.slow
def test_file_that_was_trained_on_is_named_as_such(run, small_signs):
    report(run, "--data.test_file", small_signs[0])
    assert "trained on this file" in read_page(run / "report").text


def test_network_without_convolution_has_a_report_without_maps(run, monkeypatch):
    monkeypatch.setattr("signs_lightning.report.gradcam.CONVOLUTIONS", ())
    assert report(run) == 0
    assert "SignsFunctional has no convolution" in read_page(run / "report").text
    assert not list((run / "report").glob("gradcam*.png"))


def test_perfect_model_has_no_mistakes_to_show():
    predictions = predicted_by_hand(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1]), ["a", "b"])
    assert mistake_tiles(predictions) == []


def test_what_cannot_be_reported_is_one_sentence(run, small_signs, tmp_path, monkeypatch):
    def complaint(*args):
        with pytest.raises(InputError) as error:
            report(*args)
        return str(error.value)

    monkeypatch.chdir(tmp_path)
    assert "No such checkpoint" in complaint("nothing")
    assert "no gradients" in complaint("model.onnx")
    assert "gone.h5" in complaint(run, "--data.test_file", "gone.h5")
    assert "Unknown option '--ouput'" in complaint(run, "--ouput", "x")
    (tmp_path / "file").write_text("")
    assert "is a file, expected a folder" in complaint(run, "--output", tmp_path / "file")
    grey = data_file(tmp_path / "grey.h5", list("012345"), 64, 64, 1)
    assert "3 channels, the data have 1" in complaint(run, "--data.test_file", grey)
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["config"]["data"] |= {"train_file": str(tmp_path / "moved.h5")}
    torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
    assert re.search(r"moved\.h5.* name other data with --data\.test_file", complaint(run))
    checkpoint["config"]["data"]["val_fraction"] = None
    torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
    assert "neither a test file nor validation data" in complaint(run)
    assert not (run / "report").exists()


def test_browser_opens_the_page_on_a_telephone_without_complaint(reported):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or find_spec("playwright") is None:
        pytest.skip("chromium or playwright is not installed")
    from playwright.sync_api import sync_playwright

    address = (reported[0] / "report" / "report.html").as_uri()
    said, asked = [], []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            tab = chromium.new_page(color_scheme=scheme, viewport={"width": 360, "height": 800})
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(address)
            assert tab.evaluate("document.documentElement.scrollWidth") <= 360
            assert tab.evaluate(
                "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
            )
            style = "getComputedStyle(document.body)"
            ground, text = (
                sum(map(int, re.findall(r"\d+", tab.evaluate(f"{style}.{key}"))[:3]))
                for key in ("backgroundColor", "color")
            )
            assert (ground > text) == (scheme == "light")
        chromium.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address, address]
