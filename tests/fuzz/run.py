"""The fuzzer by hand: `python -m tests.fuzz.run --cases 20000 --seed 1`.

Each input is a damaged copy of a sound file, the same for the same seed, kind and number. It must
work, or be refused in a sentence, within 10 seconds and 1 GiB beyond the imports, and leave nothing
behind. What does otherwise is kept with `--keep DIR`, listed, and makes the exit code 1. HDF5 data
and Keras files that crash or hang the C library are read once more by `inspect` and `import-keras`,
which must say so in a sentence.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads do not survive a fork
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.harness import OUTCOMES, Result, damaged, is_a_sentence, run_inputs
from fuzz.seeds import KINDS

GOOD = ("worked", "refused")
SURVIVED = ("crash", "hang", "memory")  # of a C library: what the guarded verbs are for


def main(args: list[str] | None = None) -> int:
    """Runs the fuzzer; returns 1 when an input did what none may."""
    options = _parser().parse_args(args)
    kinds = options.kinds.split(",")
    share = options.count // len(kinds)
    with tempfile.TemporaryDirectory(prefix="fuzz-seeds-") as folder:
        seeds = options.seeds or Path(folder)
        if not all((seeds / kind).is_dir() for kind in kinds):
            subprocess.run(
                [sys.executable, str(Path(__file__).with_name("seeds.py")), str(seeds), *kinds],
                check=True,
            )
        import fuzz.calls  # noqa: F401  # before the forks

        results = []
        for kind in kinds:
            indices = (
                [options.only]
                if options.only is not None
                else list(range(options.start, options.start + share))
            )
            results += _in_jobs(kind, indices, options.seed, seeds, options.jobs)
        bad = [result for result in results if result.outcome not in GOOD]
        verbs = [_through_the_verbs(result, options.seed, seeds) for result in bad]
        for result, (_, said) in zip(bad, verbs, strict=True):
            print(
                f"\n{result.kind} {result.index} ({result.seed}): {result.outcome}: "
                f"{result.detail.strip()}"
            )
            print("".join(f"  {verb}: {sentence}\n" for verb, sentence in said.items()), end="")
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                _, suffix, content = damaged(result.kind, result.index, options.seed, seeds)
                (options.keep / f"{result.kind}-{options.seed}-{result.index}{suffix}").write_bytes(
                    content
                )
    print(f"\n{'kind':<12}" + "".join(f"{name:>17}" for name in OUTCOMES))
    for kind in kinds:
        counts = Counter(result.outcome for result in results if result.kind == kind)
        print(f"{kind:<12}" + "".join(f"{counts[name]:>17,}" for name in OUTCOMES))
    if options.sentences:
        for kind in kinds:
            print(f"\n{kind}")
            shapes = Counter(
                _shape(result.detail)
                for result in results
                if result.kind == kind and result.outcome == "refused"
            )
            print(
                "\n".join(
                    f"{count:>6} {shape}" for shape, count in shapes.most_common(options.sentences)
                )
            )
    return 0 if all(good for good, _ in verbs) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases",
        "--count",
        dest="count",
        type=int,
        default=10_000,
        help="inputs in all, shared by the kinds",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--jobs", type=int, default=2, help="workers at a time")
    parser.add_argument("--start", type=int, default=0, help="the first input's number")
    parser.add_argument("--only", type=int, help="one input's number, of one kind")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="where inputs go that did what none may"
    )
    parser.add_argument(
        "--seeds", type=Path, metavar="DIR", help="where the sound files lie, or are to"
    )
    parser.add_argument(
        "--sentences",
        type=int,
        default=0,
        metavar="N",
        help="also lists the N most frequent sentences",
    )
    return parser


def _in_jobs(kind: str, indices: list[int], seed: int, seeds: Path, jobs: int) -> list[Result]:
    """Each job is a process of its own that forks the workers."""
    import pickle

    places = []
    for job in range(jobs):
        place = Path(tempfile.mkstemp(prefix="fuzz-results-")[1])
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                place.write_bytes(
                    pickle.dumps(list(run_inputs(kind, indices[job::jobs], seed, seeds)))
                )
            finally:
                os._exit(0)
        places.append((child, place))
    results = []
    for child, place in places:
        os.waitpid(child, 0)
        results += pickle.loads(place.read_bytes())
        place.unlink()
    return sorted(results, key=lambda result: result.index)


def _through_the_verbs(result: Result, seed: int, seeds: Path) -> tuple[bool, dict[str, str]]:
    """Whether an input that is none of the good may be so, and what the guarded verbs say of it."""
    from fuzz.calls import VERBS

    if result.outcome not in SURVIVED or result.kind not in VERBS:
        return False, {}
    _, suffix, content = damaged(result.kind, result.index, seed, seeds)
    said = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input{suffix}"
        path.write_bytes(content)
        for verb, call in VERBS[result.kind].items():
            said[verb] = call(path, Path(folder)).replace(folder, "")
    return all(is_a_sentence(sentence) for sentence in said.values() if sentence), said


def _shape(sentence: str) -> str:
    """A sentence without its numbers and names."""
    return re.sub(r"'[^']*'", "'…'", re.sub(r"\d[\d,.]*", "0", re.sub(r"/\S+", "FILE", sentence)))[
        :160
    ]


if __name__ == "__main__":
    sys.exit(main())
