"""Checks the options of fit, validate and test before anything slow is imported.

Whatever the parser would take is left to it: the arguments of a class of the user's own, and those
of a callback or an optimizer.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from itertools import zip_longest
from pathlib import Path

from signs_lightning.commands.argv import (
    OPTION,
    GivenOptions,
    iterate_options,
    mapping_of,
    packaged_file,
    resolve_packaged_config,
)
from signs_lightning.commands.borrowed_options import (
    CONFIGS,
    MODEL_FILES,
    MODELS,
    find_advice,
    plain_name,
)
from signs_lightning.commands.option_names import (
    SCHEMA,
    SECTIONS,
    common_model_options,
    knows_trainer,
    model_names,
    model_options,
    options,
    takes_list,
)
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

NO_VALUE = ("print_config", "print_schema", "help", "h", "help_all")  # or one that is left out
SOURCE = re.compile(r"(?!/|\.\./)([\w./]+)\.py:(\w+)")  # as verify takes it
SECTION_KEYS = ("class_path", "init_args", "dict_kwargs", "help")  # of the section model


def check_options(verb: str, args: list[str]) -> None:
    """Check that every option is one of the verb's, as far as that is known without the parser.

    Args:
        verb: fit, validate or test.
        args: what follows it.

    Raises:
        InputError: one is not; the message has what to write.
    """
    if packaged_file(SCHEMA) is not None:
        _check_places(verb, args)
        _check_names(verb, args)
        _check_values_follow(args)
    names = {option.partition(".")[0] for _, option, _ in iterate_options(args)}
    if verb != "fit" and names.isdisjoint(("ckpt_path", "model", "config", "c", *NO_VALUE)):
        raise InputError(
            f"There is no trained model to {verb}. Name its checkpoint or run folder first, as in "
            f"`{verb} RUN`."
        )


def _check_names(verb: str, args: list[str]) -> None:
    """Check the names of the options, and the values that other trainers have."""
    ours = _model_options(args)
    known = options(verb) | (common_model_options() if ours is None else ours)
    for dashes, option, value in iterate_options(args):
        _check_value(verb, option, value)
        name = option.replace("+", "")
        if name.startswith(("model.", "trainer.")):
            name = name.replace(".init_args", "")
        is_section = name in ("data", "checkpoint")  # which is a configuration, and no data file
        if _is_known(name, known, ours is None) and not (is_section and not _is_config(value)):
            continue
        advice = find_advice(verb, name, value)
        if advice is None and dashes == "-":  # such as -cFILE
            continue
        advice = advice or _of_another_model(name, value) or _nearest(name, value, known)
        raise InputError(f"Unknown option '{dashes}{shorten(option)}'. {advice}")


def _model_options(args: list[str]) -> dict[str, str] | None:
    """Return the options of the model that the arguments name, or None if it is not ours."""
    args = [resolve_packaged_config(*pair) for pair in zip(["", *args], args, strict=False)]
    given = GivenOptions(args).replaced
    if "ckpt_path" in given:
        return None
    found: dict[str, str] = {}
    for name in given.get("model", ["SignsFunctional"]):
        bare = str(name).removeprefix("signs_lightning.")
        if bare not in model_names():
            return None
        found |= model_options(bare)
    return found


def _is_known(name: str, known: dict[str, str], any_model: bool) -> bool:
    section, *keys = name.split(".")
    if name in known or (section == "model" and (any_model or keys[0] in SECTION_KEYS)):
        return True
    if section == "trainer" and keys and not knows_trainer():
        return True
    beginnings = (".".join([section, *keys[:count]]) for count in range(len(keys)))
    return any(one in known for one in beginnings if one not in (*SECTIONS, "model"))


def _is_config(value: str) -> bool:
    return value[:1] in ("", "{") or value.endswith(CONFIGS) or bool(mapping_of(value))


def _of_another_model(name: str, value: str) -> str | None:
    """Return what to write for an option that only another of our models takes."""
    model = next((model for model in model_names() if name in model_options(model)), None)
    given = shlex.quote(value) if value else "VALUE"
    return model and f"{model} has it. Write --model {model} --{name} {given}"


def _nearest(name: str, value: str, known: dict[str, str]) -> str:
    """Return the option that is meant: by its last part alone, abbreviated, or misspelt."""
    section, last = name.rpartition(".")[0], plain_name(name)
    candidates: dict[str, list[str]] = {}
    for option in known:
        if len(option) > 1 and option != "model.help":
            candidates.setdefault(plain_name(option), []).append(option)
    if last not in candidates or (section and not any("." in one for one in candidates[last])):
        if section:  # misspelt in another section is not likely
            inside = f"{section}."
            candidates = {
                key: found for key, found in candidates.items() if found[0].startswith(inside)
            }
        longer = [key for key in candidates if len(last) > 2 and key.startswith(last)]
        beside = [key for key in candidates if candidates[key][0].rpartition(".")[0] == section]
        near = longer if len(longer) == 1 else difflib.get_close_matches(last, beside, 1, 0.75)
        near = near or difflib.get_close_matches(last, candidates, 1, 0.6)
        if not near:
            return "See --help_all for all of them."
        (last,) = near
    found = candidates[last]
    option = next((one for one in found if one.rpartition(".")[0] == section), found[0])
    written = f"--{option} {shlex.quote(value) if value else 'VALUE'}"
    written = written if option.partition(".")[0] not in NO_VALUE else f"--{option}"
    return f"Write {written}" if plain_name(name) == last else f"Did you mean {written}?"


def _check_values_follow(args: list[str]) -> None:
    """Check that every option has a value, but for the short -cFILE."""
    for word, following in zip_longest(args, args[1:]):
        match = OPTION.fullmatch(word)
        if match is None or match[3] or (match[1] == "-" and match[2] != "c"):
            continue
        is_alone = following is None or OPTION.fullmatch(following) is not None
        if is_alone and match[2] not in NO_VALUE and not match[2].endswith(".help"):
            raise InputError(f"{word} has no value. Write one after it.")


def _check_value(verb: str, option: str, value: str) -> None:
    if option == "model" and (value.endswith(MODEL_FILES) or is_run(value)):
        advice = find_advice(verb, "checkpoint", value)
        raise InputError(f"--model is {shorten(value)}, expected a model's name. {advice}")
    if option == "model" and (match := SOURCE.fullmatch(value)):
        path = match[1].removeprefix("./").replace("/", ".")
        raise InputError(f"Unknown model '{shorten(value)}'. Write --model {path}.{match[2]}")
    if option == "model" and value.lower() in MODELS and value not in model_names():
        raise InputError(f"Unknown model '{shorten(value)}'. Write --model {MODELS[value.lower()]}")
    if option in SECTIONS and option in mapping_of(value):
        raise InputError(
            f"--{option} is {shorten(value)}, which has options of a whole run. Write --config "
            f"{shlex.quote(shorten(value))}"
        )
    if option in ("config", "c") and not os.path.exists(value) and (name := find_config(value)):
        raise InputError(f"No such file: {shorten(value)}. Write --config {name}")
    if option in ("config", "c") and value.startswith("configs/") and not os.path.exists(value):
        schema = packaged_file(SCHEMA)
        files = schema.parent.rglob("*.yaml") if schema else ()
        names = {x.stem: f"configs{x.as_posix().rpartition('configs')[2]}" for x in files}
        is_missing = packaged_file(value) is None
        near = [names[x] for x in difflib.get_close_matches(Path(value).stem, names, 1)]
        if is_missing and near:
            raise InputError(f"No such file: {shorten(value)}. Did you mean --config {near[0]}?")


def is_run(word: str) -> bool:
    """Return whether a word names the folder of a run."""
    return os.path.isdir(f"{word}/checkpoints")  # False for a text too long to be a name


def find_config(word: str) -> str | None:
    """Return `configs/NAME.yaml` for a name that stands for one of the package."""
    names = (f"configs/{Path(word).stem}.yaml", f"configs/recipes/{Path(word).stem}.yaml")
    is_name = re.fullmatch(r"(recipes/)?\w+(\.ya?ml)?", word) is not None
    return next((name for name in names if is_name and packaged_file(name) is not None), None)


def _check_places(verb: str, args: list[str]) -> None:
    """Check that every word is an option or the value of one."""
    has_model = verb == "fit" or any(word.startswith("--ckpt_path") for word in args)
    before, values = "", [""]  # the last option, and the words since
    for word in args:
        match = OPTION.fullmatch(word)
        if match is not None:
            before, values = match[2], [match[4]] if match[3] else []
            continue
        values.append(word)
        is_value = before and (len(values) == 1 or before in NO_VALUE or before.endswith(".help"))
        if not is_value and word != "--":
            advice = _place(verb, word)
            if takes_list(before.rstrip("+")):
                listed = shlex.quote(f"[{','.join(values)}]")
                advice = f"For several values write --{before} {listed}"
                if not has_model:
                    advice = f"Name a model first, as in {verb} RUN. {advice}"
            raise InputError(f"'{shorten(word)}' has no option before it. {advice}")


def _place(verb: str, word: str) -> str:
    """Return what to write for a word that no option takes."""
    path, quoted = Path(word), shlex.quote(word)
    option, equals, value = word.partition("=")
    if equals and OPTION.fullmatch(f"--{option}") and not os.path.exists(word):
        known = options(verb) | common_model_options()
        if option in known and option not in SECTIONS:
            return f"Write --{word}"
        return find_advice(verb, option, value) or _nearest(option, value, known)
    if word == "help":
        return f"Write {verb} --help"
    name = None if os.path.exists(word) else find_config(word)
    if name is not None or path.suffix in CONFIGS:
        return f"Write --config {name or quoted}"
    if word in model_names() or word.lower() in MODELS:
        return f"Write --model {MODELS.get(word.lower(), word)}"
    if verb != "fit":
        return f"Write --data.{'test' if verb == 'test' else 'val'}_file {quoted}"
    if path.suffix == ".ckpt" or is_run(word):
        return f"To resume it, write --ckpt_path {quoted}"
    model = f"--model FromKeras --model.path {quoted}"
    if path.suffix == ".keras":
        return f"Write {model}"
    data = f"Write --data.train_file {quoted}"
    return f"{data}, or {model} for a model of Keras" if path.suffix == ".h5" else data
