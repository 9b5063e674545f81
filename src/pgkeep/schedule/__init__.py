"""When jobs are due: words and cron fields, windows, and what was missed. Pure."""
