#!/usr/bin/env python3
"""Checks what the compiler cannot: declared dependencies between modules, banned constructs, line and function length.

usage: tools/tidy.py [ROOT]     exit status 1 when something is found
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
LINE_MAX = 120
FUNCTION_LINES_MAX = 90

# What may not appear in src/, what to use instead, and the folders that are the exception.
BANS = [
    (r"\bstd::(shared_ptr|make_shared)\b", "a named owner", ("rpc", "store", "engine", "cli")),  # gRPC hands out shared pointers
    (r"\bstd::(random_device|mt19937\w*|uniform_\w+_distribution)\b", "Reactor::random()", ("uring",)),
    (r"\bstd::chrono::(system_clock|steady_clock|high_resolution_clock)\b", "Reactor::now()", ("uring", "rpc", "store", "engine", "cli", "http", "control/rest", "agent")),
    (r"\bstd::(thread|jthread|mutex|shared_mutex|condition_variable)\b", "the reactor", ("uring", "store", "engine", "cli", "http", "control/rest")),
    (r"\bthrow\b", "Error or HF_ASSERT", ("engine", "cli")),
    (r"#include <(liburing|sys/socket|netinet/|arpa/)", "the interfaces of rt", ("uring", "engine", "cli", "http")),
    (r"\b(TODO|FIXME|XXX|HACK)\b", "a finished change", ()),
    (r"\bstd::unordered_(map|set)\b", "std::map, whose order replays", ("engine", "cli", "uring")),
]


def modules():
    """name -> (folder, sets of declared modules and of those for tests) from CMakeLists.txt files."""
    found = {}
    for lists in [ROOT / "CMakeLists.txt", *ROOT.glob("src/**/CMakeLists.txt")]:
        for m in re.finditer(r"hf_module\(([^)]*)\)", lists.read_text()):
            words = m[1].split()
            keys = {"DIR": [], "LAYER": [], "DEPS": [], "LIBS": [], "TEST_DEPS": [], "TEST_LIBS": []}
            current = None
            for w in words[1:]:
                if w in keys:
                    current = w
                elif current:
                    keys[current].append(w)
            found[words[0]] = ((keys["DIR"] or [words[0]])[0], set(keys["DEPS"]), set(keys["TEST_DEPS"]))
    return found


def closure(name, table, seen=None):
    seen = set() if seen is None else seen
    for dep in table[name][1]:
        if dep not in seen:
            seen.add(dep)
            closure(dep, table, seen)
    return seen


def owner(path, table):
    """The module whose folder holds the file (the longest match), given a path relative to src/."""
    parts = pathlib.PurePosixPath(path)
    best = None
    for name, (folder, *_) in table.items():
        if parts.is_relative_to(folder) and (best is None or len(folder) > len(table[best][0])):
            best = name
    return best


def check_includes(rel, text, table, errors):
    module = owner(rel, table)
    if module is None:
        errors.append(f"src/{rel}: belongs to no module of CMakeLists.txt")
        return
    allowed = {module} | closure(module, table)
    if "/testing/" in rel:
        for test_dep in table[module][2] & table.keys():
            allowed |= {test_dep} | closure(test_dep, table)
    for include in re.findall(r'#include "([^"]+)"', text):
        target = owner(include, table)
        if target is not None and target not in allowed:
            errors.append(f"src/{rel}: includes {include} of module {target}, which {module} does not declare")


def check_lines(rel, text, errors):
    is_test = rel.endswith(("_test.cc", "_fuzz.cc"))
    opened = None
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_MAX:
            errors.append(f"src/{rel}:{number}: line of {len(line)} characters")
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line.split("//")[0])
        for pattern, instead, exempt in BANS:
            exempted = is_test or rel.startswith(tuple(folder + "/" for folder in exempt))
            if not exempted and re.search(pattern, line if "TODO" in pattern else code):
                errors.append(f"src/{rel}:{number}: banned {pattern!r}; use {instead}")
        # clang-format puts a function's closing brace at its opener's column: 0 or 2 (in a class).
        if re.match(r"^[A-Za-z].*\) (const |noexcept |override )*\{$", line) or re.match(r"^[A-Za-z].*\{$", line) and "namespace" not in line:
            opened = (number, line) if re.search(r"\)[^;]*\{$", line) else None
        if line == "}" and opened:
            body = text.splitlines()[opened[0]:number]
            table = sum("case " in row for row in body) > len(body) * 0.4  # an exhaustive switch is as long as its enum
            if number - opened[0] > FUNCTION_LINES_MAX and not table:
                errors.append(f"src/{rel}:{opened[0]}: function of {number - opened[0]} lines")
            opened = None


def main():
    table = modules()
    errors = []
    for path in sorted([*ROOT.glob("src/**/*.h"), *ROOT.glob("src/**/*.cc")]):
        rel = path.relative_to(ROOT / "src").as_posix()
        text = path.read_text()
        if not rel.endswith(("_test.cc", "_fuzz.cc")):
            check_includes(rel, text, table, errors)
        check_lines(rel, text, errors)
    print("\n".join(errors) or "tidy: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
