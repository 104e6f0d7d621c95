"""Where the recipes lie: in a checkout next to the package, and inside it when Lobes is installed from a wheel."""

from __future__ import annotations

from pathlib import Path

from lobes.errors import UserError, did_you_mean

SCRIPT, FILES = "train.py", "hparams"  # of a recipe: what trains, and the folder of its YAML files
SHARED = "hparams_shared"
_PACKAGE = Path(__file__).resolve().parents[1]


def recipes_folder() -> Path:
    """Folder with a folder for each data set: `recipes` of a checkout, or the one inside an installed package.

    Example
    -------
    >>> (recipes_folder() / "custom" / "train.py").is_file()
    True
    """
    return _folder("recipes")


def shared_folder() -> Path:
    """Folder of the YAML files on which recipes are based.

    Example
    -------
    >>> (shared_folder() / "separation.yaml").is_file()
    True
    """
    return _folder(SHARED)


def results_folder() -> Path:
    """Folder of what recipes and their other scripts make: of a checkout, else in the current folder.

    Example
    -------
    >>> results_folder().name
    'results'
    """
    folder = recipes_folder()
    return Path("results") if folder.parent == _PACKAGE else folder.parent / "results"


def results_page(recipe: Path) -> Path:
    """The page in which the scripts of a recipe's folder keep their tables: RESULTS.md in it.

    An installed package is no place to write to: its recipes have the page below `results` in the current folder.

    Example
    -------
    >>> results_page(recipes_folder() / "PolSESS").parts[-2:]
    ('PolSESS', 'RESULTS.md')
    """
    installed = recipe.parent == _PACKAGE / "recipes"
    return (results_folder() / recipe.name if installed else recipe) / "RESULTS.md"


def script_of(recipe_file: Path) -> Path:
    """The train.py of a recipe file, which lies in `hparams` next to it.

    Example
    -------
    >>> script_of(Path("recipes/custom/hparams/spmamba.yaml")).parts[-2:]
    ('custom', 'train.py')
    """
    return recipe_file.absolute().parent.parent / SCRIPT


def recipe_files(folder: Path) -> list[Path]:
    """The YAML files of a recipe's folder, sorted by name.

    Example
    -------
    >>> [path.name for path in recipe_files(recipes_folder() / "custom")]
    ['spmamba.yaml']
    """
    return sorted((folder / FILES).glob("*.yaml"))


def recipe_folder(word: str) -> Path:
    """The folder of a recipe by the name of its data set, such as PolSESS.

    Raises
    ------
    UserError
        If there is none of this name.

    Example
    -------
    >>> recipe_folder("custom").name
    'custom'
    """
    folders = all_recipes()
    if word not in folders:
        known = ", ".join(folders) or "none"
        raise UserError(f"no such recipe: {word}. There are {known}.{did_you_mean(word, folders)}")
    return folders[word]


def all_recipes() -> dict[str, Path]:
    """The folders of all recipes by the names of their data sets, sorted.

    Example
    -------
    >>> "PolSESS" in all_recipes()
    True
    """
    return {path.parent.name: path.parent for path in sorted(recipes_folder().glob(f"*/{SCRIPT}"))}


def find_recipe_file(word: str) -> Path:
    """The recipe file that a word means: a path, or RECIPE/FILE of a folder here or else of Lobes.

    `hparams` may be left out of the path, and so may the ending.

    Raises
    ------
    UserError
        If there is no such file, or no train.py that belongs to it; the message names what there is.

    Example
    -------
    >>> find_recipe_file("custom/spmamba.yaml").parts[-3:]
    ('custom', 'hparams', 'spmamba.yaml')
    """
    given = Path(word)
    with_ending = [given, given.with_name(f"{given.name}.yaml")] if given.name else []
    for root in (Path(), recipes_folder()):
        for near in (root / path for path in with_ending):
            for path in (near, near.parent / FILES / near.name):
                if path.is_file():
                    return _with_script(path)
    raise UserError(f"no such recipe file: {word}. {_known(given)}")


def name_of(recipe_file: Path) -> str:
    """What `lobes train` takes for a recipe file: RECIPE/FILE.yaml for one of Lobes, else the path.

    Example
    -------
    >>> name_of(find_recipe_file("custom/spmamba.yaml")), name_of(Path("mine/hparams/a.yaml"))
    ('custom/spmamba.yaml', 'mine/hparams/a.yaml')
    """
    folder = recipe_file.parent.parent
    return f"{folder.name}/{recipe_file.name}" if folder.parent == recipes_folder() else str(recipe_file)


def _with_script(path: Path) -> Path:
    if not script_of(path).is_file():
        raise UserError(
            f"{path}: expected a recipe file in <recipe>/{FILES}, with a {SCRIPT} in <recipe>. "
            "Copy a whole recipe: lobes recipe copy NAME FOLDER."
        )
    return path


def _known(given: Path) -> str:
    """What there is in the place of a path that leads nowhere."""
    folders = all_recipes()
    name = given.parent.name or given.name
    if name in folders:
        files = [f"{name}/{path.name}" for path in recipe_files(folders[name])]
        return f"There are {', '.join(files)}.{did_you_mean(f'{name}/{given.name}', files)}"
    return f"Expected a path or RECIPE/FILE.yaml, with RECIPE one of {', '.join(folders) or 'none'}." + did_you_mean(
        name, folders
    )


def _folder(name: str) -> Path:
    """A folder inside the package, which only an installed one has, or next to it."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
