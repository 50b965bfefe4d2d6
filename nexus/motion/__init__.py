"""A benchmark of real motion: windows that pan, zoom and stand still over anybody's videos."""
