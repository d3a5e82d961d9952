"""Where somebody who stays goes on behind somebody who goes, and what of the painting is hers."""
