"""Picture files: series of them, and files of several, read as videos."""
