"""Video files: opened, timed, checked, decoded."""
