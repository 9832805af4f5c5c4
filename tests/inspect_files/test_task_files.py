"""Files of several labels an image: told, counted, and the command that trains on them."""

from __future__ import annotations

from task_sets import NAMES, draw_labelled, draw_measured, write_set


def test_several_labels_are_told(cli, tmp_path):
    """With how many images have each, and the option in the next command."""
    images, labels = draw_labelled(12)
    images[5], labels[5] = images[4], 1 - labels[4]
    path = write_set(tmp_path / "train.h5", images, labels, NAMES)
    done = cli("inspect", path)
    assert done.code == 0, done.err
    assert "several each: --model.task multilabel" in done.out
    assert "1 image is an exact copy of an earlier one, 1 of them with another label" in done.out
    for k, name in enumerate(NAMES):
        count = int(labels[:, k].sum())
        assert f"{name}" in done.out
        assert f"{count}   {count / 12:.1%}" in " ".join(done.out.split()).replace(" ", "   ")
    assert "--data.val_fraction 0.2 --model.task multilabel\n" in done.out
    path = write_set(tmp_path / "numbers.h5", *draw_measured(12))
    done = cli("inspect", path)
    assert done.code == 1  # a problem
    assert "add `--model.task regression`" in done.out + done.err
