"""Who answers: replicas of a stage, here and in other regions, and how one of them is chosen."""
