"""What a training example may go through, each in a file of its own, drawn by seed, epoch and ID: see `chain`."""
