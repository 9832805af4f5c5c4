"""The table of verbs behind `python -m signs_lightning` and `signs-lightning`."""

from __future__ import annotations

import importlib
import os
import select
import shlex
import sys
import traceback
from typing import NoReturn

import signs_lightning
from signs_lightning.commands.argv import name_first_file, rename_deprecated_options
from signs_lightning.commands.borrowed_options import RUNS
from signs_lightning.errors import InputError, UnnamedModelError, did_you_mean
from signs_lightning.runtime import quick_process
from signs_lightning.runtime.file_guard import guard_files
from signs_lightning.runtime.terminal import print_message

VERBS = {  # verb: module whose `main(verb, args)` runs it, what it does
    "fit": ("commands.fit_validate_test", "train a model, or resume a run"),
    "validate": ("commands.fit_validate_test", "loss and accuracy on the validation data"),
    "test": ("commands.fit_validate_test", "accuracy on a test file, over all and for each class"),
    "inspect": ("commands.inspect", "what a file is, what is in it, and what is wrong with it"),
    "convert": ("commands.convert", "pictures and arrays to HDF5 files, and HDF5 to pictures"),
    "summary": ("commands.summary", "the layers of a model as a table, or as a drawing"),
    "predict": ("commands.predict", "classes and probabilities for pictures or a file"),
    "import-keras": ("commands.import_keras", "a checkpoint or source from a Keras file"),
    "translate": ("commands.translate", "a folder that trains from a Keras notebook or script"),
    "import-safetensors": ("commands.import_safetensors", "a checkpoint from a safetensors file"),
    "verify": ("commands.verify", "whether two models are the same; where and why they differ"),
    "report": ("commands.report", "a run as a page: curves, mistakes and heat maps"),
    "export": ("commands.export", "a file for ONNX, PyTorch or Keras, or Python source"),
    "demo": ("commands.demo", "a web page that classifies pictures"),
}

SANDBOXED = {"inspect", "import-keras"}  # which read files in a process of their own

VERBS_ELSEWHERE = {
    **dict.fromkeys(("train", "resume", "finetune", "fine-tune"), "fit"),
    **dict.fromkeys(("evaluate", "eval"), "test"),
    **dict.fromkeys(("infer", "inference", "classify"), "predict"),
    **dict.fromkeys(("serve", "web", "app", "gui"), "demo"),
    **dict.fromkeys(("import", "load", "from-keras"), "import-keras"),
    **dict.fromkeys(("info", "check"), "inspect"),
    "plot": "summary",
    **dict.fromkeys(("port", "migrate", "from-notebook"), "translate"),
}
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
UNREAD = 141  # likewise, where what reads the output has ended, such as `| head`


def usage() -> str:
    """Return the help text with all verbs."""
    verbs = "\n".join(f"  {verb:<18} {text}" for verb, (_, text) in VERBS.items())
    first = "usage: python -m signs_lightning VERB [options]"
    last = (
        "Each verb explains its options with --help.\n--debug shows the traceback of every error."
    )
    return f"{first}\n\n{verbs}\n\n{last}"


def run() -> NoReturn:
    """Run the verb of the command line, in a process that does nothing else."""
    quick_process.begin()
    quick_process.leave(main(own_process=True))


def main(args: list[str] | None = None, own_process: bool = False) -> int:
    """Run the verb that the arguments begin with and return the exit code.

    Args:
        args: the command line when omitted.
        own_process: whether `run` began this process.
    """
    given = sys.argv[1:] if args is None else args
    args = [arg for arg in given if arg != "--debug"]
    if not args or args[0] in {"-h", "--help", "--help_all", "help"}:
        if args[1:2] and args[1] in VERBS:  # `help fit`
            return main([args[1], "--help", *args[2:]])
        print(usage())
        return 0
    if args[0] in {"--version", "-V", "version"}:
        from signs_lightning.data.hdf5_filters import describe_library  # start-up of verbs

        print(f"signs_lightning {signs_lightning.__version__}\n{describe_library()}")
        return 0
    verb, rest = args[0], args[1:]
    try:
        if verb not in VERBS:
            verbs, hint = ", ".join(VERBS), did_you_mean(VERBS_ELSEWHERE.get(verb, verb), VERBS)
            raise InputError(f"Unknown verb '{verb}'; there are {verbs}.{hint}")
        _check_working_folder()
        rest = name_first_file(verb, rename_deprecated_options(rest))
        if verb in RUNS:
            if _is_answered(verb, rest):
                return 0
            rest = ["--help" if arg == "--help_all" else arg for arg in rest]
        if own_process:
            guard_files([] if verb in SANDBOXED else rest)
        module = importlib.import_module(f"signs_lightning.{VERBS[verb][0]}")
        if own_process:
            quick_process.end_of_imports()
        return module.main(verb, rest)
    except InputError as error:
        if len(args) < len(given):
            traceback.print_exc()
        print_message(str(error), sys.stderr)
        if isinstance(error, UnnamedModelError):
            command = shlex.join(["python", "-m", "signs_lightning", *args])
            print(f"{command} {error.options}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the terminal's ^C keeps a line of its own
        return INTERRUPTED
    except BrokenPipeError:
        if not _is_unread():
            raise
        return UNREAD


def _check_working_folder() -> None:
    """Check that there is one: libraries end a process, or blame a file, where it is gone."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError(
            "The folder that this shell is in has been deleted. Change to one that exists (`cd`), "
            "and run the command again."
        ) from error


def _is_unread() -> bool:
    """Return whether nothing reads the output any more; then what is left of it goes nowhere."""
    watched, number = select.poll(), sys.stdout.fileno()
    watched.register(number, 0)
    if not any(event & select.POLLERR for _, event in watched.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True


def _is_answered(verb: str, args: list[str]) -> bool:
    """Print the schema or help that is asked for, or check a run's options."""
    from signs_lightning.commands.check_options import check_options  # start-up of other verbs
    from signs_lightning.commands.option_names import read_schema_text
    from signs_lightning.commands.run_help import find_topic, format_run_help

    if "--print_schema" in args:
        print(read_schema_text(), end="")
        return True
    if (topic := find_topic(args)) is not None:
        print(format_run_help(verb, topic).rstrip())
        return True
    check_options(verb, args)
    return False


if __name__ == "__main__":
    run()
