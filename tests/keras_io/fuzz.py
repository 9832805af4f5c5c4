"""Random Keras classifiers: `python -m tests.keras_io.fuzz --cases 1000 --seed 7`.

Each is built and saved by Keras 3 on JAX, half of them respelled as Keras 2 wrote them, and read
here. What is wrong or crashes is made smaller and printed as Python.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

os.environ["KERAS_BACKEND"] = "jax"  # read when keras is first imported
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiling takes the time

import logging
import warnings

import torch

from .random_models.draw_case import Case, draw_case
from .random_models.keras_side import forget_compiled
from .random_models.model_spec import code_of
from .random_models.run_case import OUTCOMES, PARTS, Result, run_case
from .random_models.shrink import shrink

BAD = ("wrong", "crash")
COLUMNS = (*OUTCOMES, "settled")


def run_cases(
    indices: range | list[int], seed: int, parts: tuple[str, ...] = PARTS
) -> Iterator[tuple[int, Case | None, dict[str, Result]]]:
    """Draw and run cases, each in its parts."""
    for index in indices:
        try:
            case = draw_case(seed, index)
        except ValueError as error:
            yield index, None, {"outputs": Result("void", f"drawn: {error}")}
            continue
        yield index, case, run_case(case, parts)
        if index % 50 == 49:
            forget_compiled()


def describe(case: Case) -> str:
    version = f", Keras {case.version}" if case.version else ""
    policy = f", {case.policy}" if case.policy != "float32" else ""
    return "\n".join([*code_of(case.model), f"# saved as {case.format}{version}{policy}"])


def fails_like(part: str, result: Result) -> Callable[[Case], bool]:
    """Return whether another case fails in the same way."""

    def fails(case: Case) -> bool:
        other = run_case(case, (part,)).get(part)
        return other is not None and _kind(other) == _kind(result)

    return fails


def _kind(result: Result) -> tuple[str, str]:
    return result.outcome, result.detail.split(":")[0] if result.outcome == "crash" else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--only", type=int, help="the number of one case")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--whole", action="store_true", help="print models as they were drawn")
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    parts = tuple(options.parts.split(","))
    start = time.monotonic()
    counts: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    indices = range(options.cases) if options.only is None else [options.only]
    for index, case, results in run_cases(indices, options.seed, parts):
        for part, result in results.items():
            counts[part].update([result.outcome, *(["settled"] * result.is_settled)])
            if result.outcome == "right":
                continue
            print(f"\n{options.seed}/{index} {part}: {result.outcome}: {result.detail}", flush=True)
            if result.outcome in BAD and case is not None:
                smaller = case if options.whole else shrink(case, fails_like(part, result))
                print(describe(smaller), flush=True)
        if options.minutes and time.monotonic() - start > 60 * options.minutes:
            break
    print(f"\n{'seed ' + str(options.seed):<12}" + "".join(f"{k:>9}" for k in COLUMNS))
    for part in PARTS:
        print(f"{part:<12}" + "".join(f"{counts[part][name]:>9}" for name in COLUMNS))
    print(f"{time.process_time():.0f} s of CPU time")
    return 1 if any(counts[part][name] for part in PARTS for name in BAD) else 0


if __name__ == "__main__":
    sys.exit(main())
