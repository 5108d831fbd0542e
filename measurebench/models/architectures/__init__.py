"""Finds architectures: by a registered name, as ``module:callable``, or as ``file.py:callable`` beside the manifest.

A new architecture is one file in this folder, with a function that is decorated with ``architecture``, takes
``n_classes`` and ``in_channels``, and returns a network without normalisation. Third-party packages use the same
decorator and declare the module as an entry point in the group ``measurebench.architectures``.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError, MeasurebenchError, ModelError, near_names
from measurebench.core.importing import import_by_name, import_file, import_submodules
from measurebench.core.origins import origin_of
from measurebench.core.plugins import load_entry_points
from measurebench.core.reading import kind_of
from measurebench.core.registry import Registry
from measurebench.core.specs import ModelSpec
from measurebench.core.trust import demand_word
from measurebench.models.identity import architecture_file, named_code

__all__ = [
    "REGISTRY",
    "Architecture",
    "Builder",
    "all_architectures",
    "architecture",
    "build",
    "built_in",
    "find",
    "parameters_of",
]

Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class Architecture:
    """A registered architecture: its name, the function that builds it, its paper, and its input [C, H, W].

    ``image_shape`` is the shape of the images that the architecture was designed for.
    """

    name: str
    build: Builder
    source: str
    image_shape: tuple[int, int, int]


REGISTRY: Registry[Architecture] = Registry("architecture")


def architecture(
    name: str, *, source: str = "", image_shape: tuple[int, int, int] = (3, 32, 32)
) -> Callable[[Builder], Builder]:
    """Register a function ``(n_classes, in_channels, ...) -> network`` under a name such as ``resnet-18``.

    ``image_shape`` is [C, H, W] of the images that it was designed for. The decorator raises BadInputError for a name
    that is taken.
    """

    def register(build: Builder) -> Builder:
        REGISTRY.add(name, Architecture(name, build, source, image_shape), origin_of(build))
        return build

    return register


def all_architectures() -> Registry[Architecture]:
    """Return every registered architecture by name: the built-in ones and those of third-party packages.

    >>> all_architectures()["resnet-18"].image_shape
    (3, 32, 32)
    """
    import_submodules(__name__, __path__)
    load_entry_points("architectures", REGISTRY, lambda item: str(item.name))
    return REGISTRY


def built_in() -> Mapping[str, Architecture]:
    """Return the architectures that are part of measurebench, by name."""
    known = all_architectures()
    return {name: item for name, item in known.items() if known.origin(name).is_built_in}


def find(name: str) -> Architecture | None:
    """Return the registered architecture that a name means, or None; spelling is forgiven.

    ``WRN-28-10`` and ``wrn_28_10`` are the same, and every depth and width of a wide residual network is known.

    >>> find("WRN_40_2").name
    'wrn-40-2'
    """
    known = all_architectures()
    if name in known:
        return known[name]
    spelling = _plain(name)
    if wide := re.fullmatch(r"(wrn|wideresnet)-?(\d+)-(\d+)", spelling):
        from measurebench.models.architectures.wide_resnet import wide_resnet_of

        return wide_resnet_of(int(wide[2]), int(wide[3]))
    aliases = {_plain(item).replace("-", ""): item for item in known}
    match = aliases.get(spelling.replace("-", ""))
    return known[match] if match else None


def _plain(name: str) -> str:
    """Lower case, with one kind of separator."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def build(spec: ModelSpec, n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return the network of a specification, with fresh weights and no normalisation.

    A registered architecture is given ``n_classes`` and ``in_channels`` unless ``architecture_kwargs`` say otherwise;
    a callable of the user is given ``architecture_kwargs`` alone. Raises BadInputError where the specification names
    no architecture or an unknown one, and ModelError where building it fails.
    """
    name = spec.architecture
    if not name:
        raise BadInputError(spec.reference, "an architecture", "none", "name one with --architecture")
    if found := None if ":" in name else find(name):
        kwargs = {"n_classes": n_classes, "in_channels": in_channels} | dict(spec.architecture_kwargs)
        return _called(found.build, kwargs, name)
    return _called(_user_callable(name, spec), dict(spec.architecture_kwargs), name)


def _called(builder: Builder, kwargs: dict[str, Any], name: str) -> nn.Module:
    """Call a builder; errors name the architecture."""
    try:
        network = builder(**kwargs)
    except MeasurebenchError:
        raise
    except Exception as error:  # the user's code: whatever it raises belongs to this model
        raise ModelError(
            f"architecture {name!r}: expected a network from {name}({_arguments(kwargs)}), "
            f"got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"architecture {name!r}: expected a torch.nn.Module, got {type(network).__name__}; "
            "name the class or a function that returns the network"
        )
    return network


def _arguments(kwargs: dict[str, Any]) -> str:
    """Write keyword arguments as in a call."""
    return ", ".join(f"{key}={value!r}" for key, value in kwargs.items())


def _user_callable(name: str, spec: ModelSpec) -> Builder:
    """Import ``module:callable`` or ``file.py:callable``, with the user's word where a manifest names it."""
    demand_word(named_code([spec]), spec.trust_code)
    place, colon, attribute = name.rpartition(":")
    if not colon:
        known = list(all_architectures())
        hint = near_names(_plain(name), known) or "`measurebench models architectures` lists the names"
        raise BadInputError(
            f"architecture of {spec.id}",
            "a registered name, module:callable or file.py:callable",
            repr(name),
            hint,
        )
    module = _module_from_file(spec) if place.endswith(".py") else import_by_name(place, f"architecture {name!r}")
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise BadInputError(
                f"architecture of {spec.id}",
                f"a callable {attribute!r} in {place}",
                "no such name",
                near_names(attribute, names) or f"it defines {', '.join(names[:8]) or 'nothing callable'}",
            )
        target = getattr(target, part)
    if not callable(target):
        raise BadInputError(f"architecture of {spec.id}", f"{name} to be callable", type(target).__name__)
    return target  # type: ignore[no-any-return]


def _module_from_file(spec: ModelSpec) -> Any:
    """Import a Python file, whose folder is searched for what it imports itself."""
    path = architecture_file(spec)
    if path is None or not path.is_file():
        got = "no such file" if path is None else kind_of(path)
        raise BadInputError(f"architecture of {spec.id}", f"the file {path}", got)
    try:
        return import_file(path, f"measurebench_user_{digest_file(path)[:16]}")
    except Exception as error:
        raise ModelError(
            f"architecture of {spec.id}: expected {path} to import, got {type(error).__name__}: {error}"
        ) from error


def parameters_of(builder: Builder) -> list[str]:
    """Return the names of a builder's own parameters, besides ``n_classes`` and ``in_channels``.

    >>> parameters_of(all_architectures()["digits-plain"].build)
    ['width']
    """
    names = list(inspect.signature(builder).parameters)
    return [name for name in names if name not in ("n_classes", "in_channels")]
