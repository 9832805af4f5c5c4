"""The filters that pack the chunks of HDF5 datasets: which are trusted, and where others come from.

HDF5 2.0.0, which h5py 3.16 brings, writes past its memory where a damaged file has n-bit or
scale-offset values; the corrections are in no package yet. So only what training data use is
unpacked by the process that trains.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from signs_lightning.runtime.escaping import quote_path

# Numbers of HDF5's own filters
DEFLATE, SHUFFLE, CHECKSUM, SZIP, NBIT, SCALE_OFFSET = 1, 2, 3, 4, 5, 6
LZF = 32000  # h5py's
FILTER_NAMES = {
    DEFLATE: "gzip",
    SHUFFLE: "shuffle",
    CHECKSUM: "checksum",
    SZIP: "szip",
    NBIT: "n-bit",
    SCALE_OFFSET: "scale-offset",
    LZF: "lzf",
}
UNCORRECTED = (2, 0, 0)  # the last version of which that is known
TRUSTED = (DEFLATE, SHUFFLE, CHECKSUM, LZF)  # besides hdf5plugin's
PLUGIN_FILTERS = {  # of the package hdf5plugin
    307: "bzip2",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
    32033: "HTJ2K",
}


def describe_library() -> str:
    """Return HDF5's version, and what it lacks."""
    text = f"HDF5 {h5py.version.hdf5_version}"
    if h5py.version.hdf5_version_tuple <= UNCORRECTED:
        text += " without the corrections of its scale-offset and n-bit filters: these are refused"
    return text


def list_filters(dataset: h5py.Dataset) -> list[int]:
    """Return the numbers of a dataset's filters, in the order of packing."""
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]


def describe_filters(dataset: h5py.Dataset) -> list[str]:
    """Return the names of a dataset's filters, in the order of packing."""
    properties = dataset.id.get_create_plist()
    names = FILTER_NAMES | PLUGIN_FILTERS
    described = []
    for code, _, _, text in map(properties.get_filter, range(properties.get_nfilters())):
        own_name = text.decode(errors="replace") or "filter"
        described.append(names.get(code, f"{own_name} ({code})"))
    return described


def is_trusted(code: int) -> bool:
    """Whether a filter of this number may unpack in the process that trains, if it is here."""
    return code in TRUSTED or code in PLUGIN_FILTERS


def can_unpack(code: int) -> bool:
    """Whether a filter is built in or installed; hdf5plugin registers its own when imported."""
    if h5py.h5z.filter_avail(code):
        return True
    if code not in PLUGIN_FILTERS:
        return False
    try:
        import hdf5plugin  # noqa: F401  # optional package
    except (ImportError, OSError):  # missing, or built for another system
        return False
    return h5py.h5z.filter_avail(code)


def explain_missing_filter(where: str, code: int) -> str:
    """Return the sentence for a dataset whose filter is not here."""
    if code in PLUGIN_FILTERS:
        return (
            f"{where} is packed by {PLUGIN_FILTERS[code]}, which the package hdf5plugin unpacks. "
            "Install it with `pip install hdf5plugin`, then try again."
        )
    return (
        f"{where} is packed by filter {code}, which is not built in, and not installed "
        "here. Unpack it where it was written, with `h5repack -f NONE`."
    )


def explain_refused_filter(where: str, dataset: h5py.Dataset, code: int) -> str:
    """Return the sentence for a dataset whose filter is not trusted."""
    if not h5py.h5z.filter_avail(code):
        return explain_missing_filter(where, code)
    return (
        f"{where} is packed by {FILTER_NAMES.get(code, f'filter {code}')}, which is not unpacked "
        f"here: a damaged file could crash HDF5 {h5py.version.hdf5_version} with it. "
        f"{explain_rewriting(dataset)}"
    )


def explain_rewriting(dataset: h5py.Dataset) -> str:
    """Return the sentence on how to write the file of a dataset with plain values."""
    if dataset.file.driver == "fileobj":  # inside a .keras file
        return "Load the file with Keras and save it again."
    path = Path(dataset.file.filename)
    output = quote_path(path.with_name(f"{path.stem}_plain.h5"))
    command = f"python -m signs_lightning convert {quote_path(path)} --output {output}"
    return f"Write it with plain values: `{command}`."
