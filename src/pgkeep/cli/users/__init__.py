"""Who may use the page and the API: the commands and their text."""
