"""Measure training on a GPU.

The card's ceilings, the functional model's 100 epochs, ResNet50's images per second with and
without torch.compile, where the time goes, and what has to hold there besides. Everything is
printed and recorded as it is found, the checks first, so that a run that is cut short keeps what it
has.
"""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import training
from benchmarks.forked import Fork, Step
from benchmarks.gpu_results import show
from benchmarks.marks import PROFILE, hand_over
from benchmarks.measure import ROOT, Bench, Task

SIZES = {64: (20_480, 256), 224: (5_120, 128)}  # pixels: images, batch size
QUICK_SIZES = {64: (96, 16), 224: (8, 4)}
EPOCHS = 3  # the first one is left out
COMPILED_EPOCHS = 4  # the median leaves out one that compiles once more
BF16 = f"--config={ROOT}/configs/bf16.yaml"
LOOP, OURS = "hand_written", "signs_lightning"
WAYS = tuple(
    f"{pixels}-{way}"
    for pixels in SIZES
    for way in ("bf16", "bf16-profile", "bf16-compiled", "tf32", "tf32-compiled")
    if (pixels, way) != (224, "bf16-profile")
)
# What both of them import, before the first fork.
IMPORTS = (
    "lightning.pytorch",
    "torchvision",
    "torch.utils.tensorboard",
    "signs_lightning.commands.fit_validate_test",
    "signs_lightning.export.artefacts",
    "benchmarks.clock",
    "benchmarks.ceilings",
    "benchmarks.gpu_checks",
    "benchmarks.step_profile",
    "benchmarks.rivals.hand_written",
)


def available() -> bool:
    """Return whether PyTorch, in another process, sees a GPU."""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


class Session:
    """One run of everything on a device.

    Args:
        bench: where and how it is measured; `--models functional` leaves ResNet50 out.
        device: "cuda", or "cpu", where only the commands are tried out.
        limit: seconds after which nothing more is begun.
        ways: how ResNet50 is trained, some of `WAYS`.
    """

    def __init__(
        self, bench: Bench, device: str = "cuda", limit: float = 400, ways: Iterable[str] = WAYS
    ) -> None:
        self.bench, self.device, self.ways = bench, device, set(ways)
        self.began, self.limit = time.monotonic(), limit
        self.sizes = QUICK_SIZES if bench.quick else SIZES
        self.gpu = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0")}
        self.gpu |= {
            "TORCHINDUCTOR_CACHE_DIR": str(bench.scratch / "inductor"),
            "TRITON_CACHE_DIR": str(bench.scratch / "triton"),
        }
        if device == "cpu":
            self.gpu["CUDA_VISIBLE_DEVICES"] = ""
        self.method, self._forks = "fork", 0
        self.profiles: dict[str, dict[str, Any]] = {}

    @property
    def left(self) -> float:
        """Seconds until nothing more is begun."""
        return self.limit - (time.monotonic() - self.began)

    def fork(self, steps: list[Step]) -> Fork:
        """Start a fork that takes these steps."""
        environment = self.bench.environment(**self.gpu)
        os.environ["PYTHONPATH"] = environment["PYTHONPATH"]
        self._forks += 1
        folder = self.bench.scratch / f"fork-{self._forks}"
        return Fork(steps, folder, environment, self.method)

    def keep(self, found: Iterable[dict[str, Any]]) -> None:
        """Record results, print a line for each."""
        for result in found:
            self.bench.record.add(result)
            keys = ("subject", "contestant", "precision")
            name = "  ".join(str(result[key]) for key in keys if result.get(key))
            line = f"failed: {result['failed']}" if "failed" in result else show(result)
            seconds = time.monotonic() - self.began
            print(f"[{seconds:5.0f} s] {name}  {line}", flush=True)
            if "operators" in result:
                self.profiles[result["contestant"]] = result

    def run(self, steps: list[Step], seconds: float = 150) -> None:
        """Take these steps now, unless there is too little time left."""
        steps = [step for step in steps if self.bench.is_chosen(step.labels["contestant"])]
        if not steps:
            return
        if self.left < 15:
            labels = steps[0].labels
            print(f"no time left for {labels['subject']} {labels.get('precision', '')}", flush=True)
            return
        self.keep(self.fork(steps).results(min(seconds, self.left + 60)))

    def training_steps(self, pixels: int, precision: str, contestant: str) -> list[Step]:
        """ResNet50 without torch.compile, under the profiler, and with it: in one process, which
        has found the fastest convolutions once.
        """
        images, batch_size = self.sizes[pixels]
        labels: dict[str, Any] = {"part": "gpu", "subject": f"resnet50 {pixels}×{pixels}"}
        labels |= {"contestant": contestant, "images": images, "batch_size": batch_size}
        call = partial(self._train, pixels, precision == "bf16", contestant)
        way = f"{pixels}-{precision}"
        wanted = "2:1" if self.bench.quick else "20:20"
        profile = {"subject": f"profile of resnet50 {pixels}×{pixels}", "precision": precision}
        compiled = {"precision": f"{precision}, compiled"}
        steps = {
            way: Step({**labels, "precision": precision}, partial(call, EPOCHS, False)),
            f"{way}-profile": Step(
                {**labels, **profile}, partial(call, 1, False), {PROFILE: wanted}
            ),
            f"{way}-compiled": Step({**labels, **compiled}, partial(call, COMPILED_EPOCHS, True)),
        }
        return [step for name, step in steps.items() if name in self.ways & set(WAYS)]

    def _train(self, pixels: int, bf16: bool, contestant: str, epochs: int, compiled: bool) -> None:
        file, batch_size = (self.data(pixels), None), f"batch_size={self.sizes[pixels][1]}"
        if contestant == OURS:
            more = [BF16] if bf16 else []
            more += ["--model.compile=true"] if compiled else []
            command = self.ours("resnet50", epochs, file, *more, f"--data.{batch_size}")
            _run_ours(command[3:])
        else:
            more = ["--bf16"] * bf16 + ["--compile"] * compiled
            _run_loop(self.loop("resnet50", epochs, file, *more, f"--{batch_size}")[1:])

    def ours(self, model: str, epochs: int, file: Any, *more: str) -> list[str]:
        """Our command on the device."""
        overlay = "--trainer.accelerator=cpu"
        if self.device == "cuda":
            overlay = f"--config={ROOT}/configs/gpu.yaml"
        return training.ours(model, epochs, file, overlay, *more)

    def loop(self, model: str, epochs: int, file: Any, *more: str) -> list[str]:
        """The loop's command on the device."""
        return training.rival(LOOP, model, epochs, file, f"--device={self.device}", *more)

    def data(self, pixels: int) -> Path:
        """The training file of images of this size."""
        return self.bench.scratch / f"gpu_{pixels}.h5"

    def prepare(self) -> None:
        """Import everything once, and write the training files meanwhile."""
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asks the driver, which a fork survives
        write = "import sys; from benchmarks import files; from pathlib import Path; "
        write += "files.write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), 'contiguous')"
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", write, self.data(pixels), str(images), str(pixels)],
                env=self.bench.environment(),
            )
            for pixels, (images, _) in self.sizes.items()
        ]
        for name in IMPORTS:
            importlib.import_module(name)
        if any(writer.wait() for writer in writers):
            raise RuntimeError("the training files could not be written")
        probe = self.fork([Step({}, partial(_use, self.device))]).results(60)[0]
        if "failed" in probe:
            self.method = "spawn"
            print(f"no fork can use the device, so processes import anew: {probe}", flush=True)
        print(f"[{self.limit - self.left:5.0f} s] imported, files written", flush=True)

    def checks(self, tests_log: Path) -> None:
        """What has to hold; while they run, what is compiled is put into the compiler's cache."""
        from benchmarks import gpu_checks

        calls: dict[str, Callable[[], None]] = {
            "tests/gpu": partial(gpu_checks.tests, self.device, tests_log),
            "resume": partial(gpu_checks.resume, self.device),
            "ONNX": partial(gpu_checks.onnx, self.device),
            "one process, NCCL": partial(gpu_checks.nccl, self.device),
        }
        found = [
            self.fork([Step({"part": "gpu", "subject": name, "contestant": "check"}, call)])
            for name, call in calls.items()
        ]
        warm = []
        if self.device == "cuda" and "resnet50" in self.bench.models:
            for pixels, precision, contestant in itertools.product(
                self.sizes, ("bf16", "tf32"), (OURS, LOOP)
            ):
                if f"{pixels}-{precision}-compiled" not in self.ways:
                    continue
                step = self.training_steps(pixels, precision, contestant)[-1]
                call = partial(self._train, pixels, precision == "bf16", contestant, 2, True)
                warm.append(self.fork([Step({**step.labels, "subject": "compiling"}, call)]))
        until = time.monotonic() + 150
        for fork in (*found, *warm):
            results = fork.results(until - time.monotonic())
            if fork in found:
                self.keep(results)
            elif "failed" in results[0]:
                print(f"compiling failed: {results[0]['failed']}", flush=True)
        print(f"[{self.limit - self.left:5.0f} s] checked", flush=True)

    def functional(self) -> None:
        """100 epochs as processes of their own, which are timed from their start."""
        signs = training.data(self.bench)["functional"]
        epochs = 3 if self.bench.quick else 100
        commands = {
            OURS: self.ours("functional", epochs, signs),
            LOOP: self.loop("functional", epochs, signs),
        }
        for contestant, command in commands.items():
            if self.bench.is_chosen(contestant) and self.left > 30:
                labels = {"part": "gpu", "subject": "functional", "contestant": contestant}
                found = self.bench.measure(Task({}, command, self.gpu))
                self.keep([{**labels, "precision": "fp32", **found}])

    def measure(self) -> None:
        """Measure the speed of everything."""
        from benchmarks import ceilings

        size = 8192 if self.device == "cuda" else 256
        labels = {"part": "gpu", "subject": "ceilings", "contestant": "card"}
        self.run([Step(labels, partial(ceilings.measure, self.device, size))])
        for repeat, precision in itertools.product(range(self.bench.repeats), ("bf16", "tf32")):
            if "resnet50" in self.bench.models:
                self.resnet50(precision, repeat)
            if precision == "bf16" and "functional" in self.bench.models:
                self.functional()

    def resnet50(self, precision: str, repeat: int) -> None:
        """Train it at both sizes; profile in the first repeat."""
        from benchmarks.step_profile import compare

        for pixels, contestant in itertools.product(self.sizes, (OURS, LOOP)):
            steps = self.training_steps(pixels, precision, contestant)
            self.run([step for step in steps if not (repeat and step.variables)])
        if len(self.profiles) == 2:
            print(compare(self.profiles[OURS], self.profiles[LOOP]), flush=True)
            self.profiles = {}


def _use(device: str) -> None:
    import torch

    hand_over({"sum": float(torch.ones(8, device=device).sum())})


def _run_ours(args: list[str]) -> None:
    from signs_lightning.__main__ import main

    if code := main(args):
        raise SystemExit(code)


def _run_loop(args: list[str]) -> None:
    from benchmarks.rivals import hand_written

    sys.argv = args
    hand_written.main()


def measure(
    bench: Bench, device: str = "cuda", limit: float = 400, ways: Iterable[str] = WAYS
) -> None:
    """Check and measure everything; say so where there is no GPU."""
    if device == "cuda" and not available():
        print("gpu: PyTorch sees no GPU here; nothing is measured", flush=True)
        return
    session = Session(bench, device, limit, ways)
    session.prepare()
    session.checks(bench.record.path.with_name("tests_gpu.txt"))
    session.measure()
