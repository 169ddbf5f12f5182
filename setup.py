"""Builds the extension ``autoprox._srmudp`` from csrc/; everything else is in pyproject.toml.

libuv and libsodium come from the system through pkg-config. For a published wheel, AUTOPROX_UV_PREFIX and
AUTOPROX_SODIUM_PREFIX may each name a prefix with ``include/`` and a static ``lib/libuv.a`` or
``lib/libsodium.a`` (position independent), which is then linked in and hidden.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from itertools import chain
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MISSING = """
autoprox needs a C compiler, pkg-config and the headers of {library} {version} or newer. Install them:
  Debian, Ubuntu   apt-get install gcc libc6-dev pkg-config libuv1-dev libsodium-dev python3-dev
  Fedora           dnf install gcc pkgconf-pkg-config libuv-devel libsodium-devel python3-devel
  macOS            brew install pkg-config libuv libsodium
and run the same command again."""


def add_library(extension: Extension, library: str, version: str, prefix: str | None) -> None:
    """Adds the flags of one C library: the system's by pkg-config, or the static one below ``prefix``."""
    if prefix:
        extension.include_dirs.append(str(Path(prefix, "include")))
        extension.extra_objects.append(str(Path(prefix, "lib", f"{library}.a")))
        return
    query = ["pkg-config", "--cflags", "--libs", f"{library} >= {version}"]
    try:
        answer = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        sys.exit(MISSING.format(library=library, version=version))
    for flag in shlex.split(answer):
        into = extension.extra_link_args if flag.startswith(("-l", "-L")) else extension.extra_compile_args
        into.append(flag)


class BuildExtension(build_ext):
    """The usual ``build_ext``, with the libraries looked up only when something is built, on all processors."""

    def build_extension(self, ext: Extension) -> None:
        uv, sodium = os.environ.get("AUTOPROX_UV_PREFIX"), os.environ.get("AUTOPROX_SODIUM_PREFIX")
        add_library(ext, "libuv", "1.40", uv)
        add_library(ext, "libsodium", "1.0.18", sodium)
        # What an earlier build left in build/ may have been linked otherwise.
        self.force = self.force or bool(uv or sodium)
        compile_in_turn = self.compiler.compile

        def compile_at_once(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(chain(*pool.map(lambda source: compile_in_turn([source], **options), sources)))

        self.compiler.compile = compile_at_once
        super().build_extension(ext)


# A free-threaded Python has no stable ABI: there the extension is built for that one version.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")
link_flags = [] if sys.platform == "darwin" else ["-Wl,-z,relro,-z,now", "-Wl,--exclude-libs,ALL"]

extension = Extension(
    "autoprox._srmudp",
    sources=sorted(chain(*(glob(f"csrc/{layer}/*.c") for layer in ("core", "nat", "driver", "binding")))),
    depends=[*glob("csrc/*/*.h"), "setup.py"],
    include_dirs=["csrc/include"],
    define_macros=[("_GNU_SOURCE", "1"), *([("Py_LIMITED_API", "0x030B0000")] if stable_abi else [])],
    extra_compile_args=[
        "-std=c11",
        "-O3",
        "-fvisibility=hidden",
        "-fstack-protector-strong",
        "-U_FORTIFY_SOURCE",
        "-D_FORTIFY_SOURCE=2",
        # As in csrc/Makefile: no module of ours may hide a system header of its name.
        *("-iquotecsrc", "-idirafter", "csrc/core", "-idirafter", "csrc/nat", "-idirafter", "csrc/driver"),
    ],
    extra_link_args=[*link_flags, "-lpthread", "-lm"],
    py_limited_api=stable_abi,
)

setup(
    cmdclass={"build_ext": BuildExtension},
    ext_modules=[extension] if glob("csrc/binding/*.c") else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if stable_abi else {},
)
