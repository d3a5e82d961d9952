"""What it takes: time and memory."""
