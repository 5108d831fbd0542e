"""Bundles Vega, Vega-Lite and vega-embed as one script for all pages, once per version."""

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path

from measurebench.core.digests import digest_json
from measurebench.core.files import write_atomically
from measurebench.core.packages import installed_version
from measurebench.core.paths import cache_folder

__all__ = ["SNIPPET", "VEGA_LITE", "bundle_path", "javascript_bundle"]

VEGA_LITE = "6.4"
SNIPPET = "window.vegaEmbed = vegaEmbed; window.vega = vega; window.vegaLite = vegaLite;"


@cache
def javascript_bundle() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script that defines them on ``window``.

    Bundling takes two seconds, so the script is kept in the cache folder. Its name holds the version of
    vl-convert-python and a digest of the request. A damaged file is made again; where the folder cannot be written
    to, the script is bundled each time.
    """
    path = bundle_path()
    kept = _read(path)
    if kept is not None:
        return kept
    bundle = _bundled()
    _keep(path, bundle)
    return bundle


def bundle_path() -> Path:
    """Return where the script is kept for the installed version of vl-convert-python."""
    asked = digest_json([SNIPPET, VEGA_LITE])
    return cache_folder() / "pages" / f"vl-convert-{installed_version('vl-convert-python')}-{asked}.js"


def _bundled() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(SNIPPET, vl_version=VEGA_LITE)
    return bundle.replace("</script", "<\\/script")


def _read(path: Path) -> str | None:
    """Return a kept script whose first line is the SHA-256 of the rest, None for anything else."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return content.decode() if hashlib.sha256(content).hexdigest().encode() == digest else None


def _keep(path: Path, bundle: str) -> None:
    """Keep the script where that is possible: a page must come out on a machine without a home, too."""
    content = bundle.encode()
    with suppress(OSError):
        write_atomically(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
