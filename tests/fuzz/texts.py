"""Sound texts and ways to damage them: config.yaml, command lines, notebooks."""

from __future__ import annotations

import importlib
import random
from typing import Any

CONFIG = """format_version: 5
seed_everything: 1
name: hands
ckpt_path: null
model:
  class_path: SignsFunctional
  init_args:
    lr: 0.001
    optimizer:
      class_path: torch.optim.SGD
      init_args: {momentum: 0.9}
    loss: {class_path: torch.nn.CrossEntropyLoss, init_args: {label_smoothing: 0.1}}
    metrics:
    - class_path: torchmetrics.classification.MulticlassF1Score
      init_args: {num_classes: 6}
    augmentation: [{class_path: torchvision.transforms.v2.RandomHorizontalFlip}]
    num_classes: 6
    image_size: [64, 64, 3]
    class_names: [none, one, two, three, four, five]
trainer:
  max_epochs: 2
  precision: 32-true
  max_time: {hours: 1}
  callbacks:
  - class_path: lightning.pytorch.callbacks.EarlyStopping
    init_args: {monitor: val_loss, patience: 3}
  - class_path: lightning.pytorch.callbacks.ModelCheckpoint
    init_args: {dirpath: kept, filename: '{epoch}-{val_loss:.2f}'}
  logger:
    class_path: lightning.pytorch.loggers.CSVLogger
    init_args: {save_dir: logs, name: hands}
data: {train_file: train.h5, val_fraction: 0.2, batch_size: 8, image_size: null}
checkpoint: {monitor: val_loss, mode: min}
"""
PARTS = (  # of YAML and of class paths
    "!!python/object/apply:os.system ['touch owned']", "&a [*a]", "*nothing", "!!binary x",
    "!!timestamp 2020-13-45", "{" * 300, "[" * 300, "? {a: b}", "\t", "\0", "\x1b[31mred", "- - -",
    "<<: {x: 1}", "%YAML 9.9", "--- --- ---", "|\n  x", "1e999", "0o9", "~", "evil.Callback",
    "lightning.pytorch.callbacks.LambdaCallback", "os.system", "builtins.eval", "../../x",
    "/etc/passwd", "http://127.0.0.1:9/x", "${HOME}", "{a.__class__}", "\u202e", "x" * 3000,
)  # fmt: skip
COMMANDS = (
    "fit --config configs/signs_functional.yaml --trainer.max_epochs 2 --model.lr 0.01",
    "fit --ckpt_path run --trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor val_loss",
    "fit --model SignsResNet50 --data.val_fraction 0.2 --trainer.logger CSVLogger",
    "fit --model mine.Net --model.network_args.depth 3 --data.resize bilinear --data.fit crop",
    "validate --ckpt_path run --data.val_file val.h5", "test run --data.test_file test.h5",
    "inspect a.h5 b.ckpt --data.follow_links true", "summary --ckpt_path run",
    "summary --model HappySequential --model.num_classes 2", "predict run a.png b.png --top 3",
    "predict --ckpt_path run --images a.png --output p.csv", "report run --output page",
    "export run --format onnx --output m.onnx", "export --ckpt_path run --format source -o m.py",
    "import-keras m.h5 --output m.ckpt --scale 255", "import-safetensors m.safetensors --model X",
    "translate n.ipynb --output folder --fact x=3", "verify a.ckpt b.keras --images x.h5",
    "convert folder --output d.h5 --image_size 64", "--version", "help fit", "fit --help model",
)  # fmt: skip
WORDS = (
    "--", "-", "=", "--=", "--x=", "--config", "--config={}", "--config=[", "--config={a: {b: [",
    "--model", "--model=", "--model.", "--model=os.system", "--model=..", "--trainer",
    "--trainer=5",
    "--trainer.callbacks=[", "--trainer.callbacks+=", "--trainer.max_epochs=nan", "--data=",
    "--data.train_file=\x1b[31m", "--data.batch_size=-1", "--data.batch_size=1e99", "--name=../x",
    "--ckpt_path", "--ckpt_path=", "--ckpt_path=/dev/null", "--ckpt_path=\udc80", "--help", "-h",
    "--debug", "--print_schema", "--print_config", "--seed_everything=x", "--model.lr=x", "\0", "",
    "%s", "{}", "${HOME}", "~", "*", "x" * 5000, "手", "\x07", "--output=/", "--output=",
    "--top=-1",
    "--format=", "--scale=x", "--image_size=0x0", "--images", "9" * 400, "null", "@x", "!x",
)  # fmt: skip


def mutate_yaml(content: bytes, rng: random.Random) -> bytes:
    """A configuration with a value of another kind, or a line of YAML that nobody writes."""
    import yaml

    from fuzz.mutations import VALUES, change_tree

    if rng.random() < 0.6:
        tree = change_tree(yaml.safe_load(content), rng, (*VALUES, *PARTS, 3.5, {1: 2}))
        return yaml.safe_dump(tree, allow_unicode=True).encode()
    lines = content.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, part = rng.randrange(len(lines)), rng.choice(PARTS)
        line = lines[place]
        head = line.partition(":")[0]
        lines[place] = rng.choice((f"{head}: {part}", f"{line}{part}", part, f" {line}", line * 2))
    return "\n".join(lines).encode()


def mutate_command(content: bytes, rng: random.Random) -> bytes:
    """A command line, a word a line, with words dropped, doubled, cut or put in."""
    words: list[str] = rng.choice(COMMANDS).split()
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        place, way = rng.randrange(len(words) + 1), rng.randrange(6)
        inside = min(place, len(words) - 1)
        if way <= 2 or not words:
            words.insert(place, rng.choice(WORDS))
        elif way == 3:
            del words[inside]
        elif way == 4:
            words[inside] += rng.choice(WORDS)
        else:
            words[inside] = words[inside][: rng.randint(0, len(words[inside]))]
    return "\n".join(words).encode("utf-8", "surrogatepass")


def mutate_notebook(content: bytes, rng: random.Random) -> bytes:
    """A notebook of those that translate/fuzz_notebooks.py draws."""
    notebooks: Any = importlib.import_module("translate.fuzz_notebooks")
    return notebooks.mutate(rng)


def words_of(content: bytes) -> list[str]:
    """The command line of an input; none that serves a page or trains."""
    text: Any = content.decode("utf-8", "surrogateescape")
    words = [word.replace("\0", "␀") for word in text.split("\n")]  # no system passes on a NUL
    if words and words[0] in ("fit", "validate", "test"):
        words += ["--data.train_file=nothing.h5", "--data.test_file=nothing.h5"]
    return ["inspect", *words[1:]] if words[:1] == ["demo"] else words
