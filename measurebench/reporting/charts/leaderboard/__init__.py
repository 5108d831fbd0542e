"""The charts of the leaderboard analysis, one file each."""
