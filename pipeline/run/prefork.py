"""A process that has imported the libraries and forks itself for every stage, so that stages of seconds need not.

`repro` starts it and names its socket in the variable SIAMESE_WARM; `python -m pipeline VERB` hands itself over if that
socket answers, and runs by itself if not. Nothing of this project is imported before the fork, so a stage sees the code
of its start. Where a fork cannot use the GPU, because a library has already asked for it, there is no such process.
"""

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Client, Connection
from multiprocessing.reduction import recv_handle, send_handle

VARIABLE = "SIAMESE_WARM"
STREAMS = (0, 1, 2)
WORTH_IT = 6  # stages; for fewer, imports in one process more are no gain
COMMAND_LINE = "pipeline.cli"  # by name: it is imported in the fork alone
# what most stages import, in the order of what takes longest; one that is not there is no matter here
LIBRARIES = (
    *("torch", "torchvision", "torch._dynamo", "numpy", "scipy.stats", "cv2", "PIL.Image", "pydantic", "ruamel.yaml"),
    *("safetensors.torch", "accelerate", "diffusers", "diffusers.models.unets.unet_2d_condition"),
    *("diffusers.models.controlnets.controlnet", "diffusers.models.autoencoders.autoencoder_kl"),
    *("diffusers.schedulers.scheduling_ddim", "timm", "segmentation_models_pytorch", "albumentations"),
    *("sklearn.manifold", "matplotlib.figure"),
)
Main = Callable[[list[str]], int]


@contextlib.contextmanager
def warm_process(stages: int = WORTH_IT, places: Sequence[Mapping[str, str]] = ()) -> Iterator[None]:
    """Start the process if so many stages are worth it, let them find it, and end it with the block."""
    if stages < WORTH_IT:
        yield
        return
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}  # as stages on the CPU have it
    environment = os.environ | ({} if any("CUDA_VISIBLE_DEVICES" in place for place in places) else threads)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        command = [sys.executable, "-m", "pipeline.run.prefork", path, str(os.getpid())]
        server = subprocess.Popen(command, env=environment, start_new_session=True)  # Ctrl-C is for `repro`
        os.environ[VARIABLE] = path
        try:
            yield
        finally:
            del os.environ[VARIABLE]
            server.kill()
            server.wait()


def hand_over(arguments: list[str]) -> int | None:
    """Run a command line in the warm process and return its exit code; None when none answers."""
    if not (path := os.environ.get(VARIABLE)):
        return None
    try:
        connection = Client(path, "AF_UNIX")
    except OSError:  # not ready yet, or gone
        return None
    try:
        connection.send((arguments, os.getcwd(), dict(os.environ)))
        for number in STREAMS:
            send_handle(connection, number, None)
        return connection.recv()
    except (EOFError, OSError):
        sys.stderr.write("the process that ran this stage was killed: there may be too little memory\n")
        return 1


def _die_with(connection: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def _work(connection: Connection, main: Main) -> None:
    """Read one command line and its open files, run it as `python -m pipeline` would, and answer its exit code."""
    arguments, folder, environment = connection.recv()
    for number in STREAMS:
        os.dup2(recv_handle(connection), number)
    # the parent's streams remember what kind of file they were
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pipeline", *arguments]
    threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 (what python itself does with an exception that nobody caught)
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(code % 256)


def in_a_fork(question: Callable[[], bool]) -> bool:
    """Return what a fork of this process answers; False when it cannot."""
    process = os.fork()
    if process == 0:
        answer = False
        with contextlib.suppress(Exception):
            answer = question()
        os._exit(0 if answer else 1)
    return os.waitpid(process, 0)[1] == 0


def import_libraries() -> bool:
    """Import the libraries, and return whether a fork of this process can do what a process of its own could.

    diffusers asks for a GPU at import. Asked by NVML, torch leaves CUDA alone; asked by CUDA itself, no fork can use it
    any more. Where there is no GPU, CUDA is not asked at all.
    """
    try:
        import torch
    except ImportError:
        return True
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # for this process: a fork takes its caller's environment
    on_gpu = in_a_fork(torch.cuda.is_available)
    if not on_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    return in_a_fork(
        lambda: not torch.cuda._is_in_bad_fork() and (not on_gpu or torch.ones(1, device="cuda").item() == 1)
    )


def serve(path: str, parent: int) -> None:
    """Import the libraries, then fork for every connection, until the parent is gone."""
    with contextlib.suppress(AttributeError):  # PR_SET_PDEATHSIG: whatever kills the parent ends this too; Linux only
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return
    if not import_libraries():
        sys.stderr.write("stages start by themselves: a fork of one process for all cannot use the GPU here\n")
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(64)
        server.settimeout(1)
        while os.getppid() == parent:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                server.close()
                _work(Connection(connection.detach()), importlib.import_module(COMMAND_LINE).main)
                os._exit(0)
            connection.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve(sys.argv[1], int(sys.argv[2]))
