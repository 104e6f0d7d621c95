"""What the networks share: the model contract, the envelope from waveform to waveform, band masks."""
