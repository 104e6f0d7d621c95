"""Common parts of the networks: the model contract, the envelope from waveform to waveform, band masks."""
