"""List the C libraries inside the installed packages, with their versions.

    python scripts/wheel_libraries.py

Advisory databases know Python packages; a hole in HDF5 or libjpeg is in whatever wheel brings it.
Each line is a package, a library and its version: the library's own word where the package tells
it, else that of its file's name, which is often one of the interface ("320" of HDF5).
"""

from __future__ import annotations

import importlib.metadata
import re
import zlib
from pathlib import PurePosixPath

FILE = re.compile(r"(lib\w[\w+]*?)(?:[-_.][0-9a-f]{8})*\.so(?:\.([\d.]+))?")
PILLOW = {
    "avif": "libavif", "freetype2": "FreeType", "harfbuzz": "HarfBuzz", "jpg_2000": "OpenJPEG",
    "libjpeg_turbo": "libjpeg-turbo", "libtiff": "libtiff", "littlecms2": "Little CMS",
    "webp": "libwebp", "zlib": "zlib",
}  # fmt: skip


def bundled_libraries(name: str) -> list[tuple[str, str]]:
    """Return the libraries among a package's files, and the versions in their names."""
    files = importlib.metadata.files(name) or ()
    matches = (FILE.fullmatch(PurePosixPath(file).name) for file in files)
    return sorted({(match[1], match[2] or "") for match in matches if match})


def told_versions() -> dict[str, list[tuple[str, str]]]:
    """Return what packages say of the libraries that are in them."""
    import h5py
    import numpy as np
    import torch
    from PIL import features

    pillow = {name: features.version(key) for key, name in PILLOW.items()}
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else ""
    return {
        "h5py": [("HDF5", h5py.version.hdf5_version)],
        "numpy": [(blas["name"], blas["version"])],
        "pillow": [(name, version) for name, version in pillow.items() if version],
        "python": [("zlib", zlib.ZLIB_RUNTIME_VERSION)],
        "torch": [("CUDA", torch.version.cuda or ""), ("cuDNN", str(cudnn))],
    }


def main() -> None:
    """Print a line for each library."""
    told = told_versions()
    names = {found.metadata["Name"].lower() for found in importlib.metadata.distributions()}
    for name in sorted(names | {"python"}):
        found = told.get(name, [])
        version = "" if name == "python" else importlib.metadata.version(name)
        if name != "python":
            found = [*found, *bundled_libraries(name)]
        for library, of_library in found:
            print(f"{name:<28} {version:<14} {library:<28} {of_library}".rstrip())


if __name__ == "__main__":
    main()
