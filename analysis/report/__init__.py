"""Reports for a browser, a terminal and a paper."""
