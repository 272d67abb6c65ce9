"""Does a job of Proofmark on a GPU that Modal rents, and brings back its outcome.

    proofmark bench my-kernel --as-job > job.json
    modal run scripts/modal_app.py --job job.json --wheel dist/proofmark-….whl > outcome.json

The wheel that is named is what runs, so the program there is the one that is here. Written against Modal's
published interface; it was imported and its app was built, but it has not been run on Modal.
"""

import os
import pathlib
import subprocess
import sys

import modal

# The driver's libraries come with the machine; the compiler is the pinned one that the program fetches itself.
BASE = "nvidia/cuda:13.0.1-base-ubuntu24.04"
GPU = os.environ.get("PROOFMARK_MODAL_GPU", "B200")
# What a whole contest's workloads take, with a margin; a job has limits of its own beneath it.
TIMEOUT_S = 3600
WHEELS = "/wheels"


def wheel_named(arguments):
    """The wheel behind `--wheel`: an image is described before the command line is parsed."""
    for index, argument in enumerate(arguments):
        if argument == "--wheel" and index + 1 < len(arguments):
            return pathlib.Path(arguments[index + 1])
        if argument.startswith("--wheel="):
            return pathlib.Path(argument.split("=", 1)[1])
    return None


def image_with(wheel):
    """CUDA's base, a host compiler, the program, and the compiler that it pins; PyPI's release without a wheel."""
    image = modal.Image.from_registry(BASE, add_python="3.12").apt_install("g++", "python3-pip")
    if wheel is None:
        image = image.pip_install("proofmark")
    else:
        image = image.add_local_file(str(wheel), f"{WHEELS}/{wheel.name}", copy=True)
        image = image.run_commands(f"python -m pip install {WHEELS}/{wheel.name}")
    return image.run_commands("proofmark toolchain install")


app = modal.App("proofmark", image=image_with(wheel_named(sys.argv)))


@app.function(gpu=GPU, timeout=TIMEOUT_S)
def run_job(job: str):
    """The exit code, the outcome's text, and what was said beside."""
    done = subprocess.run(
        ["proofmark", "job", "run", "-"], input=job, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@app.local_entrypoint()
def main(job: str, wheel: str = ""):
    """Sends the job, prints the outcome, and ends with the verb's own exit code."""
    del wheel  # read by `wheel_named`
    code, outcome, said = run_job.remote(pathlib.Path(job).read_text())
    print(said, end="", file=sys.stderr)
    print(outcome, end="")
    sys.exit(code)
