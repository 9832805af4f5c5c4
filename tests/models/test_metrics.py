"""What is counted and reported, against numpy, published intervals and torchmetrics."""

from statistics import NormalDist

import lightning as L
import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from signs_lightning import H5DataModule, HappySequential, SignsFunctional
from signs_lightning.models.metrics import (
    EpochTotals,
    Evaluation,
    describe_accuracy,
    wilson_interval,
)


def test_totals_are_means_over_images_not_over_batches():
    """Uneven batches and an empty one, whose mean loss is NaN; twice, with a reset between."""
    rng = np.random.default_rng(0)
    totals = EpochTotals()
    for sizes in ((16, 16, 0, 7, 1), (3, 5)):
        losses, matches = [], []
        for size in sizes:
            loss = rng.exponential(size=size)
            labels, predicted = rng.integers(0, 3, size), rng.integers(0, 3, size)
            mean = torch.tensor(loss).mean().float()
            totals.update(mean, torch.tensor(predicted), torch.tensor(labels))
            losses.append(loss)
            matches.append(labels == predicted)
        result, hits = totals.compute(), np.concatenate(matches)
        assert result["loss"].item() == pytest.approx(np.concatenate(losses).mean(), rel=1e-6)
        assert result["accuracy"].item() == pytest.approx(hits.mean(), rel=1e-6)
        assert (int(result["correct"]), int(result["count"])) == (hits.sum(), hits.size)
        totals.reset()


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_the_published_ones(correct, count, low, high):
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3: Wilson's score interval at
    95%.
    """
    assert wilson_interval(correct, count) == pytest.approx((low, high), abs=5e-5)


def solve_score_equation(correct, count, z):
    """The two p at which |k/n − p| is z standard errors √(p(1 − p)/n), by bisection on either side
    of k/n.
    """

    def excess(p):
        return abs(correct / count - p) - z * np.sqrt(p * (1 - p) / count)

    bounds = []
    for outer in (0.0, 1.0):
        inside, outside = correct / count, outer
        if excess(outer) <= 0 or inside == outer:
            bounds.append(outer)
            continue
        for _ in range(100):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
        bounds.append(inside)
    return tuple(bounds)


@pytest.mark.parametrize("confidence", [0.95, 0.8, 0.999])
@pytest.mark.parametrize(
    ("correct", "count"), [(0, 1), (1, 1), (1, 2), (94, 120), (33, 50), (119, 120), (5000, 10000)]
)
def test_intervals_solve_the_score_equation(correct, count, confidence):
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    given = (correct, count) if confidence == 0.95 else (correct, count, z)
    assert wilson_interval(*given) == pytest.approx(
        solve_score_equation(correct, count, z), abs=1e-9
    )


@pytest.mark.parametrize(
    ("correct", "count", "text"),
    [
        (94, 120, "94/120 = 0.783 (95% interval 0.701–0.848)"),
        (20, 20, "20/20 = 1.000 (95% interval 0.839–1.000)"),  # the mirror image of Newcombe's 0/20
        (0, 20, "0/20 = 0.000 (95% interval 0.000–0.161)"),
    ],
)
def test_accuracy_in_words(correct, count, text):
    assert describe_accuracy(correct, count) == text
    found = Evaluation(0.51234, correct, count, ["a"], torch.tensor([[count]]))
    assert str(found) == f"accuracy {text}, loss 0.512"


@pytest.mark.parametrize("classes", [2, 6])
def test_figures_of_every_class_are_torchmetrics_s(classes):
    """Precision, recall and F1 from labels and predictions; one class is never predicted, another
    never labelled.
    """
    rng = np.random.default_rng(classes)
    labels, predicted = torch.tensor(rng.integers(0, classes, (2, 200)))
    labels[labels == classes - 1] = 0
    predicted[predicted == 0] = 1
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for label, guess in zip(labels.tolist(), predicted.tolist(), strict=True):
        confusion[label, guess] += 1
    names = [f"class {k}" for k in range(classes)]
    rows = Evaluation(0.0, 0, 200, names, confusion).per_class()
    assert [row["class"] for row in rows] == names
    assert [row["images"] for row in rows] == np.bincount(labels, minlength=classes).tolist()
    for figure, metric in (
        ("precision", MulticlassPrecision),
        ("recall", MulticlassRecall),
        ("f1", MulticlassF1Score),
    ):
        expected = metric(classes, average=None)(predicted, labels)
        values = np.array([row[figure] for row in rows])
        np.testing.assert_allclose(values, expected, rtol=1e-6, err_msg=figure)


@pytest.mark.parametrize("name", ["signs", "happy"])
def test_a_test_run_finds_what_predict_finds(name, small_signs, small_smiles):
    """`trainer.test` over uneven batches, twice, against loss and confusion computed in numpy from
    `predict`.
    """
    train_file, test_file = small_signs if name == "signs" else small_smiles
    model = (SignsFunctional if name == "signs" else HappySequential)()
    data = H5DataModule(train_file=str(train_file), test_file=str(test_file), batch_size=5)
    runner = L.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    for _ in range(2):
        (figures,) = runner.test(model, data, verbose=False)
        (images, labels) = (torch.cat(parts) for parts in zip(*data.test_dataloader(), strict=True))
        probabilities = model.predict(images).double().numpy()
        picked, found = probabilities.argmax(1), model.evaluation
        assert found is not None
        loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        assert found.loss == figures["test_loss"] == pytest.approx(loss, rel=1e-5)
        assert (found.correct, found.count) == ((picked == labels.numpy()).sum(), 12)
        assert figures["test_accuracy"] == pytest.approx(found.correct / 12, rel=1e-6)
        expected = MulticlassConfusionMatrix(model.num_classes)(torch.tensor(picked), labels)
        assert found.confusion.tolist() == expected.tolist(), "row = label, column = prediction"
        assert found.class_names == data.class_names
        for row in found.per_class():
            assert figures[f"test_recall/{row['class']}"] == pytest.approx(row["recall"], rel=1e-6)
