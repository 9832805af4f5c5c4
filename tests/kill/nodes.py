"""Takes a process, a node or a disk from runs of several processes, looks at how the others end,
and goes on with the runs.

    python tests/kill/nodes.py --count 40 --seed 0

Two and four processes of one machine, and three machines as network namespaces, which only root can
make; elsewhere they are left out. Whatever is lost once the processes have met, every process that
is left ends within 60 seconds with a sentence and no traceback, and the run that goes on ends as
one that lost nothing, to the last bit. A slow disk ends nothing. The exit code is 1 when a single
run ends otherwise.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from kill.cluster import LIMIT, Cluster, Fault, Machines, run_cluster
from kill.run import can_mount
from kill.runs import differences, drawn_files, halves, run_folder

PHASES = ("setup", "step", "validation", "checkpoint")


@dataclass
class Place:
    """Where runs are tried, and what their command is."""

    cluster: Cluster
    command: list[str]
    whole: Path  # the run folder of the one that lost nothing


def fit(cluster: Cluster, file: Path) -> list[str]:
    """A run with some steps an epoch, and checkpoints inside it."""
    return [
        "fit", "--model", "SignsFunctional", "--data.train_file", str(file),
        "--data.val_fraction", "0.2", "--data.batch_size", "4", "--trainer.max_epochs", "3",
        "--checkpoint.every_n_steps", "2", "--name", "run", *cluster.options,
    ]  # fmt: skip


def draw_fault(place: Place, rng: random.Random, disks: bool) -> Fault:
    """What is lost, where and when."""
    kinds = ["kill"] * 5 + ["slow"]
    kinds += ["vanish"] * 4 if place.cluster.machines else []
    kinds += ["full"] * 2 if disks else []
    kind = rng.choice(kinds)
    phase = rng.choice(PHASES)
    rank = rng.randrange(place.cluster.count)
    return Fault(kind, phase, rank, pages=rng.randrange(1, 60))


def problems(place: Place, folder: Path, fault: Fault) -> list[str]:
    """Run with a fault and go on; return what is not as promised."""
    found = []
    ended = run_cluster(place.cluster, place.command, folder, fault)
    for rank, end in enumerate(ended):
        who = f"process {rank}"
        if fault.kind == "slow" or (fault.kind == "full" and not fault.happened(ended)):
            if end.code:
                found.append(f"{who} ended with {end.code}:\n{end.said}")
            continue
        if fault.kind == "kill" and rank == fault.rank:
            if end.code != -9:
                found.append(f"{who} was to be killed, and ended with {end.code}:\n{end.said}")
            continue
        if end.seconds > LIMIT:
            found.append(f"{who} was still there after {LIMIT} s:\n{end.said}")
        elif end.code != 2 or "Traceback" in end.said:
            found.append(f"{who} ended with {end.code}:\n{end.said}")
    last = run_folder(folder)
    found += halves(last) if last is not None else []
    resumable = last is not None and (
        (last / "config.yaml").exists() or (last / "checkpoints/last.ckpt").exists()
    )
    again = ["fit", "--ckpt_path", str(last)] if resumable else place.command
    for rank, end in enumerate(run_cluster(place.cluster, again, folder, None)):
        if end.code:
            found.append(f"resumed, process {rank} ended with {end.code}:\n{end.said}")
    last = run_folder(folder)
    return found or (differences(last, place.whole) if last else ["there is no run"])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=40, help="runs that lose something")
    parser.add_argument("--places", default="2,4,nodes", help="of 2, 4 and nodes")
    parser.add_argument("--faults", default="", help="such as kill:step:1,vanish:setup:2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, counts, bad = random.Random(options.seed), Counter[str](), 0
    scratch = Path(tempfile.mkdtemp(prefix="nodes."))
    machines = Machines(3) if "nodes" in options.places else None
    try:
        disks = can_mount(scratch)
        file = drawn_files(scratch / "data")["functional"]
        places = []
        for name in options.places.split(","):
            if name == "nodes" and machines is not None and machines.missing:
                print(f"nodes: left out, because {machines.missing}")
                continue
            cluster = Cluster(3, machines) if name == "nodes" else Cluster(int(name))
            command, folder = fit(cluster, file), scratch / f"whole_{name}"
            for end in run_cluster(cluster, command, folder, None):
                if end.code:
                    raise SystemExit(end.said)
            whole = run_folder(folder)
            assert whole is not None
            places.append(Place(cluster, command, whole))
        if not places:
            return 0
        given = [Fault.parse(text) for text in options.faults.split(",") if text]
        for number in range(len(given) or options.count):
            place = places[number % len(places)] if not given else places[0]
            fault = given[number] if given else draw_fault(place, rng, disks)
            folder = scratch / str(number)
            found = problems(place, folder, fault)
            counts[f"{fault.kind} in {fault.phase}"] += 1
            counts["different" if found else "as promised"] += 1
            bad += bool(found)
            for line in found:
                print(f"{number} ({place.cluster}, {fault}): {line}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        if machines is not None:
            machines.remove()
        shutil.rmtree(scratch, ignore_errors=True)
    print("; ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
