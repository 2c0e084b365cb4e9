"""What a page of Markdown says: its commands, its links, its anchors."""

import html
import pathlib
import re
import shlex
import unicodedata

ROOT = pathlib.Path(__file__).parents[1]
# A command that stands in a block of its own, or in backticks.
COMMAND = re.compile(
    r"(?:^ {4}|`)(?:\.venv/bin/)?(python recipes/\w+\.py|kapps (?!recipes`|install)\w+)([^`\n]*)",
    re.M,
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)(?:\{[^}]*\})?")


def recipe_names() -> list[str]:
    return sorted(path.stem for path in (ROOT / "recipes").glob("[!_]*.py"))


def commands(text: str) -> list[list[str]]:
    """The commands of a page as `kapps` takes them: ["train", "vae", "--epochs", "5"]."""
    found = []
    for first, rest in COMMAND.findall(text):
        words = shlex.split(f"{first}{rest}".replace("\\|", "|"), comments=True)
        if words[0] == "python":
            words = ["kapps", "train", pathlib.Path(words[1]).stem, *words[2:]]
        found.append(words[1:])
    return found


def broken_links(page: pathlib.Path) -> list[str]:
    """Links and pictures of a page that lead nowhere; addresses on the web are not looked at."""
    found = []
    for target in LINK.findall(_without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            found.append(target)
    return found


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as mkdocs makes them."""
    text = page.read_text()
    for name in re.findall(r'^--8<-- "([^"]+)"$', text, re.M):
        text += (ROOT / name).read_text()
    headings = re.findall(r"^#+ (.+)$", _without_code(text), re.M)
    return {_slug(heading) for heading in headings}


def _slug(heading: str) -> str:
    plain = html.unescape(re.sub(r"[`*]", "", heading))
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
