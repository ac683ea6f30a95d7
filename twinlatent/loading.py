"""Objects of a user's own code, by the text that names them: `my_detectors.py:build`, or `package.module:build`."""

import difflib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from twinlatent.errors import TwinlatentError, brief, listed

SUFFIX = ".py"
RUN = "__twinlatent_source__"
"""Attribute of a module made of a file: what was in it."""
MACHINERY = ("<frozen importlib", "<frozen runpy")
"""How the files of Python's own import begin, in a traceback."""
MOST_NAMED = 8
"""Names of a file that an error lists."""


def names_object(text: str) -> bool:
    r"""Whether text has the form FILE.py:NAME or MODULE:NAME; neither needs to exist.

    A colon of a drive does not count.

    Example:
        >>> [names_object(text) for text in ("a.py:build", "a.b:c", r"C:\a.py:c", r"C:\runs\mine", "runs/mine", "a.py")]
        [True, True, True, False, False, False]
    """
    home, colon, name = text.rpartition(":")
    return bool(colon) and _dotted(name) and (home.endswith(SUFFIX) or _dotted(home))


def load_object(text: str) -> object:
    """Import the file or module that text names, and return the object in it that text names.

    The file is run, so name none that you do not trust. Its folder (of a module: the current one) comes first where
    modules are looked for while it runs, and last afterwards, so that its functions can import their neighbours later.

    Args:
        text: FILE.py:NAME or MODULE:NAME; NAME may have dots, as in Class.method.

    Raises:
        TwinlatentError: text of another form; no such file, module or name; or the file cannot be run, in a line that
            names its exception and where that was raised.

    Example:
        >>> load_object("math:pi")
        3.141592653589793
    """
    if not isinstance(text, str) or not names_object(text):
        raise TwinlatentError(f"{text!r} names no object; give FILE.py:NAME or MODULE:NAME, such as "
                              "my_detectors.py:build")  # fmt: skip
    home, _, name = text.rpartition(":")
    module = _of_file(Path(home), text) if home.endswith(SUFFIX) else _of_module(home, text)
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise TwinlatentError(f"{home} has no {name}; {_instead(name, found)}")
        found = getattr(found, part)
    return found


def built(found: object, named: str) -> object:
    """The model that an object is or makes: a class or a function without required arguments is called.

    Everything else is returned as it is: a module, any other object, or a function of one argument, the images.

    Args:
        found: what `load_object` returned.
        named: what errors call it, such as my_detectors.py:build.

    Raises:
        TwinlatentError: a class that needs arguments, a function that needs more than the images, or one that fails.

    Example:
        >>> built(dict, "dict"), built(len, "len")
        ({}, <built-in function len>)
    """
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        return found
    needed = _required(found)
    if needed and inspect.isclass(found):
        raise TwinlatentError(f"{named} is a class that needs {_and(needed)}; give them defaults, or name a function "
                              "without arguments that makes one")  # fmt: skip
    if len(needed) > 1:
        raise TwinlatentError(f"{named} is a function that needs {_and(needed)}; name one that needs nothing and "
                              "returns the model, or one of the images alone")  # fmt: skip
    if needed or (not inspect.isclass(found) and _unknown_signature(found)):
        return found
    with _said(named):
        made = found()
    if made is None:
        raise TwinlatentError(f"{named} returns None; is its return missing?")
    return made


def files_run() -> tuple[Path, ...]:
    """The files that `load_object` has run here, in that order: what pickles of their objects need elsewhere."""
    found = ((name, getattr(module, "__file__", None)) for name, module in sys.modules.copy().items())
    return tuple(Path(file) for name, file in found if file and name == _name_of(Path(file)))


def sources_run() -> tuple[tuple[str, bytes], ...]:
    """The same files, as names and what was run of them, for machines that do not have them."""
    found = ((path, getattr(sys.modules[_name_of(path)], RUN, None)) for path in files_run())
    return tuple((str(path), source) for path, source in found if source is not None)


def run_sources(sources: Iterable[tuple[str, bytes]]) -> None:
    """`run_again` on another machine. What a file imports from its neighbours must be found there.

    Raises:
        TwinlatentError: one fails.
    """
    for name, source in sources:
        _run(Path(name), source, Path(name).name)


def run_again(files: Iterable[Path]) -> None:
    """Run files that `load_object` ran in another process, so that their objects can be unpickled here.

    Raises:
        TwinlatentError: one is gone or fails.
    """
    for path in files:
        _of_file(path, path.name)


def _name_of(path: Path) -> str:
    """What the module is called that is made of a file."""
    return f"{path.stem} of {path.parent}"


def _of_file(path: Path, text: str) -> ModuleType:
    """The file as a module of its own, run unless it has been as it stands; its objects are then the same ones."""
    if not path.is_file():
        near = _near(path.name, [other.name for other in path.parent.glob(f"*{SUFFIX}")])
        raise TwinlatentError(f"{text}: there is no file {path}{f'; did you mean {near[0]}?' if near else ''}")
    path = path.resolve()
    return _run(path, path.read_bytes(), text)


def _run(path: Path, source: bytes, text: str) -> ModuleType:
    """The source, run as the module of that file; modules it imports are looked for in the file's folder, too."""
    before = sys.modules.get(_name_of(path))
    if before is not None and getattr(before, RUN, None) == source:
        return before
    module = ModuleType(_name_of(path))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses and pickles look for it
    try:
        with _said(text), _first_on_path(path.parent):
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]  # else workers would be told to run it, too
        if before is not None:
            sys.modules[module.__name__] = before
        raise
    setattr(module, RUN, source)  # only of a file that ran to its end
    return module


def _of_module(name: str, text: str) -> ModuleType:
    with _said(text), _first_on_path(Path.cwd()):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                raise TwinlatentError(f"{text}: there is no module {error.name}; install it, run this from the folder "
                                      f"it is in, or name a file: PATH/FILE{SUFFIX}:NAME") from error  # fmt: skip
            raise


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """Within the block the folder's modules are found first; afterwards last, unless it was on the path already."""
    name = str(folder)
    known = name in sys.path
    sys.path.insert(0, name)
    try:
        yield
    finally:
        sys.path.remove(name)
        if not known:
            sys.path.append(name)


@contextmanager
def _said(text: str) -> Iterator[None]:
    """Say what a user's code raises within the block in one line that begins with the text and has the line."""
    try:
        yield
    except TwinlatentError as error:
        raise error if str(error).startswith(text) else TwinlatentError(f"{text}: {error}") from error
    except (Exception, SystemExit) as error:
        hint = "; do that under if __name__ == '__main__'" if isinstance(error, SystemExit) else ""
        raised = brief(f"{type(error).__name__}: {error}".rstrip(": "), most=200)
        raise TwinlatentError(f"{text} fails{_where(error)}: {raised}{hint}") from error


def _where(error: BaseException) -> str:
    """The line of the user's file that was running, or that Python cannot read."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" in line {error.lineno} of {Path(error.filename).name}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if frame.filename not in (__file__, import_module.__code__.co_filename)
              and not frame.filename.startswith(MACHINERY)]  # fmt: skip
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f" in line {own[-1].lineno} of {Path(own[-1].filename).name}" if own else ""


def _required(found: Callable[..., object]) -> list[str]:
    """Names of the arguments that a class or function cannot do without; none where Python does not know."""
    if _unknown_signature(found):
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(found).parameters.values()
    return [one.name for one in parameters if one.default is one.empty and one.kind not in kinds]


def _unknown_signature(found: Callable[..., object]) -> bool:
    try:
        inspect.signature(found)
    except ValueError:
        return True
    return False


def _instead(name: str, found: object) -> str:
    """What else an object has that could be meant."""
    offered = [one for one in vars(found) if not one.startswith("_")] if hasattr(found, "__dict__") else []
    near = _near(name.rpartition(".")[2], offered)
    if near:
        return f"did you mean {' or '.join(near)}?"
    home = getattr(found, "__name__", None)
    own = [one for one in offered if getattr(getattr(found, one), "__module__", None) in (home, None)
           and not inspect.ismodule(getattr(found, one))]  # fmt: skip
    return f"it has {listed(own or offered, MOST_NAMED)}" if offered else "it is empty"


def _near(name: str, others: list[str]) -> list[str]:
    return difflib.get_close_matches(name, others, n=2, cutoff=0.5)


def _dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
