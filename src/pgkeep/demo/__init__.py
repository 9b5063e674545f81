"""The README story on a throwaway cluster."""
