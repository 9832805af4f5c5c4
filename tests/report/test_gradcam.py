"""Grad-CAM against closed forms, finite differences in float64, and Keras's own feature maps."""

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from signs_lightning import (
    HappySequential,
    ImageClassifier,
    InputError,
    SignsFunctional,
    SignsResNet50,
    from_keras,
)
from signs_lightning.report.gradcam import grad_cam, last_feature_maps, overlay


class Pooled(ImageClassifier):
    """Convolution → ReLU → global average pooling → dense, for which Grad-CAM has a closed form."""

    def build(self):
        return nn.Sequential(
            nn.Conv2d(self.image_size[2], 5, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 1 if self.binary else self.num_classes),
        )


class PooledBinary(Pooled):
    binary = True


class Dense(ImageClassifier):
    def build(self):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(int(np.prod(self.image_size)), self.num_classes)
        )


def some_images(count, height=16, width=16, channels=3, seed=0):
    return torch.randint(
        0,
        256,
        (count, height, width, channels),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(seed),
    )


def normalised(heat):
    heat = np.maximum(heat, 0)
    peak = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_class_activation_map_of_a_globally_pooled_network(channels):
    """Zhou et al. 2016: the sum of the feature maps, weighted by the dense layer, to which Grad-CAM
    is proportional there.
    """
    torch.manual_seed(0)
    model = Pooled(num_classes=4, image_size=(16, 12, channels))
    images, classes = some_images(7, 16, 12, channels), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    with torch.no_grad():
        maps = F.relu(model.network.get_submodule("0")(model.preprocess(images))).numpy()
    weights = model.network.get_parameter("4.weight").detach().numpy()[classes]  # (N, 5)
    expected = normalised(np.einsum("nf,nfhw->nhw", weights, maps))
    heat = grad_cam(model, images, classes)
    assert heat.dtype == torch.float32
    np.testing.assert_allclose(heat.numpy(), expected, atol=1e-5)
    assert expected.max() == 1


def test_class_0_of_a_binary_model_is_explained_by_the_negative_logit():
    torch.manual_seed(1)
    model = PooledBinary(num_classes=2, image_size=(16, 16, 3))
    images = some_images(4)
    with torch.no_grad():
        maps = F.relu(model.network.get_submodule("0")(model.preprocess(images))).numpy()
    weights = model.network.get_parameter("4.weight").detach().numpy()
    activation = np.einsum("f,nfhw->nhw", weights[0], maps)
    for label, sign in ((0, -1), (1, 1)):
        heat = grad_cam(model, images, torch.full((4,), label))
        np.testing.assert_allclose(heat.numpy(), normalised(sign * activation), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "stage"),
    [
        (lambda: SignsFunctional(num_classes=5, image_size=(40, 32, 3)), "conv2"),
        (lambda: HappySequential(image_size=(10, 12, 1)), "bn"),
        (lambda: SignsResNet50(num_classes=3, width=4, identity_blocks=(1, 0, 0, 0)), "stage5"),
    ],
    ids=["signs", "happy", "resnet"],
)
def test_equals_finite_differences_of_the_class_logit(make, stage):
    """Selvaraju et al. 2017, equations 1 and 2, with the gradients from central differences in
    float64.
    """
    torch.manual_seed(2)
    model = make().double().eval()
    for layer in model.modules():  # not the statistics of a network that has seen nothing
        if isinstance(layer, nn.BatchNorm2d):
            layer.get_buffer("running_mean").uniform_(-0.2, 0.2)
            layer.get_buffer("running_var").uniform_(0.5, 2)
    names = [name for name, _ in model.network.named_children()]
    head, tail = model.network[: names.index(stage) + 1], model.network[names.index(stage) + 1 :]
    height, width, channels = model.image_size
    images = some_images(2, height, width, channels)
    with torch.no_grad():
        maps = head(model.preprocess(images))  # (N, F, h, w)
        heats = []
        for image, label in ((0, 1), (1, 0)):
            a = maps[image]
            steps = 1e-6 * torch.eye(a.numel(), dtype=torch.float64).view(-1, *a.shape)
            rise = torch.cat([tail(a + part) - tail(a - part) for part in steps.split(512)]) / 2e-6
            scores = rise[:, label] if not model.binary else rise[:, 0] * (1 if label else -1)
            weights = scores.view(a.shape).mean((1, 2))
            # The other two have their ReLU after the pooling.
            seen = a if stage == "stage5" else a.relu()
            heats.append((weights[:, None, None] * seen).sum(0).relu())
    expected = F.interpolate(torch.stack(heats)[:, None], (height, width), mode="bilinear")[:, 0]
    expected = normalised(expected.numpy())
    np.testing.assert_allclose(
        grad_cam(model, images, torch.tensor([1, 0])).numpy(), expected, atol=1e-4
    )
    assert expected.max() == 1


def test_pooling_before_relu_gives_the_map_of_relu_before_pooling():
    torch.manual_seed(3)
    pooled_first, relu_first = (SignsFunctional(num_classes=3, fuse=fuse) for fuse in (True, False))
    images, classes = some_images(6, 64, 64), torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():  # no window of zeros only, where the gradient of ReLU first is arbitrary
        first_layers = nn.Sequential(*list(pooled_first.network.children())[:4])
        windows = F.max_pool2d(first_layers(pooled_first.preprocess(images)), 4)
        bias = pooled_first.network.get_parameter("conv2.bias")
        bias.sub_(windows.amin((0, 2, 3)) - 0.01)
    relu_first.load_state_dict(pooled_first.state_dict())
    maps, _ = last_feature_maps(pooled_first.eval(), pooled_first.preprocess(images))
    assert (maps < 0).any()
    assert (F.max_pool2d(maps, 4) > 0).all()
    torch.testing.assert_close(
        grad_cam(pooled_first, images, classes),
        grad_cam(relu_first, images, classes),
        atol=1e-5,
        rtol=0,
    )


def test_model_from_keras_agrees_with_keras_s_own_feature_maps(tmp_path):
    """Its activation is a part of the convolution, and a squeeze-and-excitation block convolves
    single pixels after it.
    """
    keras.utils.set_random_seed(4)
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="a.b")(inputs)
    squeeze = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    excite = keras.layers.Conv2D(6, 1, activation="sigmoid")(squeeze)
    scaled = keras.layers.Multiply(name="scaled")([x, excite])
    outputs = keras.layers.Dense(4, activation="softmax")(
        keras.layers.GlobalAveragePooling2D()(scaled)
    )
    keras_model = keras.Model(inputs, outputs)
    keras_model.save(tmp_path / "model.keras")
    images, classes = some_images(5, 12, 12), np.array([0, 1, 2, 3, 0])
    # (N, h, w, F)
    maps = keras.Model(inputs, scaled).predict(images.numpy().astype(np.float32) / 255, verbose=0)
    kernel = keras_model.layers[-1].get_weights()[0]  # (F, K)
    expected = normalised(np.einsum("nhwf,fn->nhw", maps, kernel[:, classes]))
    model = from_keras(str(tmp_path / "model.keras"))
    np.testing.assert_allclose(
        grad_cam(model, images, torch.from_numpy(classes)).numpy(), expected, atol=1e-5
    )


def test_resnet_s_maps_are_the_output_of_its_last_stage():
    model = SignsResNet50(width=4, identity_blocks=(0, 0, 0, 1)).eval()
    images = model.preprocess(some_images(2, 64, 64))
    with torch.no_grad():
        maps, logits = last_feature_maps(model, images)
        expected = images
        for name, layer in model.network.named_children():
            expected = layer(expected)
            if name == "stage5":
                break
        torch.testing.assert_close(maps, expected)
        torch.testing.assert_close(logits, model(images))


def test_map_has_the_size_of_the_image_and_changes_nothing_in_the_model():
    torch.manual_seed(5)
    model = SignsResNet50(num_classes=2, width=4, identity_blocks=(0, 0, 0, 0)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.network.get_parameter("fc.weight").requires_grad_(False)
    images, classes = some_images(5, 90, 70), torch.tensor([0, 1, 0, 1, 0])
    with torch.no_grad():
        heat = grad_cam(model, images, classes, batch_size=2)
    assert heat.shape == (5, 90, 70)
    assert not heat.requires_grad
    assert heat.min() >= 0
    assert set(heat.amax((1, 2)).tolist()) <= {0.0, 1.0}
    one_by_one = [grad_cam(model, images[k : k + 1], classes[k : k + 1])[0] for k in range(5)]
    torch.testing.assert_close(heat, torch.stack(one_by_one), atol=1e-4, rtol=0)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_no_images_give_no_maps():
    assert grad_cam(SignsFunctional(), some_images(0), torch.zeros(0, dtype=torch.int64)).shape == (
        0,
        16,
        16,
    )


def test_network_without_convolution_is_refused():
    with pytest.raises(InputError, match="Dense has no convolution"):
        grad_cam(Dense(image_size=(16, 16, 3)), some_images(1), torch.tensor([0]))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_overlay_is_grey_where_nothing_is_hot(channels):
    image = np.full((4, 6, channels), 200, np.uint8)
    heat = np.zeros((4, 6))
    heat[:, 3:] = 1
    picture = overlay(image, heat)
    assert picture.shape == (4, 6, 3)
    assert picture.dtype == np.uint8
    cold, hot = picture[0, 0].astype(int), picture[0, 5].astype(int)
    assert cold.max() - cold.min() <= 3  # the colour map begins a little above black
    np.testing.assert_allclose(cold, 100, atol=3)
    assert hot.sum() > cold.sum() + 200


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_heat_lies_over_what_the_network_saw(fit):
    """Of a wide image only the middle, of a low one all of it: as of that part alone."""
    torch.manual_seed(0)
    model = Pooled(num_classes=3, image_size=(16, 16, 3), resize="nearest", fit=fit).eval()
    classes = torch.tensor([0, 2])
    if fit == "crop":
        images = some_images(2, 16, 40)
        expected = torch.zeros(2, 16, 40)
        expected[:, :, 12:28] = grad_cam(model, images[:, :, 12:28], classes)
    else:
        images = some_images(2, 8, 16)
        bars = torch.zeros(2, 4, 16, 3, dtype=torch.uint8)
        expected = grad_cam(model, torch.cat([bars, images, bars], dim=1), classes)[:, 4:12]
        expected = expected / expected.amax((1, 2), keepdim=True)
    torch.testing.assert_close(grad_cam(model, images, classes), expected)
