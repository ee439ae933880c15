"""Find the variants of a package: one file or folder each, its name is its public name."""

from importlib import import_module
from pathlib import Path
from types import ModuleType


def names(package: ModuleType) -> list[str]:
    """Return the public names of a package's variants without importing them."""
    found = [
        path.parent.name if path.name == "__init__.py" else path.stem
        for folder in map(Path, package.__path__)
        for path in (*folder.glob("*.py"), *folder.glob("*/__init__.py"))
        if path.parent != folder or path.name != "__init__.py"
    ]
    return sorted(name for name in found if not name.startswith("_"))


def discover(package: ModuleType) -> dict[str, ModuleType]:
    """Import every variant of `package`, by name.

    Raises:
        ImportError: a variant's file is broken; the message names the file.
    """
    found = {}
    for name in names(package):
        try:
            found[name] = import_module(f"{package.__name__}.{name}")
        except Exception as error:
            folder = next(iter(package.__path__))
            raise ImportError(f"{folder}/{name}.py: {type(error).__name__}: {error}") from error
    return found


def variant_class(module: ModuleType) -> type:
    """Return the one public class that a variant's module defines.

    Raises:
        ImportError: the module defines no public class, or more than one.
    """
    classes = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and key[0] != "_"
    ]
    if len(classes) != 1:
        found = ", ".join(one.__name__ for one in classes) or "none"
        raise ImportError(f"{module.__file__}: one public class is allowed, found {found}")
    return classes[0]
