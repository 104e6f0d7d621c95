"""Lobes: state-space models for speech separation and enhancement, as SpeechBrain modules and recipes.

The reason for each dependency stands in docs/dependencies.md; `requirements.lock` pins them exactly.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

REQUIRES = [
    "torch>=2.8,<2.12",
    "torchaudio>=2.8,<2.12,!=2.11.1",  # which does not load with torch 2.11.0, and there is no torch 2.11.1
    "speechbrain>=1.1,<1.2",
    "hyperpyyaml>=1.2.3,<2",
    "numpy>=1.26",
    "scipy>=1.11",
    "soundfile>=0.12",
    "pesq>=0.0.4",
    "pystoi>=0.4",
    "sentencepiece>=0.2",
    "numba>=0.61,<0.70",
    "torchmetrics>=1.4",
    "tqdm>=4.64",
    "matplotlib>=3.8",
    "jinja2>=3.1",
    "typer>=0.12",
    "charset-normalizer>=3",
    "filelock>=4.1",
    "psutil>=5.9",
]

EXTRAS = {
    "cuda": ["mamba-ssm>=1.2", "causal-conv1d>=1.2", "kernels>=0.15"],
    "demo": ["espeakng-loader>=0.2.4", "pyroomacoustics>=0.8"],
    "live": ["sounddevice>=0.4.6"],
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20"],
    "judges": ["speechmos>=0.0.1", "onnxruntime>=1.20", "silero-vad>=5.1"],
    "asr": ["jiwer>=3", "pocketsphinx>=5"],
    "hpo": ["optuna>=4.2,<6", "psycopg2-binary>=2.9.9"],
    "track": ["tensorboard>=2.14"],
    "scale": ["webdataset>=0.2.86,<2"],
    "docs": [
        "mkdocs>=1.6,<2",
        "mkdocs-material>=9.6,<10",
        "mkdocstrings-python>=1.16,<3",
        "nbclient>=0.10",
        "ipykernel>=6.29",
    ],
    "dev": [
        "pytest>=8",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "ruff>=0.12",
        "mypy>=1.13",
        "yamllint>=1.35",
        "codespell>=2.3",
        "mambapy>=1.2",
        "build>=1.2",
        "twine>=6.1",
    ],
}

KEYWORDS = ["speech separation", "speech enhancement", "state-space models", "Mamba", "SpeechBrain", "PyTorch"]

CLASSIFIERS = [
    "Development Status :: 4 - Beta",
    "Environment :: Console",
    "Intended Audience :: Developers",
    "Intended Audience :: Science/Research",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.10",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3 :: Only",
    "Topic :: Multimedia :: Sound/Audio :: Speech",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Typing :: Typed",
]

# The project's own address belongs here once it has one.
URLS = {
    "SpeechBrain": "https://speechbrain.github.io",
    "Paper of SPMamba": "https://arxiv.org/abs/2404.02063",
}

README = HERE / "README.md"

setup(
    name="lobes",
    version="0.1.0",
    description="State-space speech separation and enhancement as SpeechBrain modules and recipes",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="The Lobes authors",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=KEYWORDS,
    classifiers=CLASSIFIERS,
    project_urls=URLS,
    python_requires=">=3.10,<3.13",
    # The YAML fragments, which are the model registry, and the recipes live next to lobes/ and are installed inside it.
    packages=[*find_packages(include=["lobes", "lobes.*"]), "lobes.hparams_shared", "lobes.recipes"],
    package_dir={"lobes.hparams_shared": "hparams_shared", "lobes.recipes": "recipes"},
    package_data={
        "lobes": ["py.typed", "inference/catalogue.yaml", "reports/templates/*"],
        "lobes.hparams_shared": ["*.yaml", "*/*.yaml"],
        "lobes.recipes": ["*.csv", "*/*.py", "*/*.md", "*/*.svg", "*/hparams/*.yaml"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["lobes=lobes.cli:main"]},
)
