"""A training loop in plain PyTorch with everything switched on: the limit.

Bytes in memory (or on the GPU), a batch is one index selection, channels_last, pooling before ReLU,
fused Adam, freed memory kept in the process as signs_lightning keeps it, no figure is read from the
device before the epoch is over.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.marks import Marks, count
from benchmarks.rivals.inputs import BATCH_SIZES, CLASSES, arguments, read
from benchmarks.rivals.resnet import norm, resnet50
from signs_lightning.runtime.malloc_tuning import keep_freed_memory


class FlattenInPlace(nn.Module):
    """Flattens channels_last features in the order in which they lie in memory."""

    def forward(self, features: Tensor) -> Tensor:
        # (N, C, H, W) -> (N, H, W, C) -> (N, H * W * C)
        return features.permute(0, 2, 3, 1).flatten(1)


def build(model: str, size: int = 64) -> nn.Module:
    """Build a model for float (N, 3, size, size) images, its kernels channels_last."""
    classes, pooled = CLASSES[model], -(-size // 8)
    if model == "functional":
        network = nn.Sequential(
            nn.ZeroPad2d((1, 2, 1, 2)),
            nn.Conv2d(3, 8, 4),
            nn.MaxPool2d(8, ceil_mode=True),
            nn.ReLU(inplace=True),
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(8, 16, 2),
            nn.MaxPool2d(4, ceil_mode=True),
            nn.ReLU(inplace=True),
            FlattenInPlace(),
            nn.Linear(16 * (-(-pooled // 4)) ** 2, classes),
        )
    elif model == "sequential":
        network = nn.Sequential(
            nn.Conv2d(3, 32, 7, padding=3), norm(32), nn.MaxPool2d(2), nn.ReLU(inplace=True),
            FlattenInPlace(), nn.Linear(32 * (size // 2) ** 2, 1),
        )  # fmt: skip
    else:
        network = resnet50(classes, size)
    return network.to(memory_format=torch.channels_last)


def main() -> None:
    parser = arguments("Trains with a hand-written loop.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile, with CUDA graphs on a GPU"
    )
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(1)
    device = torch.device(options.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.benchmark = True
    batch_size = options.batch_size or BATCH_SIZES[options.model]
    parts = [
        tuple(torch.from_numpy(part).to(device) for part in read(path))
        for path in (options.train_file, options.test_file)
        if path
    ]
    network = build(options.model, parts[0][0].shape[1]).to(device)
    forward = torch.compile(network, mode="reduce-overhead") if options.compile else network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7, fused=True)

    def logits_and_loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # (N, H, W, C) -> (N, C, H, W), channels_last in memory
        pixels = images.permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            logits = forward(pixels).float()
        if logits.shape[1] == 1:
            return logits, F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float())
        return logits, F.cross_entropy(logits, labels)

    def correct(logits: Tensor, labels: Tensor) -> Tensor:
        predicted = logits.squeeze(1) > 0 if logits.shape[1] == 1 else logits.argmax(1)
        return (predicted == labels).sum()

    marks, losses = Marks(), []
    for _ in range(options.epochs):
        marks.epoch()
        for part, (images, labels) in enumerate(parts):
            training = part == 0
            network.train(training)
            order = (
                torch.randperm(len(labels), device=device)
                if training
                else torch.arange(len(labels), device=device)
            )
            totals = torch.zeros(2, device=device)  # sum of the losses, number of correct answers
            with torch.set_grad_enabled(training):
                for batch in order.split(batch_size):
                    target = labels[batch]
                    logits, loss = logits_and_loss(images[batch], target)
                    if training:
                        optimizer.zero_grad(set_to_none=True)
                        loss.backward()
                        optimizer.step()
                        marks.step()
                    totals += torch.stack(
                        [loss.detach() * len(target), correct(logits.detach(), target)]
                    )
            loss_sum, _ = totals.tolist()
            if training:
                losses.append(loss_sum / len(labels))
    marks.finish()
    marks.write(losses=losses, parameters=count(network))


if __name__ == "__main__":
    main()
