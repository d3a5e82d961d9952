"""Who goes: words and clicks become people."""
