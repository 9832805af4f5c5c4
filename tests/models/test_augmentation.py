"""Augmentation on batches, against torchvision image by image, and the training that uses it,
against plain formulas.
"""

from __future__ import annotations

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from signs_lightning import H5DataModule, HappySequential, SignsFunctional, Trainer
from signs_lightning.callbacks.stop_mixing import StopMixing
from signs_lightning.errors import InputError
from signs_lightning.models.augmentation import Augmentation, blend, flip, inverse_affine, warp
from signs_lightning.models.tta import augmented_views

BILINEAR = v2.InterpolationMode.BILINEAR


def pictures(count: int, height: int = 24, width: int = 32, channels: int = 3) -> torch.Tensor:
    """Smooth random images, (N, C, H, W) in 0..1, channels_last as those of training."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, channels, 6, 8, generator=generator)
    return (
        F.interpolate(coarse, (height, width), mode="bicubic")
        .clamp(0, 1)
        .to(memory_format=torch.channels_last)
    )


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill", [0, 0.7, [0.1, 0.5, 0.9]])
@pytest.mark.parametrize("center", [None, [3.0, 20.0]])
def test_warp_is_torchvisions_affine(mode, fill, center):
    """v2.functional.affine of each image with the same parameters; where an edge is mixed with the
    fill it rounds in another way.
    """
    images = pictures(8)
    rng = np.random.default_rng(1)
    angle, scale = rng.uniform(-180, 180, 8), rng.uniform(0.6, 1.5, 8)
    shift = rng.integers(-6, 7, (8, 2))
    shear = rng.uniform(-20, 20, (8, 2))
    middle = (center[0] - 16, center[1] - 12) if center else (0.0, 0.0)
    columns = np.stack([angle, *shift.T, scale, *shear.T]).astype(np.float32)
    a, dx, dy, s, shear_x, shear_y = torch.from_numpy(columns)
    ours = warp(images, inverse_affine(a, dx, dy, s, shear_x, shear_y, middle), fill, mode)
    for k, image in enumerate(images):
        theirs = v2.functional.affine(
            image, float(angle[k]), shift[k].tolist(), float(scale[k]), shear[k].tolist(),
            interpolation=v2.InterpolationMode(mode), fill=fill, center=center,
        )  # fmt: skip
        different = (ours[k] - theirs).abs().amax(dim=0) > 1e-4
        inside = v2.functional.affine(
            torch.ones(1, 24, 32),
            float(angle[k]),
            shift[k].tolist(),
            float(scale[k]),
            shear[k].tolist(),
            interpolation=BILINEAR,
            fill=0,
            center=center,
        )[0]
        at_edge = (inside > 1e-9) & (inside < 0.9999)  # its share of the picture, squared
        if mode == "bilinear":
            assert not (different & ~at_edge).any()
        else:  # a coordinate exactly between two pixels may be rounded either way
            assert different.float().mean() < 0.01


def test_every_image_moves_on_its_own():
    """One bright pixel tells the shift: whole pixels, all within a quarter of the size, all values,
    none preferred.
    """
    images = torch.zeros(3000, 1, 17, 17)
    images[:, :, 8, 8] = 1
    torch.manual_seed(0)
    moved, _ = Augmentation([v2.RandomAffine(0, translate=(0.25, 0.25))], 2)(
        images, torch.zeros(3000).long()
    )
    places = moved.flatten(1).argmax(dim=1)
    down, right = places // 17 - 8, places % 17 - 8
    for shift in (down, right):
        assert set(shift.tolist()) == set(range(-4, 5))
        assert abs(shift.double().mean()) < 0.2
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.06
    assert (moved.amax(dim=(1, 2, 3)) > 0.999).all()


def test_parameters_stay_in_their_ranges():
    """A ramp from left to right tells each image's scale and angle: drawn from the whole range and
    from nowhere else.
    """
    ramp = torch.linspace(-0.5, 0.5, 33).expand(500, 1, 33, 33)
    torch.manual_seed(0)
    transform = v2.RandomAffine(20, scale=(0.8, 1.25), interpolation=BILINEAR)
    turned, _ = Augmentation([transform], 2)(ramp, torch.zeros(500).long())
    # Gradient of the ramp, per pixel of its own.
    across = (turned[:, 0, 16, 20] - turned[:, 0, 16, 12]) * 32 / 8
    down = (turned[:, 0, 20, 16] - turned[:, 0, 12, 16]) * 32 / 8
    scale, angle = 1 / torch.hypot(across, down), torch.atan2(down, across).rad2deg()
    for found, low, high in ((scale, 0.8, 1.25), (angle, -20, 20)):
        width = high - low
        assert low - 1e-2 < found.min() < low + 0.05 * width
        assert high - 0.05 * width < found.max() < high + 1e-2
        assert abs(found.mean() - (low + high) / 2) < 0.06 * width


@pytest.mark.parametrize("horizontal", [True, False])
def test_flip(horizontal):
    images = pictures(400, 8, 8)
    torch.manual_seed(0)
    flipped = flip(images, 0.3, horizontal)
    mirrored = [v2.functional.hflip, v2.functional.vflip][not horizontal](images)
    changed = torch.tensor([torch.equal(a, b) for a, b in zip(flipped, mirrored, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(flipped, images, strict=True)])
    assert (changed ^ kept).all()
    assert 0.23 < changed.float().mean() < 0.37


@pytest.mark.parametrize("what", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("channels", [3, 1])
def test_blend_is_torchvisions_adjustment(what, channels):
    """v2.functional.adjust_… of each image with the same factor."""
    images = pictures(9, channels=channels)
    factors = torch.linspace(0, 2, 9)
    ours = blend(images, factors, what)
    adjust = getattr(v2.functional, f"adjust_{what}")
    theirs = torch.stack(
        [adjust(image, float(factor)) for image, factor in zip(images, factors, strict=True)]
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_every_image_has_its_own_brightness_and_hue():
    images = torch.full((500, 3, 4, 4), 0.4)
    torch.manual_seed(0)
    brighter, _ = Augmentation([v2.ColorJitter(brightness=0.5)], 2)(images, torch.zeros(500).long())
    factors = brighter[:, 0, 0, 0] / 0.4
    assert 0.5 <= factors.min() < 0.55 < 1.45 < factors.max() <= 1.5 + 1e-6
    assert abs(factors.mean() - 1) < 0.05
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(50, 3, 2, 2)
    turned, _ = Augmentation([v2.ColorJitter(hue=0.3)], 2)(red, torch.zeros(50).long())
    assert len({tuple(image[:, 0, 0].tolist()) for image in turned}) > 45


def test_other_transforms_run_image_by_image():
    torch.manual_seed(0)
    erased, _ = Augmentation([v2.RandomErasing(p=1.0)], 2)(
        torch.ones(30, 3, 16, 16), torch.zeros(30).long()
    )
    assert len({tuple(image[0].flatten().tolist()) for image in erased}) > 25


@pytest.mark.parametrize("transform", [v2.MixUp(alpha=1.0), v2.CutMix(alpha=1.0)])
def test_mixed_labels_become_shares(transform):
    labels = torch.arange(12) % 6
    torch.manual_seed(1)
    images, mixed = Augmentation([transform], 6)(pictures(12), labels)
    assert images.shape == (12, 3, 24, 32)
    assert mixed.shape == (12, 6)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(12))
    assert ((mixed > 0).sum(dim=1) > 1).any()


def test_a_transform_that_changes_the_size_is_refused():
    with pytest.raises(InputError, match="RandomCrop makes 8×8×3 images of 24×32×3"):
        Augmentation([v2.RandomCrop(8)], 2)(pictures(2), torch.zeros(2).long())


def test_a_transform_that_changes_the_channels_is_refused():
    with pytest.raises(InputError, match="Grayscale makes 24×32×1 images of 24×32×3"):
        Augmentation([v2.Grayscale()], 2)(pictures(2), torch.zeros(2).long())


def test_a_transform_that_cannot_take_the_images_is_named():
    with pytest.raises(InputError, match="The augmentation RandomCrop cannot be used: "):
        Augmentation([v2.RandomCrop(80)], 2)(pictures(2), torch.zeros(2).long())


def test_colour_jitter_of_many_channels():
    """Brightness and contrast work on any channels, as formulas say; colours need grey or RGB."""
    images, labels = pictures(4, channels=13), torch.zeros(4).long()
    factors = torch.tensor([0.5, 1.0, 1.5, 0.0])
    mean = images.flatten(1).mean(1).view(-1, 1, 1, 1)
    expected = (mean + factors.view(-1, 1, 1, 1) * (images - mean)).clamp(0, 1)
    torch.testing.assert_close(blend(images, factors, "contrast"), expected, atol=1e-5, rtol=0)
    changed, _ = Augmentation([v2.ColorJitter(brightness=0.5, contrast=0.5)], 2)(images, labels)
    assert changed.shape == images.shape
    with pytest.raises(InputError, match="are of grey or RGB images, these have 13 channels"):
        Augmentation([v2.ColorJitter(saturation=0.5)], 2)(images, labels)
    with pytest.raises(InputError, match="are of grey or RGB images, these have 13 channels"):
        Augmentation([v2.ColorJitter(hue=0.1)], 2)(images, labels)


@pytest.mark.parametrize("channels", [1, 13])
def test_a_fill_for_other_channels_is_refused(channels):
    with pytest.raises(InputError, match=f"fill has 3 values for images of {channels} channels"):
        Augmentation([v2.RandomAffine(20, fill=[0.1, 0.5, 0.9])], 2)(
            pictures(2, channels=channels), torch.zeros(2).long()
        )


def test_a_choice_of_mixes_takes_whole_batches():
    """torchvision's own idiom; images are mixed either way, and so are labels."""
    torch.manual_seed(2)
    images, mixed = Augmentation([v2.RandomChoice([v2.MixUp(alpha=1.0), v2.CutMix(alpha=1.0)])], 6)(
        pictures(12), torch.arange(12) % 6
    )
    assert images.shape == (12, 3, 24, 32)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(12))


def trained(small_signs, **settings) -> SignsFunctional:
    L.seed_everything(3)
    model = SignsFunctional(**settings)
    data = H5DataModule(str(small_signs[0]), batch_size=20)
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, data)
    return model


def test_training_sees_changed_images_and_repeats_them(small_signs):
    """The same seed gives the same weights; without augmentation they are others; the mirrored
    model is untouched by default.
    """
    jitter = [
        v2.RandomAffine(10, interpolation=BILINEAR),
        v2.ColorJitter(0.2, 0.2, 0.2),
        v2.MixUp(alpha=0.4),
    ]
    first, second = (trained(small_signs, augmentation=jitter) for _ in range(2))
    plain = trained(small_signs)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    weights = (model.network.get_parameter("fc.weight") for model in (first, plain))
    assert not torch.equal(*weights)
    assert not [key for key in first.state_dict() if "augment" in key]
    assert plain.augmentation == []


def test_the_last_epochs_are_not_mixed(small_signs, monkeypatch):
    """Of four epochs the last begins after three quarters: its labels are plain classes again."""
    seen = []
    plain_loss = SignsFunctional.compute_loss

    def loss(self, logits, labels, training=False):
        if training:
            seen.append((self.current_epoch, labels.is_floating_point()))
        return plain_loss(self, logits, labels, training)

    monkeypatch.setattr(SignsFunctional, "compute_loss", loss)
    for epochs, steps in ((4, -1), (-1, 4)):
        trainer = Trainer(
            max_epochs=epochs, max_steps=steps, accelerator="cpu", logger=False,
            enable_checkpointing=False, callbacks=[StopMixing(after=0.75)],
        )  # fmt: skip
        data = H5DataModule(train_file=small_signs[0], batch_size=30)
        trainer.fit(SignsFunctional(augmentation=[v2.MixUp(alpha=0.4)]), data)
    assert seen[:8] == [(epoch, epoch < 3) for epoch in range(4) for _ in range(2)]
    assert seen[8:] == [(0, True), (0, True), (1, True), (1, True)], "no share of an endless run"
    with pytest.raises(InputError, match=r"StopMixing's after is 90, expected a share in 0\.\.1\."):
        StopMixing(after=90)


def test_label_smoothing_is_keras():
    """CategoricalCrossentropy and BinaryCrossentropy of Keras with label_smoothing, from logits."""
    keras = pytest.importorskip("keras")
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(10, 6, generator=generator), torch.arange(10) % 6
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)(
        F.one_hot(labels, 6).numpy(), logits.numpy()
    )
    assert SignsFunctional(label_smoothing=0.1).compute_loss(
        logits, labels, training=True
    ).item() == pytest.approx(float(theirs), abs=1e-5)
    logit, label = torch.randn(10, 1, generator=generator), torch.arange(10) % 2
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)(
        label[:, None].numpy().astype("float32"), logit.numpy()
    )
    assert HappySequential(label_smoothing=0.1).compute_loss(
        logit, label, training=True
    ).item() == pytest.approx(float(theirs), abs=1e-5)


def test_loss_of_mixed_labels():
    """A label that is 30% of one class and 70% of another costs 30% and 70% of what these cost;
    class weights included.
    """
    logits = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    share = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0, 0.0]])
    one, two = (F.cross_entropy(logits.double(), torch.tensor([k])) for k in (1, 3))
    assert SignsFunctional().compute_loss(logits, share).item() == pytest.approx(
        float(0.3 * one + 0.7 * two), rel=1e-5
    )
    weighted = SignsFunctional(class_weights=[1, 2, 1, 1, 1, 1])
    expected = (0.3 * one + 0.7 * two) * (0.3 * 2 + 0.7 * 1)
    assert weighted.compute_loss(logits, share, training=True).item() == pytest.approx(
        float(expected), rel=1e-5
    )
    logit, pair = torch.tensor([[0.8]]), torch.tensor([[0.25, 0.75]])
    expected = -0.75 * np.log(1 / (1 + np.exp(-0.8))) - 0.25 * np.log(1 - 1 / (1 + np.exp(-0.8)))
    assert HappySequential().compute_loss(logit, pair).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing is 1"),
        (
            {"label_smoothing": 0.1, "loss": torch.nn.CrossEntropyLoss()},
            "label_smoothing and loss are both given",
        ),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        SignsFunctional(**settings)


def test_views():
    images = pictures(2, 32, 32)
    found = list(augmented_views(images, ["hflip", "vflip", "shifts"]))
    assert len(found) == 20  # 5 shifts, mirrored in no, one or two ways
    assert len({tuple(view.flatten().tolist()) for view in found}) == 20
    assert torch.equal(found[0], images)
    assert torch.equal(found[1][:, :, 2:], images[:, :, :-2])  # two pixels down: a sixteenth of 32
    assert torch.equal(list(augmented_views(images, ["hflip"]))[1], v2.functional.hflip(images))


@pytest.mark.parametrize("kind", [SignsFunctional, HappySequential])
def test_predictions_are_the_mean_over_views(kind):
    """Probabilities of the image and its mirror image, averaged in float64; the loss is that of the
    mean.
    """
    torch.manual_seed(0)
    model = kind(test_time_augmentation=["hflip"]).eval()
    plain = kind().eval()
    plain.load_state_dict(model.state_dict())
    images = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    mean = (plain.predict(images).double() + plain.predict(images.flip(2)).double()) / 2
    torch.testing.assert_close(model.predict(images).double(), mean, atol=1e-6, rtol=0)
    with torch.inference_mode():
        logits = model.averaged_logits(model.preprocess(images))
    labels = torch.tensor([0, 1, 1, 0, 1])
    expected = -mean[range(5), labels].log().mean()
    assert model.compute_loss(logits, labels).item() == pytest.approx(float(expected), abs=1e-5)


def test_a_checkpoint_remembers_its_views(cli, small_signs, tmp_path):
    """`predict` on a run folder averages as `test` did, without being told."""
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--data.test_file", small_signs[1],
        "--trainer.max_epochs", 1, "--model.test_time_augmentation", "[hflip]",
    )  # fmt: skip
    assert done.code == 0, done.err
    from signs_lightning.checkpoints.load_model import load_model

    model, _ = load_model(str(next((tmp_path / "lightning_logs").rglob("last.ckpt"))), "predict")
    images = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    torch.testing.assert_close(model.predict(images), model.predict(images.flip(2)))
