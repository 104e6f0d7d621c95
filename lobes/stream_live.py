"""A causal model between a microphone and a loudspeaker: `python -m lobes.stream_live MODEL`.

Needs the package sounddevice, `pip install -e ".[live]"`, and PortAudio, which it brings but on Linux.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from lobes.errors import UserError, exit_on_user_error


def main(
    model: Annotated[str, typer.Argument(help="A run folder, an exported folder, or a hub id owner/name.")],
    source: Annotated[int, typer.Option(help="Which source to play.", min=1)] = 1,
    chunk_ms: Annotated[float, typer.Option("--chunk-ms", "--chunk_ms", help="Length of a block.")] = 20,
    gain_db: Annotated[float, typer.Option("--gain-db", "--gain_db", help="Gain of what is played.")] = 0,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; by default at Ctrl-C.")] = None,
) -> None:
    """Play one source of what the microphone hears."""
    from lobes.inference import Separator
    from lobes.inference.stream import Delayed, samples_of

    sound = sound_devices()
    stream = Separator.from_hparams(model).stream()
    delayed, block = Delayed(stream, source), samples_of(chunk_ms, stream.sample_rate)
    print(f"{stream.sample_rate} Hz, blocks of {chunk_ms:g} ms, latency of the network {stream.latency_ms:g} ms")
    blocks = None if seconds is None else max(round(seconds * stream.sample_rate / block), 1)
    try:
        late = play(sound, delayed, stream.sample_rate, block, 10 ** (gain_db / 20), blocks)
    except KeyboardInterrupt:
        return
    print(f"{late} blocks came late")


def sound_devices() -> Any:
    """Import sounddevice, or say how to get it."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise UserError(
            f'sounddevice: cannot be imported: {error}. Install it: pip install -e ".[live]"; on Linux also PortAudio, '
            "for example apt install libportaudio2"
        ) from error
    return sounddevice


def play(sound: Any, delayed: Any, sample_rate: int, block: int, gain: float, blocks: int | None) -> int:
    """Read, process and write block after block, endlessly or so many; return how many reads or writes came late.

    Arguments
    ---------
    sound : module
        sounddevice, or what has its `Stream`.
    delayed : lobes.inference.stream.Delayed
        From blocks to blocks.
    sample_rate, block : int
        In Hz, and in samples.
    gain : float
        Factor of what is played; what exceeds full scale is clipped.
    blocks : int, optional
        Stop after so many.

    Returns
    -------
    int
    """
    late, done = 0, 0
    with sound.Stream(samplerate=sample_rate, blocksize=block, channels=1, dtype="float32") as device:
        while blocks is None or done < blocks:
            heard, overflowed = device.read(block)
            said = np.clip(gain * delayed(heard[:, 0]), -1, 1).astype(np.float32)
            late += bool(overflowed) + bool(device.write(np.ascontiguousarray(said[:, None])))
            done += 1
    return late


if __name__ == "__main__":
    with exit_on_user_error():
        typer.run(main)
