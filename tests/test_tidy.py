"""The house rules that a machine can check. A rule that matters is a test."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / ".git").exists() or not shutil.which("git"):
    pytest.skip("these rules are about what git tracks", allow_module_level=True)

CSRC = ROOT / "csrc"
MAX_LINES = 800

# Each layer may include itself and what stands before it.
LAYERS = ("include", "core", "nat", "driver", "binding")
# Everything else would give the pure layers a clock, I/O, randomness or threads. stdio is for the assertion.
PURE_LAYERS = ("core", "nat")
PURE_HEADERS = {
    *(
        "inttypes.h",
        "limits.h",
        "math.h",
        "stdalign.h",
        "stdbool.h",
        "stddef.h",
        "stdint.h",
        "stdlib.h",
        "string.h",
    ),
    *("stdio.h", "sodium.h"),
}
# What the pure layers may call: memory, strings, libsodium, arithmetic, and what the assertion needs.
PURE_SYMBOLS = re.compile(
    r"mem(ccpy|chr|cmp|cpy|move|set)|str(chr|cmp|len|ncmp|nlen|rchr|str)|__(mem|str)\w+_chk"
    r"|malloc|calloc|realloc|free|aligned_alloc|qsort|bsearch|abort|stderr|(__)?fprintf(_chk)?|fwrite"
    r"|(__)?snprintf(_chk)?|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_"
    r"|(cbrt|ceil|exp2?|floor|fma|fmax|fmin|l?lround|log(2|1p|10)?|pow|round|sqrt|trunc)f?"
    r"|crypto_\w+|sodium_(memzero|memcmp|compare|increment|add|sub|is_zero|bin2hex|hex2bin|pad|unpad)"
)
# libsodium's own randomness has no seed: keys and nonces come from srm_entropy.
RANDOM_SYMBOLS = re.compile(r"crypto_\w+_(keygen|random|(?<!seed_)keypair)|crypto_box_seal")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")', re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/")


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows or would add, by pathspec."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(path for name in names if name and (path := ROOT / name).is_file())


def layer_of(path: Path) -> str:
    return path.relative_to(CSRC).parts[0]


def find_include(name: str, source: Path) -> Path:
    """The file that an include in quotes names, looked up as the Makefile has the compiler do it."""
    for folder in (source.parent, *(CSRC / layer for layer in LAYERS), CSRC):
        if (found := (folder / name).resolve()).is_file():
            return found
    pytest.fail(f"{source.relative_to(ROOT)} includes {name}, which isn't in csrc/")


def includes(path: Path) -> Iterator[tuple[str, str]]:
    """Each include of ``path`` as (system header, own header), one of them empty."""
    for match in INCLUDE.finditer(path.read_text()):
        yield match[1] or "", match[2] or ""


def test_no_file_is_a_monster() -> None:
    sources = tracked("*.c", "*.h", "*.py", "*.pyi", "*.js", "*.css", "*.html")
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in sources}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_layers_include_downwards_only() -> None:
    wrong = []
    for path in tracked("csrc/*.c", "csrc/*.h"):
        lower = LAYERS[: LAYERS.index(layer_of(path)) + 1]
        for system, own in includes(path):
            target = find_include(own, path) if own else CSRC / "include" / system
            if target.is_file() and layer_of(target) not in lower:
                wrong.append(f"{path.relative_to(ROOT)} includes {target.relative_to(ROOT)}")
    assert wrong == []


def test_pure_layers_include_no_system() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} includes <{system}>"
        for layer in PURE_LAYERS
        for path in tracked(f"csrc/{layer}/*.c", f"csrc/{layer}/*.h")
        for system, _ in includes(path)
        if system and system not in PURE_HEADERS | {"srmudp.h"}
    ]
    assert wrong == []


@pytest.fixture(scope="module")
def pure_symbols() -> list[tuple[str, str, str]]:
    """(name, class, section) of every symbol in the archive of the pure layers; the class is nm's letter."""
    archive = Path("build", "pytest", "libcore.a")
    subprocess.run(["make", "--silent", "-j4", "O=build/pytest", str(archive)], cwd=CSRC, check=True)
    listing = subprocess.run(
        ["nm", "--format=sysv", str(archive)], cwd=CSRC, check=True, capture_output=True, text=True
    )
    rows = [[field.strip() for field in line.split("|")] for line in listing.stdout.splitlines()]
    return [(row[0], row[2], row[6]) for row in rows if len(row) == 7 and row[0] != "Name"]


@pytest.mark.timeout(300)
def test_pure_layers_call_nothing_of_the_system(pure_symbols: list[tuple[str, str, str]]) -> None:
    defined = {name for name, kind, _ in pure_symbols if kind not in "Uw"}
    wanted = {name for name, kind, _ in pure_symbols if kind in "Uw"} - defined
    assert defined, "the archive is empty"
    assert {n for n in wanted if not PURE_SYMBOLS.fullmatch(n) or RANDOM_SYMBOLS.fullmatch(n)} == set()


@pytest.mark.timeout(300)
def test_pure_layers_keep_no_state_of_their_own(pure_symbols: list[tuple[str, str, str]]) -> None:
    """Tables of constants that the linker relocates stand in .data.rel.ro; anything else can be written to."""
    mutable = {
        name
        for name, kind, section in pure_symbols
        if kind in "bBdDgGsSC" and not section.startswith(".data.rel.ro")
    }
    assert mutable == set()


def test_no_paths_of_one_machine() -> None:
    wrong = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:  # a picture
            continue
        wrong += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert wrong == []


def test_relative_links_resolve() -> None:
    wrong = []
    for path in tracked("*.md"):
        for match in LINK.finditer(CODE.sub("", path.read_text())):
            target = match[1].partition("#")[0]
            if target and not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                wrong.append(f"{path.relative_to(ROOT)}: {match[1]}")
    assert wrong == []


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    header = re.search(r'#define SRMUDP_VERSION "(.*)"', (CSRC / "include" / "srmudp.h").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert header is not None
    assert newest is not None
    assert (header[1], newest[1]) == (version, version)
