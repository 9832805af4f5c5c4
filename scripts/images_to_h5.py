"""Convert folders of pictures to HDF5 files, and back: the verb `convert`, as it was.

python scripts/images_to_h5.py FOLDER --output DIR --size 64
python scripts/images_to_h5.py --from-h5 train_signs.h5 test_signs.h5 --output FOLDER

Deprecated: `python -m signs_lightning convert` does it, and takes more kinds of files. Here the
size is 64 and pictures are RGB where nothing else is said.
"""

from __future__ import annotations

import sys
from pathlib import Path

from signs_lightning.commands import convert
from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import printable


def main(args: list[str]) -> int:
    """Converts; returns the exit code, 0 also when single pictures were skipped."""
    parser = CommandParser("images_to_h5", (__doc__ or "").partition("\n")[0])
    parser.prog = "python scripts/images_to_h5.py"
    text = "holds a folder of pictures for each class"
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help=text)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of what is written")
    text = "height and width, or one number (default 64)"
    parser.add_argument("--size", nargs="+", default=["64"], metavar="PIXELS", help=text)
    parser.add_argument("--channels", default="3", help="1 for grey, 3 for RGB (default)")
    text = "share of the test file (default 0.1)"
    parser.add_argument("--test_fraction", default="0.1", metavar="P", help=text)
    parser.add_argument("--seed", default="0", help="of split and order (default 0)")
    text = "train_NAME.h5 and test_NAME.h5; the folder's name by default"
    parser.add_argument("--name", help=text)
    text = "the way back: these files become folders of PNGs"
    parser.add_argument("--from-h5", nargs="+", metavar="H5", help=text)
    options = parser.parse_args(args)
    if (options.folder is None) == (options.from_h5 is None):
        raise InputError("Name either a FOLDER of class folders or files with --from-h5.")
    print("Deprecated: use `python -m signs_lightning convert` instead.", file=sys.stderr)
    if options.from_h5:
        return convert.write_pictures(list(map(Path, options.from_h5)), Path(options.output), {})
    values = {name: getattr(options, name) for name in ("channels", "test_fraction", "seed")}
    values |= {"name": options.name} if options.name else {}
    given = [f"--{name}={value}" for name, value in values.items()]
    return convert.main(
        "convert",
        [f"--output={options.output}", *given, "--size", *options.size, "--", options.folder],
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(2)
