"""The page that works when everything else is gone."""
