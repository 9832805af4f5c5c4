"""The filters that pack the chunks of HDF5 datasets: their names, and where others come from."""

from __future__ import annotations

import h5py

# Numbers of HDF5's own filters
DEFLATE, SHUFFLE, CHECKSUM, SZIP, NBIT, SCALE_OFFSET = 1, 2, 3, 4, 5, 6
FILTER_NAMES = {
    DEFLATE: "gzip",
    SHUFFLE: "shuffle",
    CHECKSUM: "checksum",
    SZIP: "szip",
    NBIT: "nbit",
    SCALE_OFFSET: "scale-offset",
    32000: "lzf",
}
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
