"""Reading bodies: poses and parts of the body go to the right person, hidden joints are worked out."""
