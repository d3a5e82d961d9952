"""What the pack claims, measured: quality/, cost/, and what both share."""
