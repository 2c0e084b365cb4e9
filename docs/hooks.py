"""What the site needs of mkdocs beyond its plugins: our code and words on a page, and formulas.

Lines of a page that are taken from a file when the site is built; a name that is no longer there
stops the build:

    {{ source("kapps/losses/gaussians.py", "gaussian_kl") }}    a function, without its docstring
    {{ docstring("kapps/evaluation/verdicts/curves.py") }}      what a module says of itself
    {{ constants("kapps/evaluation/verdicts/curves.py") }}      its thresholds, with their comments
    {{ reference("kapps/models") }}                             all public names of a package

Formulas become MathML, which browsers draw by themselves: no script has to be fetched.
"""

import ast
import html
import pathlib
import re
import textwrap

from latex2mathml.converter import convert

ROOT = pathlib.Path(__file__).parents[1]
LINE = re.compile(r"^\{\{ (\w+)\((.+)\) \}\}$", re.M)
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</(?:span|div)>', re.S
)


def on_page_markdown(markdown: str, **_) -> str:
    """Called by mkdocs for every page, before it is rendered."""
    made = {
        "source": block,
        "docstring": docstring,
        "constants": constants,
        "reference": reference,
    }
    return LINE.sub(lambda found: made[found[1]](*ast.literal_eval(f"({found[2]},)")), markdown)


def on_page_content(html_text: str, **_) -> str:
    """Called by mkdocs for every page, when it is rendered."""
    return FORMULA.sub(formula, html_text)


def formula(found: re.Match) -> str:
    """A formula of LaTeX in MathML."""
    text = html.unescape(found[3]).strip()
    if found[2] == "[":  # may be wider than a narrow page
        return f'<div class="formula">{convert(text, display="block")}</div>'
    return convert(text)


def docstring(path: str) -> str:
    """The docstring of a module but for its first line, as it stands."""
    told = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    return f"```text\n{told.partition(chr(10))[2].strip()}\n```"


def constants(path: str) -> str:
    """The constants of a module that have a comment behind them, in a table."""
    rows = ["| threshold | | |", "|---|---|---|"]
    for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([A-Z][A-Z_, ]*) = ([^#]+?)  # (.+)$", line):
            rows.append(f"| `{found[1]}` | {found[2]} | {found[3].replace('|', chr(92) + '|')} |")
    if len(rows) == 2:
        raise KeyError(f"{path} has no constants")
    return "\n".join(rows)


def reference(package: str) -> str:
    """Lines for mkdocstrings, one per public name of a package."""
    names = public_names(package)
    return "\n\n".join(f"::: {names[name]}" for name in sorted(names, key=str.lower))


def public_names(package: str) -> dict[str, str]:
    """Where each public name of a package is defined.

    Public is what its `__init__.pyi` imports, or `__init__.py` where there is no stub; a module of
    one file has its own names. A name that is imported from another package is left to that one.
    """
    path = ROOT / package
    if path.is_dir():
        stub = path / "__init__.pyi"
        stub = stub if stub.exists() else path / "__init__.py"
        tree = ast.parse(stub.read_text(encoding="utf-8"))
        found = {}
        dotted = package.replace("/", ".")
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                origin = node.module or ""
                if node.level:
                    origin = f"{dotted}.{origin}".rstrip(".")
                if origin == dotted or origin.startswith(f"{dotted}."):
                    for alias in node.names:
                        found[alias.asname or alias.name] = f"{origin}.{alias.name}"
        return found
    tree = ast.parse(path.with_suffix(".py").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {
        node.name: f"{package.replace('/', '.')}.{node.name}"
        for node in tree.body
        if isinstance(node, kinds) and not node.name.startswith("_")
    }


def block(path: str, names: str) -> str:
    """A fenced block with functions, classes or methods of a file.

    Args:
        path: of the file, from the root of the checkout.
        names: `function`, `Class.method`, or several of them with commas between.
    """
    code = "\n\n\n".join(source(path, name.strip()) for name in names.split(","))
    return f'```python title="{path}"\n{code}\n```'


def source(path: str, name: str) -> str:
    """One of them, dedented.

    Raises:
        KeyError: the file has no such name.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        inside = [each for each in node.body if getattr(each, "name", None) == part]
        if not inside:
            raise KeyError(f"{path} has no {name}")
        node = inside[-1]  # overloads stand before their function
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    lines = text.splitlines()
    told = node.body[0]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        after = "\n".join(lines[told.end_lineno : node.end_lineno]).lstrip("\n")
        body = [*lines[first - 1 : told.lineno - 1], after]
    else:
        body = lines[first - 1 : node.end_lineno]
    return textwrap.dedent("\n".join(body))
