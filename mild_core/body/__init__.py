"""Reading bodies: poses and parts of the body are assigned to people, hidden joints are inferred."""
